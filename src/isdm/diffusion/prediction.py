"""What the network's first C channels mean: the noise `eps`, or the velocity `v` (not the variance's v)."""

import numpy as np
import torch
from torch import Tensor

from isdm.config import LossWeighting, Prediction
from isdm.diffusion.schedule import NoiseSchedule, extract

MIN_SNR_GAMMA = 5.0
"""Signal-to-noise ratio above which `min-snr` stops weighting steps more (Hang et al. 2023, section 3.4)."""


def prediction_target(
    prediction: Prediction, schedule: NoiseSchedule, x_start: Tensor, noise: Tensor, steps: Tensor
) -> Tensor:
    """What the network is trained to predict of x_t = sqrt(abar) x_0 + sqrt(1 - abar) noise.

    eps: the noise (Ho et al. 2020, equation 14); v: sqrt(abar) noise - sqrt(1 - abar) x_0 (Salimans and Ho 2022,
    appendix D).

    Args:
        prediction: which of the two.
        schedule: the process.
        x_start: (N, C, H, W) in [-1, 1].
        noise: (N, C, H, W), as given to `q_sample`.
        steps: (N,) int64 step indices.

    Returns:
        (N, C, H, W).
    """
    if prediction == "eps":
        return noise
    alphas_cumprod = schedule.alphas_cumprod
    signal = extract(alphas_cumprod**0.5, steps, x_start)
    return signal * noise - extract((1 - alphas_cumprod) ** 0.5, steps, x_start) * x_start


def predict_x_start(
    prediction: Prediction, schedule: NoiseSchedule, x_t: Tensor, steps: Tensor, predicted: Tensor
) -> Tensor:
    """The x_0 that `predicted` (N, C, H, W) implies of `x_t` (N, C, H, W) at `steps` (N,); not clamped.

    eps: (x_t - sqrt(1 - abar) eps) / sqrt(abar) (Ho et al. 2020, equation 15); v: sqrt(abar) x_t - sqrt(1 - abar) v
    (Salimans and Ho 2022, appendix D), which divides by nothing and so stays exact where abar is almost 0.
    """
    alphas_cumprod = schedule.alphas_cumprod
    if prediction == "eps":
        scale = extract((1 / alphas_cumprod) ** 0.5, steps, x_t)
        return scale * x_t - extract((1 / alphas_cumprod - 1) ** 0.5, steps, x_t) * predicted
    signal = extract(alphas_cumprod**0.5, steps, x_t)
    return signal * x_t - extract((1 - alphas_cumprod) ** 0.5, steps, x_t) * predicted


def loss_weights(prediction: Prediction, weighting: LossWeighting, schedule: NoiseSchedule, steps: Tensor) -> Tensor:
    """Weight (N,) float32 of the squared error at `steps` (N,).

    uniform: 1. min-snr: what weights the error of x_0 with min(SNR, gamma), gamma = 5 (Hang et al. 2023, section
    3.4): min(SNR, gamma) / SNR for eps and min(SNR, gamma) / (SNR + 1) for v, as their errors are that of x_0
    times SNR and SNR + 1.
    """
    if weighting == "uniform":
        return torch.ones(len(steps), device=steps.device)
    snr = schedule.snr
    per_x_start = snr if prediction == "eps" else snr + 1.0
    return extract(np.minimum(snr, MIN_SNR_GAMMA) / per_x_start, steps, steps)
