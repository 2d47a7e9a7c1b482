"""The stage `data export`: a dataset in the form that other tools read. One module a format.

A format's module has `write(export, folder)`, which writes into an empty folder and gives one sentence for each
thing that the format cannot say, and `ABOUT`, what the folder's README.txt explains.
"""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from isdm import provenance
from isdm.config import ExportConfig
from isdm.data.dataset import SegmentationDataset, Split
from isdm.data.exporting import coco, isdm, mmseg, ultralytics, voc
from isdm.data.exporting.pairs import Export, Item, named_pairs
from isdm.errors import DataError, OutputError
from isdm.files import remove_abandoned, sha256_of_json, write_text, written_aside
from isdm.locking import beside, locked
from isdm.progress import say
from isdm.text import spreadsheet_cell

_COMPANIONS = """\
Beside the format's own files, groups.csv names the group of each picture (what a split must not part; `isdm data
import --groups` reads it) and pairs.jsonl holds all that the dataset knew of it.
"""


class _Format(NamedTuple):
    write: Callable[[Export, Path], list[str]]
    about: str | None = None
    """None for isdm's own, whose folder needs no explanation and has a place for all that is known."""


_FORMATS = {
    "isdm": _Format(isdm.write),
    "coco": _Format(coco.write, coco.ABOUT),
    "voc": _Format(voc.write, voc.ABOUT),
    "ultralytics": _Format(ultralytics.write, ultralytics.ABOUT),
    "mmseg": _Format(mmseg.write, mmseg.ABOUT),
}


def export_dataset(config: ExportConfig, out: Path) -> None:
    """Write the kept pairs of `config.dataset` into the folder `out` in the form that `config.layout` names.

    Every pair is opened and checked; `out` appears whole or not at all, and the dataset is never changed. What the
    format cannot say is told aloud and in the folder's README.txt.

    Args:
        config: the dataset, real or synthetic, and the form.
        out: the folder to make.

    Raises:
        DataError: the dataset has no kept pair, or one that is broken, or a class name that the format cannot hold.
        OutputError: when `out` holds something else, or lies in the dataset.
    """
    watch = provenance.Stopwatch()
    dataset = SegmentationDataset(config.dataset)
    if not out.name:
        raise OutputError(f"{out} has no name of its own; give a new folder, such as {out / 'export'}.")
    if out.resolve().is_relative_to(dataset.folder.resolve()):
        raise OutputError(
            f"{out} lies in the dataset {dataset.folder}, which stays as it is; give a folder elsewhere."
        )
    chosen = _FORMATS[config.layout]
    items = named_pairs(dataset, foreign=chosen.about is not None)
    if not items:
        raise DataError(f"{dataset.folder} has no kept pairs; there is nothing to export.")
    inputs = {f"{split} split": _fingerprint(dataset, split, items[split]) for split in items}
    provenance.check(out, "data export", config, inputs, may_change={"dataset"})
    record = provenance.read(out)
    if record is not None and record.finished:
        say(f"{out} is already exported.")
        return
    if chosen.about is not None:
        _check_class_names(dataset)
    counts = {split: len(of_split) for split, of_split in items.items()}
    info = replace(dataset.info, name=out.resolve().name, split=_own_split(dataset) | counts)
    remove_abandoned(out)
    with locked(beside(out)), written_aside(out) as aside:
        provenance.begin(aside, "data export", config, inputs)
        notes = chosen.write(Export(dataset, info, items), aside)
        renamed = sum(item.name != item.pair.stem for of_split in items.values() for item in of_split)
        if renamed:
            notes.append(f"{renamed} pictures have other names than in the dataset, to be unique in the export")
        if chosen.about is not None:
            _write_companions(aside, chosen.about, notes, items)
        provenance.finish(aside, config, watch.seconds)
        if out.is_dir():
            out.rmdir()  # `check` let only an empty folder pass
    for note in notes:
        say(f"Export: {note}.")
    say(f"{sum(counts.values())} pairs were exported to {out}.")


def _fingerprint(dataset: SegmentationDataset, split: Split, items: list[Item]) -> str:
    """Over the files and over all that is known of each pair, as that is exported too."""
    return sha256_of_json([dataset.fingerprint(split), [dict(item.pair.metadata) for item in items]])


def _check_class_names(dataset: SegmentationDataset) -> None:
    """Other formats write one name a line, or tell classes apart by their names."""
    names = [entry.name for entry in dataset.info.classes]
    for name in names:
        if len(name.splitlines()) != 1 or name != name.strip() or names.count(name) > 1:
            raise DataError(
                f"{dataset.folder / 'dataset.json'}: the class name {name!r} must be one line of text without space "
                f"around it, and no other class's; rename it there."
            )


def _own_split(dataset: SegmentationDataset) -> dict[str, object]:
    return {key: value for key, value in dataset.info.split.items() if key not in dataset.splits}


def _write_companions(folder: Path, about: str, notes: list[str], items: dict[Split, list[Item]]) -> None:
    """Write what the format itself has no place for."""
    rows = [(split, item) for split, of_split in items.items() for item in of_split]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["name", "group", "split"])
    writer.writerows([spreadsheet_cell(item.name), spreadsheet_cell(item.pair.group), split] for split, item in rows)
    write_text(folder / "groups.csv", table.getvalue())
    lines = (
        json.dumps({**item.pair.metadata, "name": item.name, "split": split}, ensure_ascii=False)
        for split, item in rows
    )
    write_text(folder / "pairs.jsonl", "".join(f"{line}\n" for line in lines))
    losses = "".join(f"\n- {note}" for note in notes) or " nothing"
    write_text(folder / "README.txt", f"{about}\n{_COMPANIONS}\nNot as in the dataset:{losses}\n")
