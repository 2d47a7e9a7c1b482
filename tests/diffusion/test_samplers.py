from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from isdm.config import NoiseScheduleName, Prediction, Sampler
from isdm.diffusion.guidance import guided_output
from isdm.diffusion.samplers import sample_images, sampling_schedule
from isdm.diffusion.schedule import training_schedule
from oracle import Process

SHAPE = (2, 3, 4, 4)
SCALE = 1.5


class ToyDenoiser:
    """A prediction and a variance that depend smoothly on the image, the time and the condition."""

    def __init__(self) -> None:
        self.num_encoded = self.num_decoded = 0

    def encode(self, x_t: Tensor, t: Tensor) -> Any:
        self.num_encoded += 1
        return x_t, t.view(-1, 1, 1, 1) / 1000

    def decode(self, encoded: Any, conditions: Tensor) -> Tensor:
        self.num_decoded += 1
        x_t, t = encoded
        return torch.cat([x_t * (0.9 - 0.2 * t) - 0.3 * conditions, torch.sin(x_t + conditions)], dim=1)


def run(sampler: Sampler, schedule: Any, noise: Tensor, denoiser: Any = None, **options: Any) -> Tensor:
    conditions = torch.full((SHAPE[0], 1, 1, 1), 0.4)
    return sample_images(
        denoiser or ToyDenoiser(),
        conditions,
        torch.zeros_like(conditions),
        schedule,
        sampler=sampler,
        guidance_scale=options.pop("guidance_scale", SCALE),
        generators=[torch.Generator().manual_seed(i) for i in range(SHAPE[0])],
        x_T=noise,
        **options,
    )


@pytest.fixture
def noise() -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(7))


def oracle_run(
    sampler: str, schedule: Any, noise: Tensor, prediction: str = "eps", interval: tuple[float, float] = (0, 1000)
) -> np.ndarray:
    """The same walk by the oracle's equations; noise comes from the same generators."""
    generators = [torch.Generator().manual_seed(i) for i in range(SHAPE[0])]
    process, denoiser = Process(schedule.betas), ToyDenoiser()
    x = noise.double()
    for i in reversed(range(len(schedule))):
        t = torch.full((SHAPE[0],), schedule.timestep_map[i], dtype=torch.float64)
        encoded = denoiser.encode(x, t)
        eps, v = denoiser.decode(encoded, torch.full((SHAPE[0], 1, 1, 1), 0.4).double()).chunk(2, dim=1)
        null, _ = denoiser.decode(encoded, torch.zeros(SHAPE[0], 1, 1, 1).double()).chunk(2, dim=1)
        guided = (null + SCALE * (eps - null) if interval[0] <= t[0] <= interval[1] else eps).numpy()
        if prediction == "v":
            guided = process.eps_of_velocity(x.numpy(), i, guided)
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


@pytest.mark.parametrize("interval", [(0.0, 1000.0), (100.0, 800.0)])
@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize("noise_schedule", ["linear", "cosine"])
@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_walk_agrees_with_the_oracle_for_every_option(
    sampler: Any, noise_schedule: Any, prediction: Any, interval: tuple[float, float], noise: Tensor
) -> None:
    schedule = sampling_schedule(1000, 13, sampler, "respaced", noise_schedule)
    drawn = run(sampler, schedule, noise, prediction=prediction, guidance_interval=interval)
    assert drawn.numpy() == pytest.approx(oracle_run(sampler, schedule, noise, prediction, interval), abs=1e-4)


def test_a_rescaled_walk_takes_a_fresh_schedule_of_the_same_name() -> None:
    schedule = sampling_schedule(1000, 30, "ddim", "rescaled", "cosine")
    assert np.array_equal(schedule.betas, training_schedule(30, "cosine").betas)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmsolver++", "dpmsolver++-sde", "unipc"])
