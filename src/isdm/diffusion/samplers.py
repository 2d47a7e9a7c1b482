"""From noise to images: diffusers' schedulers take every step, this module feeds them.

A scheduler is built on the table of just the steps that are visited, so that "the step before" is always the
previous row: exact for any spacing. It receives pred_xstart, made here from the guided prediction and clamped,
so that every sampler treats guidance, clamping and the learned variance alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler
from torch import Tensor

from isdm.config import NoiseScheduleName, Prediction, Sampler, Timesteps
from isdm.diffusion.guidance import Denoiser, guided_output
from isdm.diffusion.prediction import predict_x_start
from isdm.diffusion.schedule import (
    LEAST_LOG_SNR,
    NoiseSchedule,
    ddim_timesteps,
    log_snr_timesteps,
    rescaled_schedule,
    respace,
    respaced_timesteps,
    training_schedule,
)
from isdm.errors import ConfigError


@dataclass(frozen=True)
class Known:
    """Pictures to paint into: masked sampling.

    In every step the known part of pred_xstart is replaced by the picture itself. The sampler then leads x_t
    there to that picture by its own equations, at the noise level of the step, so this holds for each sampler and
    step count (RePaint, Lugmayr et al. 2022, replaces x_t by a noised picture instead, which a solver of several
    steps would take for a jump).
    """

    x_start: Tensor
    """(N, C, H, W) the pictures in [-1, 1]."""
    painted: Tensor
    """(N, 1, H, W) in [0, 1]: 1 where to paint, 0 where to keep, between them along the seam."""

    def blended(self, pred_xstart: Tensor) -> Tensor:
        """Put the known part into a prediction (N, C, H, W)."""
        return torch.lerp(self.x_start, pred_xstart, self.painted)


def sampling_schedule(
    num_train_timesteps: int,
    num_sampling_steps: int,
    sampler: Sampler,
    timesteps: Timesteps,
    noise_schedule: NoiseScheduleName = "linear",
) -> NoiseSchedule:
    """Steps that a sampler visits: a subset of the trained ones, or the paper's fresh rescaled schedule.

    Raises:
        ConfigError: there is no such sampler or way, or it cannot take so many steps.
    """
    if sampler not in get_args(Sampler):
        raise ConfigError(f"sampler {sampler!r} is unknown; choose one of {', '.join(get_args(Sampler))}.")
    if timesteps not in get_args(Timesteps):
        raise ConfigError(f"timesteps {timesteps!r} are unknown; choose {' or '.join(get_args(Timesteps))}.")
    if num_sampling_steps < 1:
        raise ConfigError(f"{num_sampling_steps} sampling steps; give 1 to {num_train_timesteps}.")
    if timesteps == "rescaled":
        return rescaled_schedule(num_sampling_steps, noise_schedule)
    trained = training_schedule(num_train_timesteps, noise_schedule)
    if sampler == "ddpm":
        return respace(trained, respaced_timesteps(num_train_timesteps, num_sampling_steps))
    if sampler == "ddim":
        return respace(trained, ddim_timesteps(num_train_timesteps, num_sampling_steps))
    return respace(trained, log_snr_timesteps(trained, num_sampling_steps, LEAST_LOG_SNR[noise_schedule]))


def make_scheduler(sampler: Sampler, schedule: NoiseSchedule) -> Any:
    """Build diffusers' scheduler for the steps of `schedule`; it expects pred_xstart as the model's output."""
    steps = list(reversed(range(len(schedule))))
    common = {
        "num_train_timesteps": len(schedule),
        "trained_betas": schedule.betas,
        "prediction_type": "sample",
    }
    if sampler == "ddpm":
        scheduler = DDPMScheduler(variance_type="learned_range", clip_sample=False, **common)
        scheduler.set_timesteps(timesteps=steps)
    elif sampler == "ddim":
        scheduler = DDIMScheduler(clip_sample=False, set_alpha_to_one=True, timestep_spacing="leading", **common)
        scheduler.set_timesteps(len(steps))
    elif sampler == "unipc":
        scheduler = UniPCMultistepScheduler(timestep_spacing="trailing", final_sigmas_type="zero", **common)
        scheduler.set_timesteps(len(steps))
    else:
        kind = "sde-dpmsolver++" if sampler == "dpmsolver++-sde" else "dpmsolver++"
        scheduler = DPMSolverMultistepScheduler(algorithm_type=kind, final_sigmas_type="zero", **common)
        scheduler.set_timesteps(timesteps=steps)
    assert scheduler.timesteps.tolist() == steps, "the scheduler must visit exactly the table's steps"
    return scheduler


@torch.no_grad()
def sample_images(
    denoiser: Denoiser,
    conditions: Any,
    null_conditions: Any,
    schedule: NoiseSchedule,
    *,
    sampler: Sampler,
    guidance_scale: float,
    generators: Sequence[torch.Generator],
    x_T: Tensor,  # noqa: N803
    prediction: Prediction = "eps",
    guidance_interval: tuple[float, float] = (0.0, 1000.0),
    known: Known | None = None,
    on_step: Callable[[], None] = lambda: None,
    on_prediction: Callable[[Tensor], None] = lambda _: None,
) -> Tensor:
    """Draw N images.

    Args:
        denoiser: the network.
        conditions: what its second half takes for the N images.
        null_conditions: the same for no condition; used under guidance.
        schedule: the steps to visit, from `sampling_schedule`.
        sampler: name of the method.
        guidance_scale: classifier-free guidance; 1 is off.
        generators: N generators on the CPU, one a sample, for the noise drawn on the way.
        x_T: (N, C, H, W) the noise to start from.
        prediction: what the network's first C channels mean.
        guidance_interval: guide only at t within (both ends included; Kynkäänniemi et al. 2024); elsewhere one
            pass is made.
        known: what is known of the images beforehand; only the rest is painted.
        on_step: called after every step.
        on_prediction: given pred_xstart (N, C, H, W) in [-1, 1] in every step, the picture as it stands then.

    Returns:
        (N, C, H, W) float32 in [-1, 1].
    """
    scheduler = make_scheduler(sampler, schedule)
    x_t = x_T.float()
    lowest, highest = guidance_interval
    for step in reversed(range(len(schedule))):
        told = float(schedule.timestep_map[step])
        t = x_t.new_full((len(x_t),), told)
        scale = guidance_scale if lowest <= told <= highest else 1.0
        predicted, v = guided_output(denoiser, x_t, t, conditions, null_conditions, scale)
        steps = torch.full((len(x_t),), step, device=x_t.device)
        pred_xstart = predict_x_start(prediction, schedule, x_t, steps, predicted).clamp(-1, 1)
        if known is not None:
            pred_xstart = known.blended(pred_xstart)
        on_prediction(pred_xstart)
        output = torch.cat([pred_xstart, v], dim=1) if sampler == "ddpm" else pred_xstart
        options = {} if sampler == "unipc" else {"generator": list(generators)}
        x_t = scheduler.step(output, step, x_t, return_dict=False, **options)[0].float()
        on_step()
    return x_t.clamp(-1, 1) if known is None else known.blended(x_t.clamp(-1, 1))
