"""Cells of another study that would come out the same here: they are taken over instead of trained again."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from isdm import provenance
from isdm.config import EvaluateConfig, read_yaml
from isdm.data.dataset import SPLITS, SegmentationDataset
from isdm.errors import DataError
from isdm.evaluation.cells import Cell, read_cell
from isdm.evaluation.rows import Row
from isdm.files import copy_file
from isdm.progress import say


def fingerprints(dataset: SegmentationDataset) -> dict[str, str]:
    """What a study reads of its real images, by split."""
    return {split: dataset.fingerprint(split) for split in SPLITS}


def check_reusable(other: Path, config: EvaluateConfig, inputs: Mapping[str, str]) -> Mapping[str, str]:
    """Whether a study's cells can serve this one at all; gives the fingerprints of what it read.

    Args:
        other: the other study's folder; it may be unfinished.
        config: this study's options.
        inputs: `fingerprints` of this study's real images.

    Raises:
        DataError: `other` is no study, or one of other real images or of another precision.
    """
    record = provenance.read(other)
    if record is None or record.stage != "evaluate":
        raise DataError(f"--reuse {other} is no folder of a study; give one that isdm evaluate or isdm run made.")
    differing = [split for split in SPLITS if record.inputs.get(split) != inputs[split]]
    if differing:
        raise DataError(
            f"--reuse {other} is a study of other real images ({', '.join(differing)}); its cells say nothing here: "
            f"leave the option out."
        )
    precision = config.completed(record.config).get("precision")
    if precision != config.plain()["precision"]:
        raise DataError(
            f"--reuse {other} has cells of precision {precision}, this study {config.precision}; use the same."
        )
    return record.inputs


def was_named_late(study: Path) -> bool:
    """Whether a study, begun before, took cells that had been read when its comparison was named."""
    path = study / "study.yaml"
    return path.is_file() and bool(read_yaml(path).get("named_late"))


def was_read_before(
    other: Path, config: EvaluateConfig, primary: Row | None, cells: Sequence[Cell], inputs: Mapping[str, str]
) -> bool:
    """Whether another study has read the test scores of the row that this one names, before it was named.

    So it has if it was made for another comparison, or for this one and had it from such a study itself.

    Args:
        other: the other study's folder.
        config: this study's options.
        primary: the row that it names.
        cells: its cells.
        inputs: fingerprints of what it reads.
    """
    record = provenance.read(other)
    if primary is None or record is None:
        return False
    is_named_there = config.completed(record.config).get("primary") == config.plain()["primary"]
    is_named_there = is_named_there and not was_named_late(other)
    named = [cell for cell in cells if cell.row == primary and _reads_the_same(cell, record.inputs, inputs)]
    return not is_named_there and any(cell.path(other).is_file() for cell in named)


def _reads_the_same(cell: Cell, theirs: Mapping[str, str], ours: Mapping[str, str]) -> bool:
    source = f"synthetic {cell.row.synthetic_set}"
    return not cell.row.synthetic_set or theirs.get(source) == ours[source]


def take_over(
    other: Path, read_by_other: Mapping[str, str], cells: Sequence[Cell], inputs: Mapping[str, str], out: Path
) -> None:
    """Copy the cells that `out` lacks and the study `other` has, of the same images, settings and seeds.

    A cell's name stands for its row and all settings (`Row.slug`); what it was trained on is compared by fingerprint.

    Args:
        other: the other study's folder.
        read_by_other: see `check_reusable`.
        cells: the cells of this study.
        inputs: fingerprints of what this study reads.
        out: this study's folder.

    Raises:
        DataError: a cell of the other study is damaged.
    """
    lacking = [cell for cell in cells if not cell.is_finished(out)]
    taken = 0
    for cell in lacking:
        if not _reads_the_same(cell, read_by_other, inputs):
            continue
        theirs, ours = cell.path(other), cell.path(out)
        if not theirs.is_file():
            continue
        read_cell(theirs)
        pictures = theirs.with_suffix(".png")
        if pictures.is_file():
            copy_file(pictures, ours.with_suffix(".png"))
        copy_file(theirs, ours)  # the last: a cell is finished when this file is there
        taken += 1
    if lacking:
        say(f"{taken} of {len(lacking)} cells to train are those of {other}, and are taken from there.")
