"""Claim: generated masks are like real ones (AUC at most 0.7) and at least 90 % of them are new.

A classifier tells generated masks from real ones that they were not made of; a mask is new if its IoU with every
training mask stays below 0.9 under mirroring and shifts. Built-in fruit, and any imported dataset with held-out data.
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
from isdm.data.dataset import load_masks
from isdm.files import write_json
from isdm.synthesis.masks import TrainingMasks, mask_source
from isdm.synthesis.masks.measure import classifier_auc, mask_statistics
from isdm.synthesis.masks.novelty import NEW_BELOW, most_alike
from quality import fruit_dataset


def measured(dataset: SegmentationDataset, kind: str, count: int, seed: int) -> dict[str, Any]:
    pairs = dataset.require("train")
    held_out = [pair for split in ("validation", "test") for pair in dataset.pairs(split)]  # type: ignore[arg-type]
    masks, real = load_masks(dataset, pairs), load_masks(dataset, held_out)
    shown = real.any(axis=(1, 2))  # a generated mask always shows something
    real, groups = real[shown], [pair.group for pair, own in zip(held_out, shown, strict=True) if own]
    training = TrainingMasks(masks, None, [p.stem for p in pairs], [p.group for p in pairs], dataset.info)
    source = mask_source(SampleConfig(masks=kind, seed=seed), training, Path("unused"))  # type: ignore[arg-type]
    start = time.perf_counter()
    drawn = np.stack([source(index).mask for index in range(count)])
    seconds = time.perf_counter() - start
    drawn = drawn[drawn.any(axis=(1, 2))]
    found, expected = mask_statistics(drawn, dataset.info), mask_statistics(real, dataset.info)
    alike = [most_alike(mask, masks, dataset.info.first_foreground) for mask in drawn]
    names = ("area", "log_area", "objects", "log_mean_size", "row", "column", "spread")
    means = {
        f"{entry.name} {name}": [float(side[:, len(names) * k + place].mean()) for side in (expected, found)]
        for k, entry in enumerate(dataset.info.classes[1:])
        for place, name in enumerate(names)
    }
    return {
        "training_masks": len(masks),
        "held_out_masks_with_objects": len(real),
        "drawn": len(drawn),
        "auc": classifier_auc(expected, found, groups, seed),
        "share_new": float(np.mean(np.array(alike) < NEW_BELOW)),
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
            "90_percent_new": kinds["generated"]["share_new"] >= 0.9,
        }
        for name, kinds in found.items()
    }
    claim = "Masks made of training objects pass for held-out real ones, and are new."
    write_json(arguments.out, {"claim": claim, "met": claims, "datasets": found, "machine": machine()})
    for name, kinds in found.items():
        for kind, result in kinds.items():
            print(name, kind, {key: result[key] for key in ("auc", "share_new", "seconds_a_mask")})


if __name__ == "__main__":
    main()
