"""Cells of the study: one training of one architecture on one row, kept as one file."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from isdm.config import EvaluateConfig
from isdm.data.dataset import DatasetInfo, SegmentationDataset, Split, palette_image
from isdm.data.decoding import load_arrays
from isdm.data.image_files import MaskArray, write_png
from isdm.errors import DataError
from isdm.evaluation.objects import detect, objects_in
from isdm.evaluation.pasting import pasted_images
from isdm.evaluation.rows import Row, subset
from isdm.files import read_json, write_json
from isdm.hardware import select_device, select_dtype
from isdm.metrics.segmentation import Counts, count_pixels
from isdm.provenance import Stopwatch
from isdm.training.segmentation import LabelledImages, MixedImages, predict_masks, train_segmenter
from isdm.version import __version__

MOST_PREDICTED_PX = 50_000_000
"""Pixels of predictions that a cell keeps."""


@dataclass(frozen=True)
class StudyData:
    """Everything that cells read, decoded once."""

    info: DatasetInfo
    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages
    test_names: list[str]
    test_groups: list[str]
    synthetic: Mapping[str, LabelledImages]


@dataclass(frozen=True)
class Cell:
    """One training that the study asks for."""

    row: Row
    slug: str
    architecture: str
    repeat: int
    num_steps: int

    def path(self, study: Path) -> Path:
        """File that holds the cell's result once it is finished."""
        return study / "cells" / self.slug / f"{self.architecture}-{self.repeat}.json"

    def is_finished(self, study: Path) -> bool:
        """Whether the result is there; files appear whole or not at all."""
        return self.path(study).is_file()


def load_study_data(dataset: SegmentationDataset, synthetic: Mapping[str, SegmentationDataset]) -> StudyData:
    """Decode everything that cells read.

    Raises:
        DataError: a split is missing, or a synthetic set has images of another shape or type.
    """

    def load(source: SegmentationDataset, split: Split) -> LabelledImages:
        return LabelledImages(*load_arrays(source, source.require(split)))

    test = dataset.require("test")
    data = StudyData(
        dataset.info,
        load(dataset, "train"),
        load(dataset, "validation"),
        load(dataset, "test"),
        [pair.stem for pair in test],
        [pair.group for pair in test],
        {name: load(painted, "train") for name, painted in synthetic.items()},
    )
    for name, painted in data.synthetic.items():
        form, real_form = ((x.images.shape[1:], str(x.images.dtype)) for x in (painted, data.train))
        if form != real_form:
            raise DataError(
                f"{name!r} has images of shape {form[0]} and type {form[1]}, the real ones {real_form[0]} and "
                f"{real_form[1]}; sample on this dataset."
            )
    return data


def cell_seed(seed: int, repeat: int) -> int:
    """Seed of a repeat: the same for all rows and architectures, so that repeats are paired."""
    return seed * 10_007 + repeat


def training_images(data: StudyData, row: Row, seed: int, repeat: int) -> MixedImages:
    """The images that a row takes in a repeat: its subset of the real and of the synthetic ones."""
    chosen = subset(len(data.train), row.num_real_images, "real", seed, repeat)
    if row.further == "duplicated":
        again = np.resize(chosen, row.num_synthetic_images)
        return MixedImages(((data.train, chosen), (data.train, again)))
    if row.further == "pasted":
        made = pasted_images(data.train, chosen, row.num_synthetic_images, data.info, cell_seed(seed, repeat))
        return MixedImages(((data.train, chosen), (made, np.arange(len(made)))))
    if row.num_synthetic_images:
        source = data.synthetic[row.synthetic_set]
        added = subset(len(source), row.num_synthetic_images, "synthetic", seed, repeat)
        return MixedImages(((data.train, chosen), (source, added)))
    return MixedImages(((data.train, chosen),))


def run_cell(config: EvaluateConfig, cell: Cell, data: StudyData, study: Path, on_step: Callable[[], None]) -> None:
    """Train, choose the checkpoint on the validation images, read the test images once, keep the counts."""
    watch = Stopwatch()
    seed = cell_seed(config.seed, cell.repeat)
    training, pretraining = training_images(data, cell.row, config.seed, cell.repeat), None
    if cell.row.is_synthetic_first:
        training, pretraining = (MixedImages((part,)) for part in training.parts)
    trained = train_segmenter(
        config,
        cell.architecture,
        training,
        data.validation,
        data.info.num_classes,
        num_steps=cell.num_steps,
        num_validations=config.epochs,
        seed=seed,
        augment=cell.row.is_augmented,
        first_foreground=data.info.first_foreground,
        pretraining=pretraining,
        on_step=on_step,
    )
    dtype = select_dtype(config.precision, select_device(config.device))
    predicted = predict_masks(trained.network, data.test.images, dtype)
    counts = count_pixels(predicted, data.test.masks, data.info.num_classes, data.info.ignore_index)
    if cell.repeat == 0:
        _write_predictions(cell.path(study).with_suffix(".png"), predicted, data.info)
    write_json(
        cell.path(study),
        {
            "row": asdict(cell.row),
            "architecture": cell.architecture,
            "repeat": cell.repeat,
            "seed": seed,
            "num_steps": trained.num_steps,
            "train_seconds": round(watch.seconds, 2),
            "validation_iou": None if np.isnan(trained.validation_iou) else trained.validation_iou,
            "images": data.test_names,
            "groups": data.test_groups,
            "detections": asdict(detect(predicted, data.test.masks, objects_in(data.test.masks, data.info))),
            "counts": {name: counts[:, :, i].tolist() for i, name in enumerate(("tp", "fp", "fn"))},
            "isdm_version": __version__,
        },
    )


def read_cell(path: Path) -> tuple[dict[str, Any], Counts]:
    """Read a finished cell: its record and the counts (N, K, 3) of the test images.

    Raises:
        DataError: the file is damaged.
    """
    record = read_json(path)
    try:
        counts = np.stack([np.array(record["counts"][name], np.int64) for name in ("tp", "fp", "fn")], axis=2)
        facts = {name: record[name] for name in ("images", "groups", "num_steps", "train_seconds", "validation_iou")}
        if counts.shape[2:] != (3,) or not len(counts) == len(facts["images"]) == len(facts["groups"]):
            raise ValueError("as many counts as images and groups are needed")
    except (KeyError, TypeError, ValueError, OverflowError, IndexError) as error:
        raise DataError(f"{path} is no finished cell ({error}); remove it, and it is trained again.") from None
    return record, counts


def _write_predictions(path: Path, predicted: MaskArray, info: DatasetInfo) -> None:
    """Keep the first predictions below each other as one palette picture, for the report."""
    num_kept = max(1, MOST_PREDICTED_PX // predicted[0].size)
    write_png(path, palette_image(np.ascontiguousarray(np.concatenate(list(predicted[:num_kept]))), info))


def read_predictions(path: Path, data: StudyData) -> MaskArray:
    """The kept predictions of a cell: (N, H, W) class ids of the first N test images."""
    with Image.open(path) as picture:
        stacked = np.asarray(picture)
    height, width = data.test.masks.shape[1:]
    if stacked.shape[1] != width:  # an earlier version kept a few side by side
        return np.zeros((0, height, width), np.uint8)
    return stacked.reshape(-1, height, width)
