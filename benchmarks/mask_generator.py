"""Claim: generated masks are like real ones (AUC at most 0.7) and at least 90 % of them are new.

A classifier tells generated masks from real ones that they were not made of (and, as a control, training masks from
them). A mask with objects is new if its IoU with every training mask stays below 0.9 under mirroring and shifts.
Built-in fruit, and any imported dataset with held-out data.
    python benchmarks/mask_generator.py --dataset tiles=runs/tiles/data
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from harness import RESULTS, machine
from isdm import SegmentationDataset
from isdm.config import SampleConfig
from isdm.data.decoding import load_masks
from isdm.files import write_json
from isdm.synthesis.masks import TrainingMasks, mask_source
from isdm.synthesis.masks.measure import Floats, classifier_auc, mask_statistics
from isdm.synthesis.masks.novelty import NEW_BELOW, most_alike
from quality import fruit_dataset


def auc_of(real: Floats, drawn: Floats, groups: list[str]) -> float:
    """Mean over five ways of cutting the folds."""
    return float(np.mean([classifier_auc(real, drawn, groups, seed) for seed in range(5)]))


def measured(dataset: SegmentationDataset, kind: str, count: int, seed: int) -> dict[str, Any]:
    pairs = dataset.require("train")
    held_out = [pair for split in ("validation", "test") for pair in dataset.pairs(split)]  # type: ignore[arg-type]
    masks, real = load_masks(dataset, pairs), load_masks(dataset, held_out)
    groups = [pair.group for pair in held_out]
    training = TrainingMasks(masks, None, [p.stem for p in pairs], [p.group for p in pairs], dataset.info)
    source = mask_source(SampleConfig(masks=kind, seed=seed), training, Path("unused"))  # type: ignore[arg-type]
    start = time.perf_counter()
    drawn = np.stack([source(index).mask for index in range(count)])
    seconds = time.perf_counter() - start
    found, expected = mask_statistics(drawn, dataset.info), mask_statistics(real, dataset.info)
    alike = [most_alike(mask, masks, dataset.info.first_foreground) for mask in drawn if mask.any()]
    names = ("area", "log_area", "objects", "log_mean_size", "row", "column", "spread")
    means = {
        f"{entry.name} {name}": [float(side[:, len(names) * k + place].mean()) for side in (expected, found)]
        for k, entry in enumerate(dataset.info.classes[1:])
        for place, name in enumerate(names)
    }
    return {
        "training_masks": len(masks),
        "held_out_masks": len(real),
        "drawn": len(drawn),
        "share_empty_real_and_drawn": [float((~side.any(axis=(1, 2))).mean()) for side in (real, drawn)],
        "auc": auc_of(expected, found, groups),
        "auc_of_training_masks": auc_of(expected, mask_statistics(masks, dataset.info), groups),
        "share_new_of_those_with_objects": float(np.mean(np.array(alike) < NEW_BELOW)),
        "seconds_a_mask": seconds / count,
        "means_real_and_drawn": means,
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--dataset", action="append", default=[], help="NAME=FOLDER of an imported dataset")
    options.add_argument("--count", type=int, default=500)
    options.add_argument("--work", type=Path, default=Path("runs/mask_generator"))
    options.add_argument("--out", type=Path, default=RESULTS / "mask_generator.json")
    arguments = options.parse_args()
    datasets = {"fruit": fruit_dataset(arguments.work, size_px=64)}
    datasets |= {
        name: SegmentationDataset(path) for name, path in (entry.split("=", 1) for entry in arguments.dataset)
    }
    found = {
        name: {kind: measured(dataset, kind, arguments.count, seed=0) for kind in ("augmented", "generated")}
        for name, dataset in datasets.items()
    }
    claims = {
        name: {
            "auc_at_most_0.7": kinds["generated"]["auc"] <= 0.7,
            "90_percent_new": kinds["generated"]["share_new_of_those_with_objects"] >= 0.9,
        }
        for name, kinds in found.items()
    }
    claim = "Masks made of training objects pass for held-out real ones, and are new."
    write_json(arguments.out, {"claim": claim, "met": claims, "datasets": found, "machine": machine()})
    for name, kinds in found.items():
        for kind, result in kinds.items():
            print(
                name,
                kind,
                {
                    key: result[key]
                    for key in (
                        "auc",
                        "auc_of_training_masks",
                        "share_new_of_those_with_objects",
                        "share_empty_real_and_drawn",
                    )
                },
            )


if __name__ == "__main__":
    main()
