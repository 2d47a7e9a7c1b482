"""Claim: a generator that was trained to copy is called a copier, and real pictures that it never saw are not.

A small network learns 20 pictures for very many steps. The audit's test judges what it paints, and half of the
held-out pictures against the other half. What is finished is kept and goes on.
    python benchmarks/copier.py
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import RESULTS, machine
from isdm import SegmentationDataset, sample, train
from isdm.config import DataConfig, SampleConfig, TrainConfig, build, with_preset
from isdm.data.builtin import write_fruit_source
from isdm.data.decoding import load_arrays
from isdm.data.importing import import_dataset
from isdm.files import write_json
from isdm.metrics.copying import copy_test, nearest_two, nearest_two_pixels, ratios, verdict
from isdm.models.features import load_extractor

GENERATOR: dict[str, Any] = {
    "preset": "tiny",
    "unet": {"base_channels": 32, "norm_groups": 8, "channel_multipliers": [1, 2, 2], "spade_channels": 32},
    "batch_size": 10,
    "learning_rate": 2e-3,
    "learning_rate_decay": "cosine",
    "warmup_steps": 20,
    "max_gradient_norm": 1.0,
    "ema_decay": 0.99,
    "flip": False,
    "drop_rate": 0.0,
    "precision": "float32",
}
SIGNIFICANCE = 0.01


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--steps", type=int, nargs="+", default=[600, 2000])
    options.add_argument("--work", type=Path, default=Path("runs/copier"))
    options.add_argument("--out", type=Path, default=RESULTS / "copier.json")
    arguments = options.parse_args()
    if not (arguments.work / "data").exists():
        write_fruit_source(arguments.work / "source", num_fruits=40, num_views=1, size_px=32, seed=0)
        values = {"source": arguments.work / "source", "group_by": r"(fruit\d+)", "test": 0, "validation": 20}
        import_dataset(build(DataConfig, values), arguments.work / "data")
    real = SegmentationDataset(arguments.work / "data")
    known, unseen = (load_arrays(real, real.pairs(split))[0] for split in ("train", "validation"))  # type: ignore[arg-type]
    found = {"held-out real pictures": judged(known, unseen[:10], unseen[10:])}
    for steps in arguments.steps:
        model = arguments.work / f"model-{steps}"
        train(build(TrainConfig, with_preset({**GENERATOR, "steps": steps})), real, model)
        values = {"num_samples": 40, "sampler": "dpmsolver++-sde", "steps": 15, "guidance": 1.0}
        painted = sample(build(SampleConfig, values), model, real, arguments.work / f"painted-{steps}")
        found[f"{steps} steps"] = judged(known, load_arrays(painted, painted.pairs("train"))[0], unseen, painted)
    claim = "Who copies is called a copier, and new real pictures are not."
    write_json(arguments.out, {"claim": claim, "training_images": len(known), "found": found, "machine": machine()})
    print({name: result["verdict"] for name, result in found.items()})


def judged(
    known: np.ndarray, pictures: np.ndarray, unseen: np.ndarray, painted: SegmentationDataset | None = None
) -> dict[str, Any]:
    """What the audit's tests say of pictures; every real picture is a group of its own."""
    extractor = load_extractor("efficientnet-lite0", torch.device("cpu"))
    groups = [str(k) for k in range(len(known))]
    own = [f"own {k}" for k in range(len(pictures))]
    if painted is not None:
        own = [pair.group for pair in painted.pairs("train")]
    others = [f"other {k}" for k in range(len(unseen))]
    measured = {
        "pixels": [nearest_two_pixels(x, known, groups) for x in (pictures, unseen)],
        "features": [nearest_two(extractor.compute(x), extractor.compute(known), groups) for x in (pictures, unseen)],
    }
    tests = {
        name: copy_test(ratios(near), own, ratios(held_out), others, permutations=2000, seed=0)
        for name, (near, held_out) in measured.items()
    }
    return {"verdict": verdict(tests, SIGNIFICANCE), **{name: asdict(test) for name, test in tests.items()}}


if __name__ == "__main__":
    main()
