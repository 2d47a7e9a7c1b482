"""Claim: every option of training and guidance that is off (or on) by default is so because of a measurement.

Each option is one change against the same base model, trained and drawn anew for every seed; the differences are
paired by seed. What is finished stays in the work folder, so an interrupted run goes on where it stood.
    python benchmarks/training_options.py
    python benchmarks/training_options.py --only v "v + cosine" --seeds 4
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch

from harness import RESULTS, machine
from isdm.config import merged
from isdm.data.dataset import SegmentationDataset
from isdm.files import read_json, write_json
from isdm.hardware import select_device, select_dtype
from quality import (
    FEATURES,
    JUDGE,
    JUDGE_EPOCHS,
    SMALL_MODEL,
    Floats,
    Judge,
    Real,
    draw,
    features,
    fruit_dataset,
    kid,
    kid_interval,
    per_image_agreement,
    pooled_agreement,
    train_or_load,
    trained_judge,
)

CLAIM = "Options of training and guidance, each one change against the base model, judged on drawn pictures."
BASE = "base"
SAMPLING: dict[str, Any] = {"sampler": "dpmsolver++-sde", "num_sampling_steps": 20, "guidance_scale": 1.5}
FIGURES = ("agreement", "agreement_per_image", "kid_x1000")


@dataclass(frozen=True)
class Variant:
    """One change against the base, in training or in sampling."""

    training: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)


VARIANTS: dict[str, Variant] = {
    BASE: Variant(),
    "cosine": Variant({"noise_schedule": "cosine"}),
    "v": Variant({"prediction": "v"}),
    "v + cosine": Variant({"prediction": "v", "noise_schedule": "cosine"}),
    "min-snr": Variant({"loss_weighting": "min-snr"}),
    "v + min-snr": Variant({"prediction": "v", "loss_weighting": "min-snr"}),
    "monitor grid, holdout 0.15": Variant({"monitor": "grid", "holdout": 0.15, "grid_interval_steps": 50}),
    "one channel a group": Variant({"unet": {"norm_groups": 24}}),
    "no learning rate decay": Variant({"learning_rate_decay": "none"}),
    "spade_resize area": Variant({"unet": {"spade_resize": "area"}}),
    "guidance 1": Variant(sampling={"guidance_scale": 1.0}),
    "guidance 2": Variant(sampling={"guidance_scale": 2.0}),
    "guidance 2 in 0-700": Variant(sampling={"guidance_scale": 2.0, "guidance_interval": (0.0, 700.0)}),
    "guidance 2 in 100-800": Variant(sampling={"guidance_scale": 2.0, "guidance_interval": (100.0, 800.0)}),
    "guidance 2 in 200-1000": Variant(sampling={"guidance_scale": 2.0, "guidance_interval": (200.0, 1000.0)}),
}
"""`base` samples at guidance 1.5."""


@dataclass(frozen=True)
class Study:
    """What all variants share."""

    arguments: argparse.Namespace
    dataset: SegmentationDataset
    judge: Judge
    training: Real
    test: Real
    test_features: Floats

    def measure(self, name: str, variant: Variant, seed: int) -> dict[str, Any]:
        """Train (or find) the model of a variant, draw with it and judge the pictures; kept once done."""
        run = self.arguments.work / f"{self.arguments.steps}-steps" / f"seed{seed}"
        of_model = run / (_folder(name) if variant.training else BASE)
        path = run / _folder(name) / f"judged-{self.arguments.samples}-{self.judge.name}.json"
        if path.is_file():
            return dict(read_json(path))
        options = {**SMALL_MODEL, "steps": self.arguments.steps, "seed": seed, "device": self.arguments.device}
        pipeline = train_or_load(merged(options, variant.training), self.dataset, of_model / "model")
        device = select_device(self.arguments.device)
        pipeline.prepare(device, select_dtype("auto", device))
        chosen = self.training.choose(self.arguments.samples, seed)
        masks = self.training.masks[chosen]
        images = draw(
            pipeline,
            masks,
            run / _folder(name) / f"drawn-{len(masks)}",
            seed=seed,
            **SAMPLING | dict(variant.sampling),
        )
        per_image, counts = per_image_agreement(self.judge, images, masks)
        drawn = features(images)
        interval = kid_interval(drawn, self.test_features, self.training.groups[chosen], self.test.groups)
        measured = {
            "agreement": pooled_agreement(counts),
            "agreement_per_image": float(np.nanmean(per_image)),
            "kid_x1000": 1000 * kid(drawn, self.test_features),
            "kid_x1000_interval": [1000 * value for value in interval],
            "training": _how_it_went(of_model / "model"),
        }
        write_json(path, measured)
        return measured


def _folder(name: str) -> str:
    return name.replace(" ", "-").replace(",", "").replace("+", "and")


def _how_it_went(model: Path) -> dict[str, Any]:
    """Seconds a step of a training, and the step of the checkpoint that was kept."""
    lines = [json.loads(line) for line in (model / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in lines if "seconds" in line][-1:]
    return {"seconds_a_step": last[0]["seconds"] / last[0]["step"]} if last else {}


def summary(per_seed: Mapping[int, Mapping[str, Any]], base: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Mean over seeds of every figure, and its difference to the base with the same seed."""
    together: dict[str, Any] = {"seeds": {str(seed): dict(measured) for seed, measured in per_seed.items()}}
    for figure in FIGURES:
        differences = [measured[figure] - base[seed][figure] for seed, measured in per_seed.items()]
        together[figure] = {
            "mean": mean(measured[figure] for measured in per_seed.values()),
            "to_base": mean(differences),
            "to_base_by_seed": differences,
        }
    return together


