"""Noise schedules: tables of the forward process, and which timesteps sampling visits."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isdm.config import NoiseScheduleName
from isdm.errors import ConfigError

Float64 = NDArray[np.float64]

REFERENCE_TIMESTEPS = 1000
"""Length of the process that the published beta range is meant for, and the network's scale of t."""

LEAST_LOG_SNR = {"linear": -math.inf, "cosine": -10.2}
"""Where solvers start: on a cosine process not at its end (-19.8), but where the linear one ends (-10.1).

What DPM-Solver's published code does (half of the log SNR clipped at -5.1). 20 of its steps spread down to -19.8
miss the exact flow of Gaussian data by 0.014, of these by 0.008; two steps down to there are not even finite.
"""


def linear_betas(num_timesteps: int) -> Float64:
    """Betas from 1e-4 to 0.02 for T = 1000, scaled by 1000 / T otherwise (Dhariwal and Nichol 2021).

    Returns:
        (num_timesteps,) float64.

    Raises:
        ConfigError: below 21 timesteps, where the last beta would be 1 or more and leave nothing of the image.
    """
    scale = REFERENCE_TIMESTEPS / num_timesteps
    if scale * 0.02 >= 1:
        raise ConfigError(f"{num_timesteps} timesteps make the last beta {scale * 0.02:.2f}; use at least 21.")
    betas: Float64 = np.linspace(scale * 1e-4, scale * 0.02, num_timesteps, dtype=np.float64)
    return betas


