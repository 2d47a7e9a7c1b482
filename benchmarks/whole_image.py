"""Claim: a whole synthetic image is at least 100 times faster than in the paper's way, at no loss.

The paper's way: 300 guided DDPM steps in float32, each of two whole forward passes. Ours: as `isdm sample` draws,
with few steps. No loss: the one-sided 95 % bound of the change in a fixed segmenter's agreement with the masks is
above -0.01, and that of the change in KID is below the spread of KID between two halves of the real images.
    python benchmarks/whole_image.py --our dpmsolver++:10 dpmsolver++:12:100-800 unipc:8 dpmsolver++-sde:12
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
import torch
from torch import Tensor

from harness import RESULTS, alternate, claim, machine, medians, timings, write_result
from isdm.config import Sampler
from isdm.data.image_files import ImageArray
from isdm.data.semantic_map import semantic_map
from isdm.data.transforms import from_model_range
from isdm.diffusion.samplers import sample_images, sampling_schedule
from isdm.hardware import select_device, select_dtype
from isdm.metrics.segmentation import Counts, pooled_iou
from isdm.models.unet import SemanticUNet
from isdm.pipeline import SemanticDiffusionPipeline, sample_generator
from networks import GUIDANCE_SCALE, plain_forward, plain_group_norm
from quality import (
    FEATURES,
    JUDGE,
    JUDGE_EPOCHS,
    SMALL_MODEL,
    Floats,
    Real,
    bootstrap_times,
    draw,
    features,
    fruit_dataset,
    kid,
    kid_change,
    per_image_agreement,
    pooled_agreement,
    spread_of_halves,
    train_or_load,
    trained_judge,
)

CLAIM = "A whole image at least 100 times faster than 300 guided DDPM steps in float32, at no loss."
PAPER, PAPER_STEPS = "paper", 300
BOOTSTRAPS = 4000
LARGEST_LOSS = 0.01


@dataclass(frozen=True)
class Setting:
    """A way to sample: SAMPLER:STEPS[:LOW-HIGH][@GUIDANCE], guided only at t within; the paper's unless given."""

    sampler: Sampler
    steps: int
    interval: tuple[float, float] = (0.0, 1000.0)
    guidance: float = GUIDANCE_SCALE

    @classmethod
    def parse(cls, text: str) -> Self:
        way, _, guidance = text.partition("@")
        sampler, steps, *interval = way.split(":")
        if sampler not in get_args(Sampler) or len(interval) > 1:
            raise argparse.ArgumentTypeError(f"{text!r} is not SAMPLER:STEPS[:LOW-HIGH][@GUIDANCE]")
        low, high = interval[0].split("-") if interval else ("0", "1000")
        scale = float(guidance) if guidance else GUIDANCE_SCALE
        return cls(sampler, int(steps), (float(low), float(high)), scale)  # type: ignore[arg-type]

    def __str__(self) -> str:
        low, high = self.interval
        interval = "" if (low, high) == (0, 1000) else f":{low:g}-{high:g}"
        return f"{self.sampler}:{self.steps}{interval}" + f"@{self.guidance:g}" * (self.guidance != GUIDANCE_SCALE)

    def options(self, seed: int) -> dict[str, Any]:
        """For the pipeline."""
        return {
            "seed": seed,
            "sampler": self.sampler,
            "num_sampling_steps": self.steps,
            "guidance_scale": self.guidance,
            "guidance_interval": self.interval,
        }


