"""The stage `evaluate`: grid of architectures, image counts and repeats on real test images."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl

from isdm import provenance
from isdm.config import EvaluateConfig
from isdm.data.dataset import DatasetInfo, SegmentationDataset
from isdm.data.judgements import DROPPED, KEPT
from isdm.evaluation.cells import Cell, StudyData, load_study_data, read_cell
from isdm.evaluation.counts import FILE_NAME as COUNTS
from isdm.evaluation.counts import counts_table
from isdm.evaluation.executors import Execution, Work, run_cells
from isdm.evaluation.gallery import class_pixels, write_gallery
from isdm.evaluation.leaks import (
    check_origin,
    check_set_names,
    find_leaks,
    refuse_or_warn,
    warn_of_empty_splits,
)
from isdm.evaluation.reuse import check_reusable, fingerprints, take_over, was_named_late, was_read_before
from isdm.evaluation.rows import Row, make_rows, primary_row, training_steps
from isdm.files import write_with, write_yaml
from isdm.locking import one_at_a_time
from isdm.metrics.segmentation import intersection_over_union, mean_image_iou, pooled_iou
from isdm.models.segmenters import build_segmenter
from isdm.progress import say
from isdm.training.trackers import Trackers, check_trackers
from isdm.version import __version__

MAY_CHANGE = frozenset(
    {
        "architectures",
        "real_counts",
        "learning_curve",
        "synthetic_counts",
        "arms",
        "repeats",
        "device",
        "allow_leaks",
        "trackers",
    }
)
"""Options that a study may be given anew; finished cells that still belong to it are kept."""

_BEFORE_IT_WAS = {"batch_norm": "running"}
"""Options that earlier versions had not, as these acted: cells that they have trained keep their names."""


@one_at_a_time
def evaluate(
    config: EvaluateConfig,
    dataset: SegmentationDataset,
    synthetic: Mapping[str, SegmentationDataset],
    out: Path,
    name: str | None = None,
    execution: Execution | None = None,
    reuse: Path | None = None,
    is_late: bool = False,
) -> Path:
    """Train all cells that are not finished; write `results.parquet`, `counts.parquet`; returns the first's path.

    Args:
        config: the options.
        dataset: the real dataset with its three splits.
        synthetic: synthetic datasets by name.
        out: the study's folder.
        name: the study's title; the dataset's name unless given.
        execution: who trains the cells; this process unless given.
        reuse: folder of another study of the same real images; cells that would come out the same are taken from it.
        is_late: whether the comparison is named after another study has read the test images, which the study says.

    Raises:
        DataError: a synthetic set saw other data than this dataset's training split, or has other classes; training
            and test images show the same thing (unless `allow_leaks`); `reuse` is no such study.
        ConfigError: the grid asks for what is not there.
        UsageError: a synthetic set is called as a split is.
        WeightsUnavailableError: the encoder's weights can neither be found nor fetched.
        OutputError: `out` holds something else, or a study with another comparison named beforehand.
    """
    execution = execution or Execution()
    execution.check()
    check_trackers(config.trackers)
    check_set_names(synthetic)
    leaks = [leak for name_, painted in synthetic.items() for leak in check_origin(name_, painted, dataset)]
    may_leak = config.allow_leaks or dataset.info.split.get("by") == "image"
    refuse_or_warn(leaks, may_leak)
    rows = plan_rows(config, dataset, synthetic)
    cells = cells_of(config, rows)
    for architecture in config.architectures:
        build_segmenter(architecture, config.encoder, config.encoder_weights, dataset.info.num_classes)
    inputs = fingerprints(dataset)
    inputs |= {f"synthetic {name}": painted.judged_fingerprint("train") for name, painted in synthetic.items()}
    provenance.check(out, "evaluate", config, inputs, may_change=MAY_CHANGE)
    read_by_other = None if reuse is None else check_reusable(reuse, config, inputs)
    for set_name, painted in synthetic.items():
        _say_judgements(set_name, painted)
    watch = provenance.Stopwatch()
    data = load_study_data(dataset, synthetic)
    warn_of_empty_splits(data)
    stems, groups = _names_and_groups(dataset, synthetic)
    found = find_leaks(data, groups, stems)
    refuse_or_warn(found, may_leak)
    provenance.begin(out, "evaluate", config, inputs, may_change=MAY_CHANGE)
    named = primary_row(config, rows, len(data.train))
    is_begun = (out / "study.yaml").is_file()
    is_late = was_named_late(out) if is_begun else is_late
    is_late = is_late or (reuse is not None and was_read_before(reuse, config, named, cells, inputs))
    _write_study(out, name or dataset.info.name, config, dataset, data, rows, cells, leaks + found, is_late)
    if reuse is not None and read_by_other is not None:
        take_over(reuse, read_by_other, cells, inputs, out)
    missing = [cell for cell in cells if not cell.is_finished(out)]
    if missing:
        say(f"{len(missing)} of {len(cells)} cells to train; each is kept as soon as it is finished.")
        folders = {name: painted.folder.resolve() for name, painted in synthetic.items()}
        run_cells(execution, Work(config, dataset.folder.resolve(), folders, out.resolve()), data, missing, cells)
    results = out / "results.parquet"
    table = results_table(out, cells, data.info)
    counts = counts_table(out, cells, data)
    write_with(out / COUNTS, counts.write_parquet)
    write_with(results, table.write_parquet)
    _show(config, out, missing, table)
    write_gallery(out, data, {"": stems["train"], **{name: stems[name] for name in synthetic}}, cells)
    provenance.finish(out, config, watch.seconds)
    return results


def _say_judgements(name: str, painted: SegmentationDataset) -> None:
    """Say how many pairs of a synthetic set people have decided on."""
    verdicts = painted.judgements("train").values()
    if verdicts:
        dropped = sum(not kept for kept in verdicts)
        say(f"{name!r}: {dropped} pair(s) {DROPPED} and left out, {len(verdicts) - dropped} {KEPT}.")


def _show(config: EvaluateConfig, out: Path, new: Sequence[Cell], table: pl.DataFrame) -> None:
    """Give the trackers the mean foreground IoU of the cells that this call has trained, by repeat."""
    if not new or not config.trackers:
        return
    trackers = Trackers(config.trackers, out.name, out)
    for cell in new:
        lines = table.filter(row=cell.slug, architecture=cell.architecture, repeat=cell.repeat)
        value = lines.filter(pl.col("is_foreground"))["iou"].mean()
        trackers.log({f"{cell.architecture}/{cell.row.key}": value}, cell.repeat)
    trackers.close()


def _names_and_groups(
    dataset: SegmentationDataset, synthetic: Mapping[str, SegmentationDataset]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Names of the pairs of each split and synthetic set, and groups of those of each split."""
    pairs = {split: dataset.pairs(split) for split in ("train", "validation", "test")}
    names = {split: [pair.stem for pair in found] for split, found in pairs.items()}
    names |= {name: [pair.stem for pair in painted.pairs("train")] for name, painted in synthetic.items()}
    return names, {split: [pair.group for pair in found] for split, found in pairs.items()}


