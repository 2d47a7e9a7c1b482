from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from isdm.config import Sampler
from isdm.diffusion.guidance import guided_output
from isdm.diffusion.samplers import sample_images, sampling_schedule
from oracle import Process

SHAPE = (2, 3, 4, 4)
SCALE = 1.5


class ToyDenoiser:
    """eps and v that depend smoothly on the image, the time and the condition."""

    def __init__(self) -> None:
        self.num_encoded = 0

    def encode(self, x_t: Tensor, t: Tensor) -> Any:
        self.num_encoded += 1
        return x_t, t.view(-1, 1, 1, 1) / 1000

    def decode(self, encoded: Any, conditions: Tensor) -> Tensor:
        x_t, t = encoded
        return torch.cat([x_t * (0.9 - 0.2 * t) - 0.3 * conditions, torch.sin(x_t + conditions)], dim=1)


def run(sampler: Sampler, schedule: Any, noise: Tensor, seed: int = 0) -> Tensor:
    conditions = torch.full((SHAPE[0], 1, 1, 1), 0.4)
    return sample_images(
        ToyDenoiser(),
        conditions,
        torch.zeros_like(conditions),
        schedule,
        sampler=sampler,
        guidance_scale=SCALE,
        generators=[torch.Generator().manual_seed(seed + i) for i in range(SHAPE[0])],
        x_T=noise,
    )


@pytest.fixture
def noise() -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(7))


def oracle_run(sampler: str, schedule: Any, noise: Tensor) -> np.ndarray:
    """The same walk by the oracle's equations; noise comes from the same generators."""
    generators = [torch.Generator().manual_seed(i) for i in range(SHAPE[0])]
    process, denoiser = Process(schedule.betas), ToyDenoiser()
    x = noise.double()
    for i in reversed(range(len(schedule))):
        t = torch.full((SHAPE[0],), schedule.timestep_map[i], dtype=torch.float64)
        encoded = denoiser.encode(x, t)
        eps, v = denoiser.decode(encoded, torch.full((SHAPE[0], 1, 1, 1), 0.4).double()).chunk(2, dim=1)
        null, _ = denoiser.decode(encoded, torch.zeros(SHAPE[0], 1, 1, 1).double()).chunk(2, dim=1)
        guided = (null + SCALE * (eps - null)).numpy()
        if sampler == "ddim":
            x = torch.from_numpy(process.ddim_step(x.numpy(), i, guided))
        else:
            drawn = torch.cat([torch.randn((1, *SHAPE[1:]), generator=g) for g in generators]) if i else x
            x = torch.from_numpy(process.ancestral_step(x.numpy(), i, guided, v.numpy(), drawn.numpy()))
    return x.clamp(-1, 1).numpy()


@pytest.mark.parametrize(
    ("sampler", "steps", "timesteps"),
    [
        ("ddpm", 10, "respaced"),
        ("ddpm", 37, "respaced"),
        ("ddpm", 25, "rescaled"),
        ("ddim", 10, "respaced"),
        ("ddim", 37, "respaced"),
        ("ddim", 30, "rescaled"),
    ],
)
def test_walk_agrees_with_the_oracle(sampler: Any, steps: int, timesteps: Any, noise: Tensor) -> None:
    schedule = sampling_schedule(1000, steps, sampler, timesteps)
    assert run(sampler, schedule, noise).numpy() == pytest.approx(oracle_run(sampler, schedule, noise), abs=1e-4)


class GaussianData:
    """The exact denoiser of data x_0 ~ N(mean, std^2); its probability flow has a closed form."""

    mean, std = 0.2, 0.25

    def __init__(self) -> None:
        bars = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
        self.bars = torch.from_numpy(bars)

    def encode(self, x_t: Tensor, t: Tensor) -> Any:
        return x_t, self.bars[t.round().long()].view(-1, 1, 1, 1).float()

    def decode(self, encoded: Any, conditions: Tensor) -> Tensor:
        x_t, bar = encoded
        variance = bar * self.std**2 + 1 - bar
        eps = (1 - bar).sqrt() * (x_t - bar.sqrt() * self.mean) / variance
        return torch.cat([eps, torch.zeros_like(eps)], dim=1)

    def exact_flow(self, x_T: Tensor) -> Tensor:  # noqa: N803
        bar = self.bars[-1].float()
        spread = (bar * self.std**2 + 1 - bar).sqrt()
        return self.mean + self.std * (x_T - bar.sqrt() * self.mean) / spread


@pytest.mark.parametrize(("sampler", "tolerance"), [("ddim", 0.15), ("dpmsolver++", 0.01), ("unipc", 0.01)])
def test_deterministic_samplers_follow_the_exact_flow(sampler: Any, tolerance: float) -> None:
    data = GaussianData()
    x_T = torch.linspace(-2, 2, 64).view(1, 1, 8, 8)  # noqa: N806
    drawn = sample_images(
        data,
        torch.zeros(1),
        torch.zeros(1),
        sampling_schedule(1000, 20, sampler, "respaced"),
        sampler=sampler,
        guidance_scale=1.0,
        generators=[torch.Generator()],
        x_T=x_T,
    )
    assert (drawn - data.exact_flow(x_T)).abs().max() < tolerance


@pytest.mark.parametrize("sampler", ["ddpm", "dpmsolver++-sde"])
def test_stochastic_samplers_reach_the_distribution(sampler: Any) -> None:
    drawn = sample_images(
        GaussianData(),
        torch.zeros(1),
        torch.zeros(1),
        sampling_schedule(1000, 60, sampler, "respaced"),
        sampler=sampler,
        guidance_scale=1.0,
        generators=[torch.Generator().manual_seed(3)],
        x_T=torch.randn(1, 1, 96, 96, generator=torch.Generator().manual_seed(4)),
    )
    assert drawn.mean().item() == pytest.approx(0.2, abs=0.02)
    assert drawn.std().item() == pytest.approx(0.25, abs=0.02)


def test_guidance_encodes_once_and_mixes_as_defined(noise: Tensor) -> None:
    denoiser = ToyDenoiser()
    t = torch.full((SHAPE[0],), 500.0)
    one, zero = torch.ones(SHAPE[0], 1, 1, 1), torch.zeros(SHAPE[0], 1, 1, 1)
    eps, v = guided_output(denoiser, noise, t, one, zero, SCALE)
    assert denoiser.num_encoded == 1
    encoded = denoiser.encode(noise, t)
    cond, null = denoiser.decode(encoded, one), denoiser.decode(encoded, zero)
    assert torch.allclose(eps, null[:, :3] + SCALE * (cond[:, :3] - null[:, :3]))
    assert torch.equal(v, cond[:, 3:])
