"""The forward process and the hybrid loss (Nichol and Dhariwal 2021, sections 3.1 and 3.2)."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isdm.config import LossWeighting, Prediction
from isdm.diffusion.prediction import loss_weights, predict_x_start, prediction_target
from isdm.diffusion.schedule import NoiseSchedule, extract


def q_sample(schedule: NoiseSchedule, x_start: Tensor, steps: Tensor, noise: Tensor) -> Tensor:
    """Draw x_t from q(x_t | x_0), Ho et al. 2020, equation 4.

    Args:
        schedule: the process.
        x_start: (N, C, H, W) in [-1, 1].
        steps: (N,) int64 step indices.
        noise: (N, C, H, W) standard normal.

    Returns:
        (N, C, H, W).
    """
    alphas_cumprod = schedule.alphas_cumprod
    signal = extract(alphas_cumprod**0.5, steps, x_start)
    return signal * x_start + extract((1 - alphas_cumprod) ** 0.5, steps, x_start) * noise


def posterior_mean(schedule: NoiseSchedule, x_start: Tensor, x_t: Tensor, steps: Tensor) -> Tensor:
    """Mean of q(x_{t-1} | x_t, x_0), Ho et al. 2020, equation 7.

    Args:
        schedule: the process.
        x_start: (N, C, H, W), known or predicted.
        x_t: (N, C, H, W).
        steps: (N,) int64 step indices of `x_t`.

    Returns:
        (N, C, H, W).
    """
    return (
        extract(schedule.posterior_mean_coef_x_start, steps, x_t) * x_start
        + extract(schedule.posterior_mean_coef_x_t, steps, x_t) * x_t
    )


def learned_range_log_variance(schedule: NoiseSchedule, v: Tensor, steps: Tensor) -> Tensor:
    """Interpolate between beta tilde and beta in log space (Nichol and Dhariwal 2021, equation 15).

    `v` (N, C, H, W) is the network's raw output; -1 means beta tilde, 1 means beta.
    """
    lower = extract(schedule.posterior_log_variance_clipped, steps, v)
    upper = extract(np.log(schedule.betas), steps, v)
    fraction = (v + 1) / 2
    return fraction * upper + (1 - fraction) * lower


def normal_kl(mean1: Tensor, log_variance1: Tensor, mean2: Tensor, log_variance2: Tensor) -> Tensor:
    """KL divergence of two diagonal Gaussians of one shape, in nats per element; 0 or more."""
    return 0.5 * (
        log_variance2
        - log_variance1
        - 1.0
        + torch.exp(log_variance1 - log_variance2)
        + (mean1 - mean2) ** 2 * torch.exp(-log_variance2)
    )


def discretized_gaussian_log_likelihood(x: Tensor, mean: Tensor, log_variance: Tensor, bit_depth: int = 8) -> Tensor:
    """Log-likelihood of pixels under a Gaussian integrated over their bins (Ho et al. 2020, equation 13).

    Pixels of `bit_depth` bits scaled to [-1, 1] lie 2 / (2^b - 1) apart; the outer bins reach to infinity.
    The normal distribution function is the tanh approximation of the published code, so losses agree.

    Args:
        x: (N, C, H, W) pixels in [-1, 1].
        mean: (N, C, H, W).
        log_variance: (N, C, H, W).
        bit_depth: bits of a pixel, 8 or 16.

    Returns:
        (N, C, H, W) in nats, 0 or less.
    """
    half_bin = 1.0 / (2**bit_depth - 1)
    inverse_std = torch.exp(-0.5 * log_variance)
    cdf_above = _approximate_normal_cdf((x - mean + half_bin) * inverse_std)
    cdf_below = _approximate_normal_cdf((x - mean - half_bin) * inverse_std)
    smallest = 1e-12
    log_above = cdf_above.clamp(min=smallest).log()
    log_not_below = (1 - cdf_below).clamp(min=smallest).log()
    log_between = (cdf_above - cdf_below).clamp(min=smallest).log()
    # The published code asks for values beyond 0.999, between the last two of 8 bits; so does this, at any depth.
    end = 1 - 0.255 * half_bin
    is_lowest, is_highest = x < -end, x > end
    return torch.where(is_lowest, log_above, torch.where(is_highest, log_not_below, log_between))


def _approximate_normal_cdf(x: Tensor) -> Tensor:
    return 0.5 * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


@dataclass(frozen=True)
class HybridLoss:
    """Terms of the hybrid loss, each (N,): the prediction's weighted `mse`, `vb` in bits per dimension, their sum."""

    mse: Tensor
    vb: Tensor

    @property
    def total(self) -> Tensor:
        """L_hybrid with weight 1 on the variational term."""
        return self.mse + self.vb


def hybrid_loss(
    schedule: NoiseSchedule,
    model_output: Tensor,
    x_start: Tensor,
    x_t: Tensor,
    steps: Tensor,
    noise: Tensor,
    bit_depth: int = 8,
    prediction: Prediction = "eps",
    weighting: LossWeighting = "uniform",
) -> HybridLoss:
    """L_hybrid = L_simple + L_vlb of the one step t (Nichol and Dhariwal 2021, equation 16).

    The mean of the variational term is detached, so that it trains the variance alone; its weight is 1
    because the sum over t was replaced by one t.

    Args:
        schedule: the process that `x_t` comes from.
        model_output: (N, 2C, H, W): what the network predicts, then the raw variance v.
        x_start: (N, C, H, W) in [-1, 1].
        x_t: (N, C, H, W), as `q_sample` drew it.
        steps: (N,) int64.
        noise: (N, C, H, W), as given to `q_sample`.
        bit_depth: bits of the pixels, which set the bins of the likelihood at step 0.
        prediction: what the first C channels mean (see `isdm.diffusion.prediction`).
        weighting: of the mean squared error over the steps; the variational term has its own.
    """
    predicted, v = model_output.float().chunk(2, dim=1)
    target = prediction_target(prediction, schedule, x_start, noise, steps)
    mse = _mean_over_pixels((target - predicted) ** 2) * loss_weights(prediction, weighting, schedule, steps)
    true_mean = posterior_mean(schedule, x_start, x_t, steps)
    true_log_variance = extract(schedule.posterior_log_variance_clipped, steps, x_t)
    pred_xstart = predict_x_start(prediction, schedule, x_t, steps, predicted.detach())
    mean = posterior_mean(schedule, pred_xstart, x_t, steps)
    log_variance = learned_range_log_variance(schedule, v, steps)
    kl = _mean_over_pixels(normal_kl(true_mean, true_log_variance, mean, log_variance))
    nll = _mean_over_pixels(-discretized_gaussian_log_likelihood(x_start, mean, log_variance, bit_depth))
    vb = torch.where(steps == 0, nll, kl) / math.log(2.0)
    return HybridLoss(mse, vb)


def _mean_over_pixels(values: Tensor) -> Tensor:
    return values.flatten(1).mean(dim=1)