def plan_rows(
    config: EvaluateConfig, dataset: SegmentationDataset, synthetic: Mapping[str, SegmentationDataset]
) -> list[Row]:
    """All rows of the study.

    Raises:
        ConfigError: see `make_rows` and `primary_row`.
    """
    for split in ("train", "validation", "test"):
        dataset.require(split)
    sizes = {name: len(painted.require("train")) for name, painted in synthetic.items()}
    num_real = len(dataset.pairs("train"))
    rows = make_rows(config, num_real, sizes)
    primary_row(config, rows, num_real)
    return rows


def cells_of(config: EvaluateConfig, rows: Sequence[Row]) -> list[Cell]:
    """The cells of given rows in the order of their training: repeat by repeat, so that early ones compare."""
    own = {"architectures", "real_counts", "synthetic_counts", "arms", "repeats", "device", "precision"}
    own |= {"baseline", "primary", "learning_curve", "allow_leaks", "trackers"}
    settings = {
        key: value for key, value in config.plain().items() if key not in own and value != _BEFORE_IT_WAS.get(key)
    }
    cells = []
    for repeat in range(config.repeats):
        for row in rows:
            steps = training_steps(config, row, rows)
            slug = row.slug({**settings, "num_steps": steps})
            cells += [Cell(row, slug, architecture, repeat, steps) for architecture in config.architectures]
    return cells


def _write_study(
    out: Path,
    name: str,
    config: EvaluateConfig,
    dataset: SegmentationDataset,
    data: StudyData,
    rows: Sequence[Row],
    cells: Sequence[Cell],
    leaks: Sequence[str],
    is_late: bool,
) -> None:
    primary = primary_row(config, rows, len(data.train))
    slugs = {cell.row: cell.slug for cell in cells}
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
            "primary_row": None if primary is None else slugs[primary],
            "named_late": is_late,
            "leaks": list(leaks),
            "isdm_version": __version__,
            "format_version": provenance.FORMAT_VERSION,
        },
    )


def results_table(out: Path, cells: Sequence[Cell], info: DatasetInfo) -> pl.DataFrame:
    """One line a finished cell and class: counts pooled over the test images, and the IoU means.

    A class that no test image shows has no IoU, in no row: a single false pixel would make it 0 in one and leave it
    out of the mean of another.
    """
    lines = []
    for cell in cells:
        if not cell.is_finished(out):
            continue
        record, counts = read_cell(cell.path(out))
        pooled, per_image, total = pooled_iou(counts), mean_image_iou(counts), counts.sum(axis=0)
        per_image_of = (~np.isnan(intersection_over_union(counts))).sum(axis=0)
        for entry in info.classes:
            is_shown = bool(total[entry.id, [0, 2]].sum())
            lines.append(
                {
                    "row": cell.slug,
                    "key": cell.row.key,
                    "arm": cell.row.arm,
                    "synthetic_set": cell.row.synthetic_set,
                    "num_real_images": cell.row.num_real_images,
                    "num_synthetic_images": cell.row.num_synthetic_images,
                    "architecture": cell.architecture,
                    "repeat": cell.repeat,
                    "class_id": entry.id,
                    "class_name": entry.name,
                    "is_foreground": entry.id >= info.first_foreground,
                    **{name: int(total[entry.id, i]) for i, name in enumerate(("tp", "fp", "fn"))},
                    "iou": _defined(pooled[entry.id]) if is_shown else None,
                    "mean_image_iou": _defined(per_image[entry.id]) if is_shown else None,
                    "num_defined_images": int(per_image_of[entry.id]),
                    "num_steps": int(record["num_steps"]),
                    "train_seconds": float(record["train_seconds"]),
                    "validation_iou": record["validation_iou"],
                }
            )
    schema = {"iou": pl.Float64, "mean_image_iou": pl.Float64, "validation_iou": pl.Float64}
    return pl.DataFrame(lines, schema_overrides=schema, infer_schema_length=None)


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