class TwoWholePasses:
    """A denoiser that keeps nothing: the encoder runs again for each condition, gamma and beta at every step."""

    def __init__(self, unet: SemanticUNet) -> None:
        self.unet = unet

    def encode(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return x_t, t

    def decode(self, encoded: tuple[Tensor, Tensor], conditions: Tensor) -> Tensor:
        return plain_forward(self.unet, *encoded, conditions)


def papers_way(pipeline: SemanticDiffusionPipeline, masks: Any, seed: int, steps: int) -> ImageArray:
    """Guided respaced DDPM, every step of two whole passes in float32 and NCHW."""
    device = pipeline.unet.device
    maps = semantic_map(torch.from_numpy(np.asarray(masks, np.int64)), pipeline.unet.config.num_classes).to(device)
    generators = [sample_generator(seed, index) for index in range(len(masks))]
    shape = (1, pipeline.unet.config.in_channels, *masks.shape[1:])
    with plain_group_norm():
        images = sample_images(
            TwoWholePasses(pipeline.unet),
            maps,
            torch.zeros_like(maps),
            sampling_schedule(pipeline.scheduler.config.num_train_timesteps, steps, "ddpm", "respaced"),
            sampler="ddpm",
            guidance_scale=GUIDANCE_SCALE,
            generators=generators,
            x_T=torch.cat([torch.randn(shape, generator=generator) for generator in generators]).to(device),
        )
    return from_model_range(images)


def measure_time(
    arguments: argparse.Namespace, papers: SemanticDiffusionPipeline, ours: SemanticDiffusionPipeline, real: Real
) -> dict[str, Any]:
    """Seconds for a batch of whole images by every way, in turn."""
    masks = real.masks[real.choose(arguments.batch, seed=0)]
    timed_steps = PAPER_STEPS if arguments.whole else min(arguments.timed_steps, PAPER_STEPS)

    def in_our_way(setting: Setting) -> Callable[[], object]:
        return lambda: ours(masks, **setting.options(seed=0))

    ways: dict[str, Callable[[], object]] = {
        PAPER: lambda: papers_way(papers, masks, 0, timed_steps),
        **{str(setting): in_our_way(setting) for setting in arguments.our},
    }
    seconds = alternate(ways, arguments.rounds, warmup=1)
    seconds[PAPER] = [time * PAPER_STEPS / timed_steps for time in seconds[PAPER]]
    median = medians(seconds)
    how = (
        "all timed" if arguments.whole else f"{timed_steps} such steps timed, all alike, and scaled to {PAPER_STEPS}"
    )
    return {
        "batch": arguments.batch,
        "rounds": arguments.rounds,
        "papers_way": f"{PAPER_STEPS} guided DDPM steps of two whole passes, float32, NCHW, nothing kept: {how}",
        **timings(seconds),
        "seconds_an_image": {name: value / arguments.batch for name, value in median.items()},
        "ratio": {name: median[PAPER] / value for name, value in median.items() if name != PAPER},
    }


def largest_difference(papers: SemanticDiffusionPipeline, real: Real) -> float:
    """How far the pictures with exact savings lie from the paper's way, in grey levels, after ten like steps."""
    masks = real.masks[real.choose(4, seed=0)]
    plain = papers_way(papers, masks, 0, 10)
    saved = papers(masks, **Setting("ddpm", 10).options(seed=0))
    return float(np.abs(plain.astype(int) - saved.astype(int)).max())


@dataclass(frozen=True)
class Drawn:
    """What is known of the pictures of one way."""

    per_image: Floats
    """(N,) foreground IoU; NaN for masks without foreground."""
    counts: Counts
    features: Floats

    @property
    def agreement(self) -> float:
        return float(np.nanmean(self.per_image))


def agreement_change(ours: Drawn, papers: Drawn, times: Floats) -> dict[str, Any]:
    """Change in the judge's agreement, image by image and pooled, with its bounds under a bootstrap over fruit."""
    judged = ~np.isnan(papers.per_image)
    times_judged = times[:, judged]
    change = (ours.per_image - papers.per_image)[judged]
    changes = times_judged @ change / times_judged.sum(axis=1)
    pooled = [_pooled(ours.counts, row) - _pooled(papers.counts, row) for row in times]
    return {
        "change": float(change.mean()),
        "lower_bound": float(np.quantile(changes, 0.05)),
        "standard_error": float(changes.std()),
        "judged_images": int(judged.sum()),
        "change_pooled": pooled_agreement(ours.counts) - pooled_agreement(papers.counts),
        "lower_bound_pooled": float(np.quantile(pooled, 0.05)),
    }


def _pooled(counts: Counts, times: Floats) -> float:
    total = np.tensordot(times.astype(np.int64), counts, axes=1)
    return float(np.nanmean(pooled_iou(total[None])[1:]))


def measure_quality(
    arguments: argparse.Namespace,
    papers: SemanticDiffusionPipeline,
    ours: SemanticDiffusionPipeline,
    real: Real,
    test: Real,
    judge: Any,
) -> dict[str, Any]:
    """Draw for the same masks with the same seeds by every way and compare."""
    chosen = real.choose(arguments.samples, arguments.seed)
    masks, groups = real.masks[chosen], real.groups[chosen]
    folder = arguments.work / f"{_model_name(arguments)}-{arguments.samples}-pictures-seed{arguments.seed}"

    def drawn_by(pipeline: SemanticDiffusionPipeline, setting: Setting) -> Drawn:
        name = f"{setting}-{str(pipeline.unet.dtype).removeprefix('torch.')}".replace(":", "-").replace("+", "p")
        images = draw(pipeline, masks, folder / name, **setting.options(arguments.seed))
        return Drawn(*per_image_agreement(judge, images, masks), features(images))

    of_paper = drawn_by(papers, Setting("ddpm", PAPER_STEPS))
    of_real = features(test.images)
    times, times_real = bootstrap_times(groups, BOOTSTRAPS, 1), bootstrap_times(test.groups, BOOTSTRAPS, 2)
    per_image, counts = per_image_agreement(judge, test.images, test.masks)
    spread = spread_of_halves(of_real)
    quality: dict[str, Any] = {
        "drawn_images": len(masks),
        "distinct_masks": len(np.unique(chosen)),
        "fruits_of_the_masks": len(np.unique(groups)),
        "judge": {"architecture": JUDGE, "epochs": arguments.judge_epochs},
        "agreement_per_image": {"real test": float(np.nanmean(per_image)), PAPER: of_paper.agreement},
        "agreement_pooled": {"real test": pooled_agreement(counts), PAPER: pooled_agreement(of_paper.counts)},
        "kid": {PAPER: kid(of_paper.features, of_real), "real train": kid(features(real.images), of_real)},
        "kid_features": FEATURES,
        "real_images": len(of_real),
        "kid_between_halves_of_real": spread,
        "papers_pictures": "drawn with the exact savings in float32: the same pictures but for rounding",
        "largest_difference_by_savings_in_grey_levels": largest_difference(papers, real),
        "ours": {},
    }
    for setting in arguments.our:
        of_ours = drawn_by(ours, setting)
        agreement = agreement_change(of_ours, of_paper, times)
        distance = kid_change(of_ours.features, of_paper.features, of_real, times, times_real)
        no_loss = agreement["lower_bound"] > -LARGEST_LOSS and distance["upper_bound"] < spread
        quality["ours"][str(setting)] = {
            "agreement_per_image": of_ours.agreement,
            "agreement_pooled": pooled_agreement(of_ours.counts),
            "agreement": agreement,
            "kid": distance,
            "no_loss": bool(no_loss),
        }
    return quality


def _model_name(arguments: argparse.Namespace) -> str:
    objective = f"-{arguments.prediction}-{arguments.loss_weighting}"
    return (
        f"{arguments.size}px-{arguments.base_channels}-{arguments.train_steps}-steps"
        f"{'' if objective == '-eps-uniform' else objective}"
    )


def _arguments() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--our", nargs="+", type=Setting.parse, help="SAMPLER:STEPS[:LOW-HIGH][@GUIDANCE], several")
    options.add_argument("--our-steps", type=int, default=10, help="of dpmsolver++, where --our is not given")
    options.add_argument("--train-steps", type=int, default=1200, help="optimiser steps of the model")
    options.add_argument("--size", type=int, default=32, help="height and width of the fruit")
    options.add_argument("--base-channels", type=int, default=24, help="width of the model")
    options.add_argument("--prediction", default="eps", help="what the model predicts: eps or v")
    options.add_argument("--loss-weighting", default="uniform", help="uniform or min-snr")
    options.add_argument("--samples", type=int, default=512, help="pictures by every way")
    options.add_argument("--seed", type=int, default=0, help="of masks and noise")
    options.add_argument("--batch", type=int, default=16, help="pictures at once where time is measured")
    options.add_argument("--rounds", type=int, default=5, help="measured rounds, each of all ways in turn")
    options.add_argument("--timed-steps", type=int, default=30, help="steps of the paper's way that are timed")
    options.add_argument("--whole", action="store_true", help="time all 300 steps of the paper's way")
    options.add_argument("--fruits", type=int, default=120, help="fruits in the dataset, four views each")
    options.add_argument("--judge-epochs", type=int, default=JUDGE_EPOCHS)
    options.add_argument("--device", default="auto", help="auto, cpu, cuda")
    options.add_argument("--work", type=Path, default=Path("runs/whole_image"), help="folder for models and pictures")
    options.add_argument("--out", type=Path, default=RESULTS / "whole_image.json")
    arguments = options.parse_args()
    arguments.our = arguments.our or [Setting("dpmsolver++", arguments.our_steps)]
    return arguments


def main() -> None:
    arguments = _arguments()
    dataset = fruit_dataset(arguments.work, arguments.size, arguments.fruits)
    judge = trained_judge(dataset, arguments.work, arguments.judge_epochs)
    real, test = Real.read(dataset, "train"), Real.read(dataset, "test")
    unet = {"base_channels": arguments.base_channels, "spade_channels": 128}
    options = {**SMALL_MODEL, "unet": {**SMALL_MODEL["unet"], **unet}}
    options |= {"steps": arguments.train_steps, "device": arguments.device}
    options |= {"prediction": arguments.prediction, "loss_weighting": arguments.loss_weighting}
    model = arguments.work / f"model-{_model_name(arguments)}"
    papers, ours = (train_or_load(options, dataset, model) for _ in range(2))
    device = select_device(arguments.device)
    papers.prepare(device, torch.float32)
    ours.prepare(device, select_dtype("auto", device))
    papers.unet.to(memory_format=torch.contiguous_format)
    time = measure_time(arguments, papers, ours, real)
    quality = measure_quality(arguments, papers, ours, real, test, judge)
    lossless = {name: time["ratio"][name] for name, of_ours in quality["ours"].items() if of_ours["no_loss"]}
    fastest = max(lossless, key=lambda name: lossless[name], default=None)
    result = {
        "claim": CLAIM,
        "model": options | {"size": f"{arguments.size}x{arguments.size}"},
        "precision_of_ours": str(ours.unet.dtype).removeprefix("torch."),
        "time": time,
        "quality": quality,
        "fastest_without_loss": fastest,
        "verdict": None if fastest is None else claim(lossless[fastest], at_least=100.0),
        "torch": torch.__version__,
        "machine": machine(),
    }
    write_result(arguments.out, result)


if __name__ == "__main__":
    main()
