"""The stage `evaluate`: grid of architectures, image counts and repeats on real test images."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from isdm import provenance
from isdm.config import EvaluateConfig
from isdm.data.dataset import SegmentationDataset, Split, load_arrays
from isdm.errors import DataError
from isdm.evaluation.cells import Cell, StudyData, read_cell, run_cell
from isdm.evaluation.gallery import class_pixels, write_gallery
from isdm.evaluation.rows import Row, make_rows, training_steps
from isdm.files import write_with, write_yaml
from isdm.metrics.segmentation import mean_image_iou, pooled_iou
from isdm.models.segmenters import build_segmenter
from isdm.progress import progress, say
from isdm.training.segmentation import LabelledImages
from isdm.version import __version__

MAY_CHANGE = frozenset({"architectures", "real_counts", "synthetic_counts", "arms", "repeats", "device"})
"""Options that a study may be given anew; finished cells that still belong to it are kept."""


def evaluate(
    config: EvaluateConfig,
    dataset: SegmentationDataset,
    synthetic: Mapping[str, SegmentationDataset],
    out: Path,
    name: str | None = None,
) -> Path:
    """Train all cells that are not finished and write `results.parquet`; returns its path.

    Args:
        config: the options.
        dataset: the real dataset with its three splits.
        synthetic: synthetic datasets by name.
        out: the study's folder.
        name: the study's title; the dataset's name unless given.

    Raises:
        DataError: a synthetic set saw other data than this dataset's training split, or has other classes.
        ConfigError: the grid asks for what is not there.
        WeightsUnavailableError: the encoder's weights can neither be found nor fetched.
    """
    if not dataset.info.has_background:
        say(f"The means leave out class 0, {dataset.info.classes[0].name!r}, as if it were a background.")
    for set_name, painted in synthetic.items():
        check_origin(set_name, painted, dataset)
    cells = plan_cells(config, dataset, synthetic)
    for architecture in config.architectures:
        build_segmenter(architecture, config.encoder, config.encoder_weights, dataset.info.num_classes)
    inputs = {split: dataset.fingerprint(split) for split in ("train", "validation", "test")}
    inputs |= {f"synthetic {name}": painted.fingerprint("train") for name, painted in synthetic.items()}
    provenance.begin(out, "evaluate", config.plain(), inputs, may_change=MAY_CHANGE)
    watch = provenance.Stopwatch()
    data = _load(dataset, synthetic)
    _write_study(out, name or dataset.info.name, config, dataset, data)
    missing = [cell for cell in cells if not cell.is_finished(out)]
    if missing:
        say(f"{len(missing)} of {len(cells)} cells to train; each is kept as soon as it is finished.")
        _run_cells(config, missing, cells, data, out)
    results = out / "results.parquet"
    table = results_table(out, cells, data.info.classes)
    write_with(results, table.write_parquet)
    names = {"": [pair.stem for pair in dataset.pairs("train")]}
    names |= {name: [pair.stem for pair in painted.pairs("train")] for name, painted in synthetic.items()}
    write_gallery(out, data, names, cells)
    provenance.finish(out, config.plain(), watch.seconds)
    return results


def check_origin(name: str, synthetic: SegmentationDataset, dataset: SegmentationDataset) -> None:
    """Refuse a synthetic set whose generator or masks saw anything but this dataset's training split."""
    source = synthetic.info.source
    if not source.get("synthetic"):
        raise DataError(f"{synthetic.folder} was not made by `isdm sample`; it cannot stand for synthetic pairs.")
    expected = dataset.fingerprint("train")
    seen = {
        "generator": source.get("model_trained_on", {}).get("fingerprint"),
        "masks": source.get("masks_from"),
    }
    for what, fingerprint in seen.items():
        if fingerprint != expected:
            raise DataError(
                f"The {what} of {name!r} ({synthetic.folder}) saw other images than the training split of "
                f"{dataset.folder}, perhaps its test images. Train and sample on this dataset."
            )
    for ancestor in _ancestors(source.get("model_trained_on", {})):
        if ancestor.get("fingerprint") != expected:
            other = ancestor.get("dataset", "another dataset")
            say(
                f"Warning: the generator of {name!r} began as a model of {other!r}; the study holds only if no test "
                f"image of {dataset.folder}, nor another of the same thing, was among its training images."
            )
    if [entry.name for entry in synthetic.info.classes] != [entry.name for entry in dataset.info.classes]:
        raise DataError(f"{synthetic.folder} and {dataset.folder} have different classes.")


