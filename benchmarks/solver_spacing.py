"""Claim: few-step solvers follow the probability flow better with steps even in log-SNR than even in t.

Data are Gaussian, so the exact network and the exact end of the flow are known in closed form.
    python benchmarks/solver_spacing.py
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isdm.config import Sampler
from isdm.diffusion.samplers import sample_images
from isdm.diffusion.schedule import log_snr_timesteps, respace, respaced_timesteps, training_schedule

RESULT = Path(__file__).parent / "results" / "solver_spacing.json"
MEAN, STD = 0.2, 0.25
SAMPLERS: tuple[Sampler, ...] = ("ddim", "dpmsolver++", "unipc")


class GaussianDenoiser:
    """The exact denoiser of x_0 ~ N(MEAN, STD^2)."""

    def __init__(self) -> None:
        self.bars = torch.from_numpy(training_schedule().alphas_cumprod)

    def encode(self, x_t: Tensor, t: Tensor) -> Any:
        return x_t, self.bars[t.round().long()].view(-1, 1, 1, 1).float()

    def decode(self, encoded: Any, conditions: Any) -> Tensor:
        x_t, bar = encoded
        eps = (1 - bar).sqrt() * (x_t - bar.sqrt() * MEAN) / (bar * STD**2 + 1 - bar)
        return torch.cat([eps, torch.zeros_like(eps)], dim=1)


def main() -> None:
    trained, denoiser = training_schedule(), GaussianDenoiser()
    x_T = torch.linspace(-2, 2, 64).view(1, 1, 8, 8)  # noqa: N806
    bar = denoiser.bars[-1].float()
    exact = MEAN + STD * (x_T - bar.sqrt() * MEAN) / (bar * STD**2 + 1 - bar).sqrt()
    errors: dict[str, float] = {}
    for sampler in SAMPLERS:
        for count in (12, 20, 40):
            spacings = {
                "even t": respaced_timesteps(1000, count),
                "even log-SNR": log_snr_timesteps(trained, count),
            }
            for name, steps in spacings.items():
                drawn = sample_images(
                    denoiser,
                    None,
                    None,
                    respace(trained, steps),
                    sampler=sampler,
                    guidance_scale=1.0,
                    generators=[torch.Generator()],
                    x_T=x_T,
                )
                errors[f"{sampler}, {count} steps, {name}"] = round((drawn - exact).abs().max().item(), 5)
    result = {"claim": "largest distance from the exact end of the flow", "errors": errors}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
