"""Small datasets to export, painted here and written by hand."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from isdm.config import ExportConfig, build
from isdm.data.dataset import DatasetInfo, SegmentationClass, SegmentationDataset
from isdm.data.exporting import export_dataset

IGNORED = 255
INFO = DatasetInfo(
    "parts",
    (
        SegmentationClass(0, "background", (0, 0, 0)),
        SegmentationClass(1, "scratch", (230, 159, 0)),
        SegmentationClass(2, "dent", (86, 180, 233)),
        SegmentationClass(3, "pore: fine", (0, 158, 115)),
    ),
)
SHORT = {"train": "train", "validation": "val", "test": "test"}


def blobs(seed: int, height: int = 21, width: int = 34, *, ignored: bool = True) -> np.ndarray:
    """A mask (H, W) of blobs of three classes with holes, lone pixels, corners that touch, and ignored pixels."""
    random = np.random.default_rng(seed)
    shape = max(height, 24), max(width, 40)
    mask = np.zeros(shape, np.uint8)
    for class_id in (1, 2, 3):
        blob = ndimage.gaussian_filter(random.random(shape), 1.2)
        mask[blob > np.quantile(blob, 0.8)] = class_id
    mask[2:9, 2:12] = 1
    mask[4:7, 4:6] = 0
    mask[5, 8:10] = 2
    mask[[10, 11, 12], [20, 21, 22]] = 3
    mask[random.random(shape) < 0.05] = 2
    if ignored:
        mask[random.random(shape) < 0.05] = IGNORED
        mask[15:20, 28:] = IGNORED
    return mask[:height, :width]


def picture(seed: int, height: int, width: int, info: DatasetInfo = INFO) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 2**info.bit_depth, (height, width, info.channels))
    return values.astype(info.image_dtype)


def write_dataset(
    folder: Path,
    splits: Mapping[str, Mapping[str, np.ndarray]],
    info: DatasetInfo = INFO,
    *,
    instances: Mapping[str, np.ndarray] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> SegmentationDataset:
    """Write masks by split and stem as a dataset, with noise as pictures.

    Args:
        folder: where to.
        splits: for each split the masks by their stems.
        info: the classes.
        instances: instance maps by stem.
        metadata: further metadata of every pair.
    """
    seed = 0
    for split, masks in splits.items():
        lines = []
        for stem, mask in masks.items():
            seed += 1
            line = {"image_file_name": f"images/{stem}.png", "mask_file_name": f"masks/{stem}.png"}
            values = picture(seed, *mask.shape, info)
            _save(folder / split / "images" / f"{stem}.png", values[:, :, 0] if info.channels == 1 else values)
            _save(folder / split / "masks" / f"{stem}.png", mask, [0, 0, 0, *(7 * i % 256 for i in range(765))])
            if instances is not None:
                line["instance_file_name"] = f"instances/{stem}.png"
                _save(folder / split / "instances" / f"{stem}.png", instances[stem].astype(np.uint16))
            lines.append(line | {"group": f"{split} {seed % 2}", "source": "real"} | dict(metadata or {}))
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / split / "metadata.jsonl").write_text(text, "utf-8")
    replace(info, split={"by": "group", **{split: len(masks) for split, masks in splits.items()}}).write(folder)
    return SegmentationDataset(folder)


def three_splits(**options: Any) -> dict[str, dict[str, np.ndarray]]:
    """Masks for seven pairs; the first name is in two splits, the last mask is all background."""
    return {
        "train": {"a": blobs(0, **options), "b.1": blobs(1, 30, 8, **options), "c d": blobs(2, 1, 40, **options)},
        "validation": {"a": blobs(3, **options), "é": blobs(4, 9, 9, **options)},
        "test": {"x": blobs(5, **options), "empty": np.zeros((5, 7), np.uint8)},
    }


def export(dataset: SegmentationDataset, layout: str) -> Path:
    """Export beside the dataset."""
    out = dataset.folder.parent / layout
    export_dataset(build(ExportConfig, {"dataset": dataset.folder, "layout": layout}), out)
    return out


def _save(path: Path, values: np.ndarray, palette: list[int] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    if palette is not None:
        image.putpalette(palette)
    image.save(path)
