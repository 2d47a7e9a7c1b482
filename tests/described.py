"""A small dataset folder to describe, and counts of it that owe nothing to isdm."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from isdm.data.dataset import (
    DatasetInfo,
    SegmentationClass,
    SegmentationDataset,
    Split,
    pair_names,
    write_metadata,
    write_pair,
)

COLOURS = ((0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115))

Masks = Mapping[Split, Sequence[np.ndarray]]


def write_dataset(
    folder: Path,
    masks: Masks,
    names: Sequence[str],
    *,
    groups: Mapping[Split, Sequence[str]] | None = None,
    name: str = "tiles",
    stem: str = "p",
    channels: int = 3,
    bit_depth: int = 8,
    notes: Sequence[str] = (),
) -> SegmentationDataset:
    """Write masks (H, W), under noise, as a dataset; every pair is a group of its own unless groups are given."""
    classes = tuple(SegmentationClass(i, text, COLOURS[i % len(COLOURS)]) for i, text in enumerate(names))
    info = DatasetInfo(name, classes, channels, bit_depth, source={"layout": "folders", "notes": list(notes)})
    rng = np.random.default_rng(0)
    for split, of_split in masks.items():
        lines = []
        for index, mask in enumerate(of_split):
            files = pair_names(f"{stem}{index}-{split}", index, len(of_split))
            image = rng.integers(0, 2**bit_depth, (*mask.shape, channels), info.image_dtype)
            write_pair(folder / split, files, image, mask.astype(np.uint8), info)
            lines.append(files if groups is None else {**files, "group": groups[split][index]})
        write_metadata(folder / split, lines)
    info.write(folder)
    return SegmentationDataset(folder)


def object_areas(masks: Sequence[np.ndarray], class_id: int) -> list[int]:
    """Areas of a class's objects, found by walking from pixel to pixel (sides and corners)."""
    areas = []
    for mask in masks:
        left = {(int(y), int(x)) for y, x in np.argwhere(mask == class_id)}
        while left:
            area, edge = 0, [left.pop()]
            while edge:
                y, x = edge.pop()
                area += 1
                near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
                left -= near
                edge += near
            areas.append(area)
    return sorted(areas)


def pixels_of(masks: Sequence[np.ndarray], value: int) -> int:
    """Pixels with a value."""
    return sum(int(dict(zip(*np.unique(mask, return_counts=True), strict=True)).get(value, 0)) for mask in masks)
