"""Classifier-free guidance (Ho and Salimans 2022)."""

from typing import Any, Protocol

from torch import Tensor


class Denoiser(Protocol):
    """A network in two halves: the first sees the noisy image alone, the second the condition too."""

    def encode(self, x_t: Tensor, t: Tensor) -> Any:
        """Encode `x_t` (N, C, H, W) at time `t` (N,) float32."""

    def decode(self, encoded: Any, conditions: Any) -> Tensor:
        """Predict (N, 2C, H, W) under `conditions`: eps or the velocity, then the variance's v."""


def guided_output(
    denoiser: Denoiser, x_t: Tensor, t: Tensor, conditions: Any, null_conditions: Any, guidance_scale: float
) -> tuple[Tensor, Tensor]:
    """Predict the noise (or the velocity) and the variance under guidance.

    eps = eps_null + guidance_scale * (eps_cond - eps_null); the variance is that of the conditional pass. Both
    passes share what was encoded, which does not depend on the condition; at scale 1 there is one pass.

    Args:
        denoiser: the network.
        x_t: (N, C, H, W) noisy images.
        t: (N,) float32 on the scale of the 1000 original timesteps.
        conditions: what the network's second half takes for the N masks.
        null_conditions: the same for no mask.
        guidance_scale: 0 ignores the mask, 1 is off, more exaggerates it.

    Returns:
        The guided prediction and v, each (N, C, H, W) float32.
    """
    encoded = denoiser.encode(x_t, t)
    predicted, v = denoiser.decode(encoded, conditions).float().chunk(2, dim=1)
    if guidance_scale == 1.0:
        return predicted, v
    predicted_null, _ = denoiser.decode(encoded, null_conditions).float().chunk(2, dim=1)
    # The same for either prediction: given x_t one is affine in the other, and the mix's weights sum to 1.
    return predicted_null + guidance_scale * (predicted - predicted_null), v