def cosine_betas(num_timesteps: int) -> Float64:
    """Betas whose alphas_cumprod falls as a squared cosine (Nichol and Dhariwal 2021, equation 17; s = 0.008).

    They are capped at 0.999, which only the last one needs: alphas_cumprod would otherwise end at 0.

    Returns:
        (num_timesteps,) float64.
    """
    signal = [math.cos((i / num_timesteps + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(num_timesteps + 1)]
    betas: Float64 = np.minimum(1.0 - np.array(signal[1:]) / np.array(signal[:-1]), 0.999)
    return betas


def named_betas(name: NoiseScheduleName, num_timesteps: int) -> Float64:
    """Betas (num_timesteps,) float64 of the process of that name."""
    return cosine_betas(num_timesteps) if name == "cosine" else linear_betas(num_timesteps)


@dataclass(frozen=True)
class NoiseSchedule:
    """Tables (S,) float64 of a forward process of S steps, and the t that the network is told in each.

    `timestep_map` (S,) float64 is on the scale of the original timesteps; it is not rounded.
    """

    betas: Float64
    timestep_map: Float64

    def __post_init__(self) -> None:
        assert self.betas.shape == self.timestep_map.shape
        assert ((self.betas > 0) & (self.betas <= 1)).all()

    def __len__(self) -> int:
        return len(self.betas)

    @property
    def alphas_cumprod(self) -> Float64:
        """Product of (1 - beta) up to each step."""
        alphas_cumprod: Float64 = np.cumprod(1.0 - self.betas, dtype=np.float64)
        return alphas_cumprod

    @property
    def snr(self) -> Float64:
        """Signal-to-noise ratio of each step, alphas_cumprod / (1 - alphas_cumprod)."""
        alphas_cumprod = self.alphas_cumprod
        ratio: Float64 = alphas_cumprod / (1.0 - alphas_cumprod)
        return ratio

    @property
    def alphas_cumprod_prev(self) -> Float64:
        """Product of (1 - beta) before each step; 1 at the first."""
        shifted: Float64 = np.append(1.0, self.alphas_cumprod[:-1])
        return shifted

    @property
    def posterior_variance(self) -> Float64:
        """Variance of q(x_{t-1} | x_t, x_0), Ho et al. 2020, equation 7: beta tilde."""
        variance: Float64 = self.betas * (1.0 - self.alphas_cumprod_prev) / (1.0 - self.alphas_cumprod)
        return variance

    @property
    def posterior_log_variance_clipped(self) -> Float64:
        """Log of beta tilde; its first value, log 0, is replaced by the second."""
        variance = self.posterior_variance
        log_variance: Float64 = np.log(np.append(variance[1], variance[1:]))
        return log_variance

    @property
    def posterior_mean_coef_x_start(self) -> Float64:
        """Weight of x_0 in the posterior mean, Ho et al. 2020, equation 7."""
        weight: Float64 = self.betas * np.sqrt(self.alphas_cumprod_prev) / (1.0 - self.alphas_cumprod)
        return weight

    @property
    def posterior_mean_coef_x_t(self) -> Float64:
        """Weight of x_t in the posterior mean, Ho et al. 2020, equation 7."""
        weight: Float64 = (1.0 - self.alphas_cumprod_prev) * np.sqrt(1.0 - self.betas) / (1.0 - self.alphas_cumprod)
        return weight


def extract(table: Float64, steps: Tensor, like: Tensor) -> Tensor:
    """Values of a (S,) table at `steps` (N,), as float32 that broadcasts over `like` (N, …)."""
    values = torch.from_numpy(table).to(steps.device)[steps].float()
    return values.view(-1, *[1] * (like.ndim - 1))


def training_schedule(
    num_train_timesteps: int = REFERENCE_TIMESTEPS, name: NoiseScheduleName = "linear"
) -> NoiseSchedule:
    """The process that the network is trained on; it is told t on the scale of 1000."""
    steps = np.arange(num_train_timesteps, dtype=np.float64)
    return NoiseSchedule(named_betas(name, num_train_timesteps), steps * REFERENCE_TIMESTEPS / num_train_timesteps)


def respaced_timesteps(num_timesteps: int, num_sampling_steps: int) -> NDArray[np.int64]:
    """The timesteps that Improved DDPM keeps: evenly spread, both ends included, rounded to nearest.

    Returns:
        (num_sampling_steps,) int64, ascending; 300 of 1000 are 0, 3, 7, 10, …, 999.

    Raises:
        ConfigError: fewer than 1 or more than `num_timesteps` steps.
    """
    if not 1 <= num_sampling_steps <= num_timesteps:
        raise ConfigError(f"{num_sampling_steps} sampling steps; give 1 to {num_timesteps}.")
    if num_sampling_steps == 1:
        return np.zeros(1, np.int64)
    stride = (num_timesteps - 1) / (num_sampling_steps - 1)
    position, kept = 0.0, []
    for _ in range(num_sampling_steps):
        kept.append(round(position))  # accumulated and rounded to even as published, to the same list
        position += stride
    return np.array(kept, np.int64)


def ddim_timesteps(num_timesteps: int, num_sampling_steps: int) -> NDArray[np.int64]:
    """The timesteps of the published `ddimN` spacing: 0 and every k-th after it, for the least k that fits.

    Where no k gives as many steps (300 of 1000), the respaced list is used.

    Returns:
        (num_sampling_steps,) int64, ascending.
    """
    stride = -(-num_timesteps // num_sampling_steps)
    steps = np.arange(0, num_timesteps, stride, dtype=np.int64)
    return steps if len(steps) == num_sampling_steps else respaced_timesteps(num_timesteps, num_sampling_steps)


def log_snr_timesteps(
    schedule: NoiseSchedule, num_sampling_steps: int, least_log_snr: float = -math.inf
) -> NDArray[np.int64]:
    """Timesteps evenly spread over the log signal-to-noise ratio, both ends included.

    The noisiest end is the process's last step, or the one nearest `least_log_snr` where the process goes on below
    it (and has steps enough above).

    The step size in which the errors of DPM-Solver and UniPC are bounded (Lu et al. 2022, section 3.3); with
    timesteps evenly spread over t their last step spans most of that range.

    Returns:
        (num_sampling_steps,) int64, ascending.

    Raises:
        ConfigError: fewer than 2 steps, or more than the process has.
    """
    num_timesteps = len(schedule)
    if not 2 <= num_sampling_steps <= num_timesteps:
        raise ConfigError(f"{num_sampling_steps} sampling steps; this sampler takes 2 to {num_timesteps}.")
    log_snr = np.log(schedule.snr)  # descending in t
    wanted = np.linspace(log_snr[0], max(log_snr[-1], least_log_snr), num_sampling_steps)
    nearest = np.abs(log_snr[None, :] - wanted[:, None]).argmin(axis=1)
    order = np.arange(num_sampling_steps)
    distinct = np.maximum.accumulate(nearest - order) + order  # at least one apart …
    return np.minimum(distinct, num_timesteps - num_sampling_steps + order)  # … and within the process


def respace(schedule: NoiseSchedule, timesteps: NDArray[np.int64]) -> NoiseSchedule:
    """Keep a subset of a schedule's steps with their exact alphas_cumprod (Nichol and Dhariwal 2021, eq. 19)."""
    kept = schedule.alphas_cumprod[timesteps]
    betas = 1.0 - kept / np.append(1.0, kept[:-1])
    return NoiseSchedule(betas, schedule.timestep_map[timesteps])


def rescaled_schedule(num_sampling_steps: int, name: NoiseScheduleName = "linear") -> NoiseSchedule:
    """A fresh schedule of S steps, which are told to the network as t = i * 1000 / S.

    What the published ISDM sampling (`diffusion_steps=300, rescale_timesteps=true`) does. In its last steps
    the network believes that there is less noise than there is.
    """
    return training_schedule(num_sampling_steps, name)
