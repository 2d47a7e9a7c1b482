"""Importing small sources, for the tests of `data import`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from isdm.config import DataConfig, build
from isdm.data.dataset import SPLITS, SegmentationDataset
from isdm.data.importing import import_dataset

Put = Callable[..., Path]
Noise = Callable[..., np.ndarray]
Hashes = Callable[[Path], dict[str, str]]
NO_SPLIT = {"test": 0, "validation": 0}


def imported(source: Path, **options: Any) -> SegmentationDataset:
    """Import into `out` beside the source."""
    return import_dataset(build(DataConfig, {"source": source} | options), source.parent / "out")


def names(dataset: SegmentationDataset) -> list[str]:
    return [entry.name for entry in dataset.info.classes]


def loaded(dataset: SegmentationDataset) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Every pair by its stem."""
    return {pair.stem: dataset.load(pair) for split in SPLITS for pair in dataset.pairs(split)}


def groups_by_split(dataset: SegmentationDataset) -> dict[str, set[str]]:
    return {split: {pair.group for pair in dataset.pairs(split)} for split in dataset.splits}
