"""Claim: an option of training that makes pictures agree better with their masks also makes better training data.

The dataset and settings of a finished run, such as the demo's or a fold's; a generator for each variant and seed, and
one study of segmenters that see its pictures alone. Agreement (`training_options.py`) is only a proxy for this. What
is finished is kept and goes on.
    isdm demo --out isdm-demo
    python benchmarks/options_downstream.py isdm-demo/run
    python benchmarks/options_downstream.py runs/tiles/fold-0 --variants published v-min-snr
"""

import argparse
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import polars as pl
import yaml

from harness import RESULTS, machine
from isdm import SegmentationDataset, evaluate, finetune, sample, train
from isdm.config import EvaluateConfig, FinetuneConfig, SampleConfig, TrainConfig, build, merged
from isdm.files import read_json, write_json

VARIANTS: dict[str, dict[str, Any]] = {
    "uniform": {"loss_weighting": "uniform"},
    "min-snr": {"loss_weighting": "min-snr"},
    "published": {"prediction": "eps", "loss_weighting": "uniform"},
    "v-min-snr": {"prediction": "v", "loss_weighting": "min-snr"},
}


def painted_by(
    run: Path, folder: Path, change: dict[str, Any], seed: int = 0, steps_ratio: float = 1.0
) -> SegmentationDataset:
    """The synthetic dataset of a generator with changed options, made in `folder` as the run makes its own.

    Training and fine-tuning take `steps_ratio` times as many steps as there.
    """
    settings = yaml.safe_load((run / "experiment.yaml").read_text())
    real, change = SegmentationDataset(run / "data"), change | {"seed": seed}

    def options(stage: str) -> dict[str, Any]:
        return merged(settings[stage], change, {"steps": round(settings[stage]["steps"] * steps_ratio)})

    train(build(TrainConfig, options("train"), where="the variant"), real, folder / "model")
    model = folder / "model"
    if settings.get("finetune") is not None:
        finetune(build(FinetuneConfig, options("finetune"), where="the variant"), model, real, folder / "tuned")
        model = folder / "tuned"
    sampling = build(SampleConfig, merged(settings["sample"], {"seed": seed}), where="the variant")
    sample(sampling, model, real, folder / "synthetic")
    return SegmentationDataset(folder / "synthetic")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("run", type=Path, help="folder of a finished run, such as that of the demo")
    options.add_argument("--variants", nargs="+", choices=VARIANTS, default=["uniform", "min-snr"])
    options.add_argument("--seeds", type=int, default=1, help="generators of every variant")
    options.add_argument("--repeats", type=int, default=3, help="trainings of every segmenter")
    options.add_argument("--work", type=Path, default=Path("runs/options_downstream"))
    options.add_argument("--out", type=Path, default=RESULTS / "options_downstream.json")
    arguments = options.parse_args()
    real = SegmentationDataset(arguments.run / "data")
    sets = {
        f"{variant}-{seed}": painted_by(arguments.run, arguments.work / f"{variant}-{seed}", VARIANTS[variant], seed)
        for seed in range(arguments.seeds)
        for variant in arguments.variants
    }
    settings = yaml.safe_load((arguments.run / "experiment.yaml").read_text())["evaluate"]
    grid: dict[str, Any] = {"real_counts": [0], "synthetic_counts": ["equal"], "repeats": arguments.repeats}
    grid |= {"baseline": None, "primary": None}
    grid["epochs"] = 2 * settings["epochs"]  # the largest mix has twice as many images: as many steps as there
    study = arguments.work / "study"
    config = build(EvaluateConfig, merged(settings, grid), where="the study")
    table = pl.read_parquet(evaluate(config, real, sets, study))
    cells = [read_json(path) for path in sorted((study / "cells").glob("*/*.json"))]
    result: dict[str, Any] = {
        "claim": "Which objective makes the better training data: segmenters that see synthetic pictures alone.",
        "cells": len(cells),
        "variants": _by_variant(table),
        "machine": machine(),
    }
    write_json(arguments.out, result)
    print(result["variants"])


def _by_variant(table: pl.DataFrame) -> dict[str, Any]:
    """Mean foreground IoU of every synthetic set and architecture over the repeats, with their spread."""
    found: dict[str, Any] = {}
    foreground = table.filter(pl.col("class_id") > 0)
    per_cell = foreground.group_by("synthetic_set", "architecture", "repeat").agg(pl.col("iou").mean())
    for (name, architecture), rows in per_cell.group_by("synthetic_set", "architecture", maintain_order=True):
        values = sorted(rows["iou"].to_list())
        spread = stdev(values) if len(values) > 1 else None
        found.setdefault(str(name), {})[str(architecture)] = {
            "mean_iou": mean(values),
            "spread": spread,
            "values": values,
        }
    return found


if __name__ == "__main__":
    main()