def _ancestors(trained_on: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the models were trained on that this one's first weights came from, the nearest first."""
    found: list[Mapping[str, Any]] = []
    while trained_on := trained_on.get("initialised_from", {}):
        found.append(trained_on)
    return found


def plan_cells(
    config: EvaluateConfig, dataset: SegmentationDataset, synthetic: Mapping[str, SegmentationDataset]
) -> list[Cell]:
    """All cells of the study in the order of their training: repeat by repeat, so that early ones compare."""
    for split in ("train", "validation", "test"):
        dataset.require(split)
    sizes = {name: len(painted.require("train")) for name, painted in synthetic.items()}
    trained_on = {
        name: int(painted.info.source.get("model_trained_on", {}).get("num_images", 0))
        for name, painted in synthetic.items()
    }
    rows = make_rows(config, len(dataset.pairs("train")), sizes, trained_on)
    return cells_of(config, rows)


def cells_of(config: EvaluateConfig, rows: Sequence[Row]) -> list[Cell]:
    """The cells of given rows."""
    own = {"architectures", "real_counts", "synthetic_counts", "arms", "repeats", "device", "precision"}
    settings = {key: value for key, value in config.plain().items() if key not in own}
    cells = []
    for repeat in range(config.repeats):
        for row in rows:
            steps = training_steps(config, row, rows)
            slug = row.slug({**settings, "num_steps": steps})
            cells += [Cell(row, slug, architecture, repeat, steps) for architecture in config.architectures]
    return cells


def _load(dataset: SegmentationDataset, synthetic: Mapping[str, SegmentationDataset]) -> StudyData:
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


def _run_cells(
    config: EvaluateConfig, missing: Sequence[Cell], cells: Sequence[Cell], data: StudyData, out: Path
) -> None:
    total = sum(cell.num_steps for cell in cells)
    done = total - sum(cell.num_steps for cell in missing)
    with progress("Evaluating", total=total, done=done) as bar:
        for number, cell in enumerate(missing, start=len(cells) - len(missing) + 1):
            note = f"cell {number}/{len(cells)}: {cell.architecture}, {cell.slug.rsplit('_', 1)[0]}"
            run_cell(config, cell, data, out, lambda note=note: bar.advance(note=note))  # type: ignore[misc]


def _write_study(out: Path, name: str, config: EvaluateConfig, dataset: SegmentationDataset, data: StudyData) -> None:
    pixels = {"real": class_pixels(data.train.masks, data.info)}
    pixels |= {name: class_pixels(painted.masks, data.info) for name, painted in data.synthetic.items()}
    classes = [{**asdict(entry), "colour": list(entry.colour)} for entry in data.info.classes]
    write_yaml(
        out / "study.yaml",
        {
            "name": name,
            "classes": classes,
            "config": config.plain(),
            "num_train_images": len(data.train),
            "num_validation_images": len(data.validation),
            "num_test_images": len(data.test),
            "num_test_groups": len(set(data.test_groups)),
            "image_size": list(data.train.images.shape[1:3]),
            "class_pixels": pixels,
            "dataset": {"source": dataset.info.source, "split": dataset.info.split},
            "isdm_version": __version__,
        },
    )


def results_table(out: Path, cells: Sequence[Cell], classes: Sequence[Any]) -> pl.DataFrame:
    """One line a finished cell and class: counts pooled over the test images, and the IoU means."""
    lines = []
    for cell in cells:
        if not cell.is_finished(out):
            continue
        record, counts = read_cell(cell.path(out))
        pooled, per_image, total = pooled_iou(counts), mean_image_iou(counts), counts.sum(axis=0)
        for entry in classes:
            lines.append(
                {
                    "row": cell.slug,
                    "arm": cell.row.arm,
                    "synthetic_set": cell.row.synthetic_set,
                    "num_real_images": cell.row.num_real_images,
                    "num_synthetic_images": cell.row.num_synthetic_images,
                    "architecture": cell.architecture,
                    "repeat": cell.repeat,
                    "class_id": entry.id,
                    "class_name": entry.name,
                    **{name: int(total[entry.id, i]) for i, name in enumerate(("tp", "fp", "fn"))},
                    "iou": _defined(pooled[entry.id]),
                    "mean_image_iou": _defined(per_image[entry.id]),
                    "num_steps": int(record["num_steps"]),
                    "train_seconds": float(record["train_seconds"]),
                    "validation_iou": record["validation_iou"],
                }
            )
    schema = {"iou": pl.Float64, "mean_image_iou": pl.Float64, "validation_iou": pl.Float64}
    return pl.DataFrame(lines, schema_overrides=schema, infer_schema_length=None)


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
