"""Noise schedules: tables of the forward process, and which timesteps sampling visits."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isdm.errors import ConfigError

Float64 = NDArray[np.float64]

REFERENCE_TIMESTEPS = 1000
"""Length of the process that the published beta range is meant for, and the network's scale of t."""


def linear_betas(num_timesteps: int) -> Float64:
    """Betas from 1e-4 to 0.02 for T = 1000, scaled by 1000 / T otherwise (Dhariwal and Nichol 2021).

    Returns:
        (num_timesteps,) float64.

    Raises:
        ConfigError: below 20 timesteps, where the last beta would exceed 1.
    """
    scale = REFERENCE_TIMESTEPS / num_timesteps
    if scale * 0.02 > 1:
        raise ConfigError(f"{num_timesteps} timesteps make the last beta {scale * 0.02:.2f}; use at least 20.")
    betas: Float64 = np.linspace(scale * 1e-4, scale * 0.02, num_timesteps, dtype=np.float64)
    return betas


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


def training_schedule(num_train_timesteps: int = REFERENCE_TIMESTEPS) -> NoiseSchedule:
    """The process that the network is trained on; it is told t on the scale of 1000."""
    steps = np.arange(num_train_timesteps, dtype=np.float64)
    return NoiseSchedule(linear_betas(num_train_timesteps), steps * REFERENCE_TIMESTEPS / num_train_timesteps)


def respaced_timesteps(num_timesteps: int, num_sampling_steps: int) -> NDArray[np.int64]:
    """The timesteps that Improved DDPM keeps: evenly spread, both ends included, rounded to nearest.

    Returns:
        (num_sampling_steps,) int64, ascending; 300 of 1000 are 0, 3, 7, 10, …, 999.
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
    """
    stride = -(-num_timesteps // num_sampling_steps)
    steps = np.arange(0, num_timesteps, stride, dtype=np.int64)
    return steps if len(steps) == num_sampling_steps else respaced_timesteps(num_timesteps, num_sampling_steps)


def log_snr_timesteps(schedule: NoiseSchedule, num_sampling_steps: int) -> NDArray[np.int64]:
    """Timesteps evenly spread over the log signal-to-noise ratio, both ends included.

    The step size in which the errors of DPM-Solver and UniPC are bounded (Lu et al. 2022, section 3.3); with
    timesteps evenly spread over t their last step spans most of that range.
    """
    num_timesteps = len(schedule)
    if not 2 <= num_sampling_steps <= num_timesteps:
        raise ConfigError(f"{num_sampling_steps} sampling steps; this sampler takes 2 to {num_timesteps}.")
    log_snr = np.log(schedule.alphas_cumprod / (1 - schedule.alphas_cumprod))  # descending in t
    wanted = np.linspace(log_snr[0], log_snr[-1], num_sampling_steps)
    nearest = np.abs(log_snr[None, :] - wanted[:, None]).argmin(axis=1)
    order = np.arange(num_sampling_steps)
    distinct = np.maximum.accumulate(nearest - order) + order  # at least one apart …
    return np.minimum(distinct, num_timesteps - num_sampling_steps + order)  # … and within the process


def respace(schedule: NoiseSchedule, timesteps: NDArray[np.int64]) -> NoiseSchedule:
    """Keep a subset of a schedule's steps with their exact alphas_cumprod (Nichol and Dhariwal 2021, eq. 19)."""
    kept = schedule.alphas_cumprod[timesteps]
    betas = 1.0 - kept / np.append(1.0, kept[:-1])
    return NoiseSchedule(betas, schedule.timestep_map[timesteps])


def rescaled_schedule(num_sampling_steps: int) -> NoiseSchedule:
    """A fresh linear schedule whose steps are told to the network as t = i * 1000 / S.

    What the published ISDM sampling (`diffusion_steps=300, rescale_timesteps=true`) does. In its last steps
    the network believes that there is less noise than there is.
    """
    return training_schedule(num_sampling_steps)