def test_outside_its_interval_guidance_makes_no_second_pass(sampler: Any, noise: Tensor) -> None:
    schedule = sampling_schedule(1000, 11, sampler, "respaced")
    inside = schedule.timestep_map[3:8]  # both ends included
    denoiser = ToyDenoiser()
    partly = run(sampler, schedule, noise, denoiser, guidance_interval=(inside[0], inside[-1]))
    assert (denoiser.num_encoded, denoiser.num_decoded) == (11, 11 + 5)
    never = run(sampler, schedule, noise, guidance_interval=(1000.0, 1000.0))
    unguided = run(sampler, schedule, noise, guidance_scale=1.0)
    assert torch.equal(never, unguided)
    assert not torch.allclose(partly, unguided, atol=1e-3)
    assert not torch.allclose(partly, run(sampler, schedule, noise), atol=1e-3)


class GaussianData:
    """The exact denoiser of data x_0 ~ N(mean, std^2); its probability flow has a closed form."""

    mean, std = 0.2, 0.25

    def __init__(self, name: NoiseScheduleName = "linear", prediction: Prediction = "eps") -> None:
        self.bars = torch.from_numpy(np.cumprod(1 - training_schedule(name=name).betas))
        self.prediction = prediction

    def encode(self, x_t: Tensor, t: Tensor) -> Any:
        return x_t.double(), self.bars[t.round().long()].view(-1, 1, 1, 1)

    def decode(self, encoded: Any, conditions: Tensor) -> Tensor:
        """The expected noise, and the velocity as its equation has it of expected noise and x_0."""
        x_t, bar = encoded
        mean = self.mean + conditions  # a condition shifts the data
        variance = bar * self.std**2 + 1 - bar
        eps = (1 - bar).sqrt() * (x_t - bar.sqrt() * mean) / variance
        x_start = mean + bar.sqrt() * self.std**2 * (x_t - bar.sqrt() * mean) / variance
        predicted = eps if self.prediction == "eps" else bar.sqrt() * eps - (1 - bar).sqrt() * x_start
        return torch.cat([predicted, torch.zeros_like(predicted)], dim=1)

    def exact_flow(self, x_T: Tensor) -> Tensor:  # noqa: N803
        bar = self.bars[-1].float()
        spread = (bar * self.std**2 + 1 - bar).sqrt()
        return self.mean + self.std * (x_T - bar.sqrt() * self.mean) / spread


@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize(("sampler", "tolerance"), [("ddim", 0.15), ("dpmsolver++", 0.01), ("unipc", 0.01)])
def test_deterministic_samplers_follow_the_exact_flow(
    sampler: Any, tolerance: float, name: Any, prediction: Any
) -> None:
    data = GaussianData(name, prediction)
    x_T = torch.linspace(-2, 2, 64).view(1, 1, 8, 8)  # noqa: N806
    drawn = sample_images(
        data,
        torch.zeros(1),
        torch.zeros(1),
        sampling_schedule(1000, 20, sampler, "respaced", name),
        sampler=sampler,
        guidance_scale=1.0,
        generators=[torch.Generator()],
        x_T=x_T,
        prediction=prediction,
    )
    assert (drawn - data.exact_flow(x_T)).abs().max() < tolerance


@pytest.mark.parametrize("count", [2, 10, 50])
@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmsolver++", "dpmsolver++-sde", "unipc"])
def test_exact_noise_and_exact_velocity_paint_the_same_guided_pictures(
    sampler: Any, name: Any, count: int, noise: Tensor
) -> None:
    schedule = sampling_schedule(1000, count, sampler, "respaced", name)
    eps, v = (
        run(sampler, schedule, noise, GaussianData(name, prediction), prediction=prediction)
        for prediction in ("eps", "v")
    )
    assert eps.isfinite().all()
    # At cosine's last step the rounding of eps counts 20,000 times in x_start; the second of two steps shows it.
    assert (eps - v).abs().max() < (1e-2 if count == 2 else 2e-5)


@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("sampler", ["ddpm", "dpmsolver++-sde"])
def test_stochastic_samplers_reach_the_distribution(sampler: Any, name: Any) -> None:
    drawn = sample_images(
        GaussianData(name),
        torch.zeros(1),
        torch.zeros(1),
        sampling_schedule(1000, 60, sampler, "respaced", name),
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
