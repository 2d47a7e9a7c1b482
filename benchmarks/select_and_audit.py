"""Claim: selecting and auditing 1,000 pairs of 64x64 takes less than 3 minutes on two cores, all training included.

The pairs are stand-ins (real pictures, noised): what they show does not change the work. The default options, without
pretrained weights.
    python benchmarks/select_and_audit.py
"""

import argparse
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness import RESULTS, machine
from isdm import SegmentationDataset, audit, select
from isdm.config import AuditConfig, SelectConfig, build
from isdm.data.dataset import write_metadata, write_pair
from isdm.files import write_json
from quality import fruit_dataset

NUM_PAIRS = 1000
AT_MOST_SECONDS = 180.0
JUDGE: dict[str, Any] = {"encoder": "resnet18", "encoder_weights": "none", "loss": "dice+crossentropy"}
READING = {"architecture": "unet", "learning_rate": 1e-3, "batch_size": 8, "epochs": 5}


def stand_ins(real: SegmentationDataset, folder: Path) -> SegmentationDataset:
    rng = np.random.default_rng(0)
    pairs = real.pairs("train")
    lines = []
    for index in range(NUM_PAIRS):
        pair = pairs[index % len(pairs)]
        image, mask = real.load(pair)
        noisy = (image + rng.normal(0, 25, image.shape)).clip(0, 255).astype(np.uint8)
        names = {"image_file_name": f"images/{index}.png", "mask_file_name": f"masks/{index}.png"}
        write_pair(folder / "train", names, noisy, mask, real.info)
        lines.append(names | {"group": pair.group, "source_mask": pair.stem, "mask_index": index})
    write_metadata(folder / "train", lines)
    replace(real.info, source={"synthetic": True}).write(folder)
    return SegmentationDataset(folder)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--work", type=Path, default=Path("runs/select_and_audit"))
    options.add_argument("--out", type=Path, default=RESULTS / "select_and_audit.json")
    arguments = options.parse_args()
    real = fruit_dataset(arguments.work, size_px=64, num_fruits=80)
    for name in ("pairs", "selected", "audit"):
        shutil.rmtree(arguments.work / name, ignore_errors=True)
    painted = stand_ins(real, arguments.work / "pairs")
    seconds = {}
    start = time.perf_counter()
    select(build(SelectConfig, JUDGE), painted, real, arguments.work / "selected")
    seconds["select"] = time.perf_counter() - start
    start = time.perf_counter()
    audit(build(AuditConfig, JUDGE | READING), painted, real, arguments.work / "audit")
    seconds["audit"] = time.perf_counter() - start
    total = sum(seconds.values())
    result = {
        "claim": "Selection and audit of 1,000 pairs of 64x64 take at most 3 minutes.",
        "pairs": NUM_PAIRS,
        "real_training_images": len(real.pairs("train")),
        "seconds": seconds | {"together": total},
        "met": total <= AT_MOST_SECONDS,
        "machine": machine(),
    }
    write_json(arguments.out, result)
    print(seconds, total)


if __name__ == "__main__":
    main()
