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
        raise ConfigError(
            f"{num_timesteps} timesteps make the last beta {scale * 0.02:.2f}; use at least 20."
        )
    return np.linspace(scale * 1e-4, scale * 0.02, num_timesteps, dtype=np.float64)


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
        return np.cumprod(1.0 - self.betas)

    @property
    def alphas_cumprod_prev(self) -> Float64:
        """Product of (1 - beta) before each step; 1 at the first."""
        return np.append(1.0, self.alphas_cumprod[:-1])

    @property
    def posterior_variance(self) -> Float64:
        """Variance of q(x_{t-1} | x_t, x_0), Ho et al. 2020, equation 7: beta tilde."""
        return self.betas * (1.0 - self.alphas_cumprod_prev) / (1.0 - self.alphas_cumprod)

    @property
    def posterior_log_variance_clipped(self) -> Float64:
        """Log of beta tilde; its first value, log 0, is replaced by the second."""
        variance = self.posterior_variance
        return np.log(np.append(variance[1], variance[1:]))

    @property
    def posterior_mean_coef_x_start(self) -> Float64:
        """Weight of x_0 in the posterior mean, Ho et al. 2020, equation 7."""
        return self.betas * np.sqrt(self.alphas_cumprod_prev) / (1.0 - self.alphas_cumprod)

    @property
    def posterior_mean_coef_x_t(self) -> Float64:
        """Weight of x_t in the posterior mean, Ho et al. 2020, equation 7."""
        return (1.0 - self.alphas_cumprod_prev) * np.sqrt(1.0 - self.betas) / (1.0 - self.alphas_cumprod)


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
    return (
        steps if len(steps) == num_sampling_steps else respaced_timesteps(num_timesteps, num_sampling_steps)
    )


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