def _print_row(name: str, row: Mapping[str, Any]) -> None:
    cells = []
    for figure in FIGURES:
        by_seed = ", ".join(f"{value:+.3f}" for value in row[figure]["to_base_by_seed"])
        cells.append(f"{row[figure]['mean']:8.3f} ({by_seed})")
    print(f"{name:28}" + "  ".join(f"{cell:>28}" for cell in cells), flush=True)


def _arguments() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--steps", type=int, default=500, help="optimiser steps of every training")
    options.add_argument("--seeds", type=int, default=2, help="trainings of every variant")
    options.add_argument("--samples", type=int, default=256, help="pictures drawn with every model")
    options.add_argument("--fruits", type=int, default=120, help="fruits in the dataset, four views each")
    options.add_argument("--judge-epochs", type=int, default=JUDGE_EPOCHS)
    options.add_argument("--only", nargs="+", choices=list(VARIANTS), help="variants beside the base; all")
    options.add_argument("--work", type=Path, default=Path("runs/training_options"), help="folder for models")
    options.add_argument("--device", default="auto", help="auto, cpu, cuda")
    options.add_argument("--out", type=Path, default=RESULTS / "training_options.json")
    return options.parse_args()


def main() -> None:
    arguments = _arguments()
    dataset = fruit_dataset(arguments.work, num_fruits=arguments.fruits)
    judge = trained_judge(dataset, arguments.work, arguments.judge_epochs)
    training, test = Real.read(dataset, "train"), Real.read(dataset, "test")
    study = Study(arguments, dataset, judge, training, test, features(test.images))
    per_image, counts = per_image_agreement(judge, test.images, test.masks)
    result: dict[str, Any] = {
        "claim": CLAIM,
        "base": {**SMALL_MODEL, "steps": arguments.steps, "sampling": SAMPLING},
        "size": "32x32",
        "real_images": {"train": len(training.masks), "test": len(test.masks)},
        "drawn_images": arguments.samples,
        "judge": {
            "architecture": JUDGE,
            "epochs": arguments.judge_epochs,
            "agreement_on_real_test": pooled_agreement(counts),
            "agreement_per_image_on_real_test": float(np.nanmean(per_image)),
        },
        "kid": f"to the real test split, times 1000; features: {FEATURES}",
        "torch": torch.__version__,
        "machine": machine(),
        "variants": {},
    }
    print(f"{'mean (differences to base, seed by seed)':28}" + "  ".join(f"{figure:>28}" for figure in FIGURES))
    base: dict[int, dict[str, Any]] = {}
    for name in [BASE, *(name for name in arguments.only or VARIANTS if name != BASE)]:
        variant = VARIANTS[name]
        per_seed = {seed: study.measure(name, variant, seed) for seed in range(arguments.seeds)}
        base = base or per_seed
        changed = {"training": dict(variant.training), "sampling": dict(variant.sampling)}
        result["variants"][name] = {"changed": changed, **summary(per_seed, base)}
        _print_row(name, result["variants"][name])
        write_json(arguments.out, result)


if __name__ == "__main__":
    main()
