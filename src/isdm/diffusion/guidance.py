"""Classifier-free guidance (Ho and Salimans 2022)."""

from collections.abc import Callable

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(x_t (N, C, H, W), t (N,) float32, semantic_map (N, K, H, W)) -> (N, 2C, H, W): eps, then v."""


def guided_output(
    denoiser: Denoiser, x_t: Tensor, t: Tensor, semantic_map: Tensor, guidance_scale: float
) -> tuple[Tensor, Tensor]:
    """Predict the noise and the variance under guidance.

    eps = eps_null + guidance_scale * (eps_cond - eps_null); the variance is that of the conditional pass. At
    scale 1 there is one pass.

    Returns:
        eps and v, each (N, C, H, W) float32.
    """
    if guidance_scale == 1.0:
        eps, v = denoiser(x_t, t, semantic_map).float().chunk(2, dim=1)
        return eps, v
    both = denoiser(
        torch.cat([x_t, x_t]), torch.cat([t, t]), torch.cat([semantic_map, torch.zeros_like(semantic_map)])
    )
    conditional, unconditional = both.float().chunk(2)
    eps_cond, v = conditional.chunk(2, dim=1)
    eps_null, _ = unconditional.chunk(2, dim=1)
    return eps_null + guidance_scale * (eps_cond - eps_null), v
