"""What was counted, by test group: the table that intervals and tests are worked out from.

`counts.parquet` has one line for each cell, test group and ratio: `hits` of `total`. An IoU is true positives of the
union; a recall the found of all. `held` is how much of it the group really shows: a class's pixels in the masks, or
the total of a recall. Lines where nothing was to count are left out.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from isdm.data.dataset import DatasetInfo
from isdm.data.image_files import MaskArray
from isdm.evaluation.cells import Cell, StudyData, read_cell
from isdm.evaluation.objects import FOUND, objects_in, size_bins

FILE_NAME = "counts.parquet"

IOU = "class_iou"
IMAGE_RECALL = "image_recall"
FALSE_ALARMS = "false_alarms"
OBJECT_RECALL = "object_recall"

_SCHEMA = {
    "row": pl.String,
    "architecture": pl.String,
    "repeat": pl.Int64,
    "group": pl.String,
    "measure": pl.String,
    "place": pl.Int64,
    "detail": pl.String,
    "hits": pl.Int64,
    "total": pl.Int64,
    "held": pl.Int64,
}


def counts_table(study: Path, cells: Sequence[Cell], data: StudyData) -> pl.DataFrame:
    """Read the finished cells of a study: hits and totals by test group.

    Columns: row, architecture, repeat, group, measure (`class_iou`, `image_recall`, `false_alarms`, `object_recall`),
    place (the class id, or the number of the size bin), detail (its name), hits, total, held.
    """
    groups, group_of = np.unique(np.array(data.test_groups, dtype=object).astype(str), return_inverse=True)
    objects = objects_in(data.test.masks, data.info)
    bins, bin_of = size_bins(np.array([thing.area for _, thing in objects], np.int64))
    group_of_object = group_of[np.array([index for index, _ in objects], np.int64)]
    has_objects = np.isin(np.arange(len(data.test)), [index for index, _ in objects])
    is_clear = np.array([_is_clear(mask, data.info) for mask in data.test.masks], bool)
    parts = []

    def add(
        cell: Cell,
        measure: str,
        place: int,
        detail: str,
        hits: NDArray[Any],
        total: NDArray[Any],
        held: NDArray[Any] | None = None,
    ) -> None:
        seen = np.flatnonzero(total)
        parts.append(
            pl.DataFrame(
                {
                    "row": [cell.slug] * len(seen),
                    "architecture": [cell.architecture] * len(seen),
                    "repeat": [cell.repeat] * len(seen),
                    "group": groups[seen].tolist(),
                    "measure": [measure] * len(seen),
                    "place": [place] * len(seen),
                    "detail": [detail] * len(seen),
                    "hits": hits[seen].astype(np.int64),
                    "total": total[seen].astype(np.int64),
                    "held": (total if held is None else held)[seen].astype(np.int64),
                },
                schema=_SCHEMA,
            )
        )

    def by_group(values: NDArray[Any], which: NDArray[np.intp] = group_of) -> NDArray[Any]:
        return np.bincount(which, weights=values, minlength=len(groups))

    for cell in cells:
        if not cell.is_finished(study):
            continue
        record, counts = read_cell(cell.path(study))
        for entry in data.info.classes:
            of_class = counts[:, entry.id]
            hits, union, truth = of_class[:, 0], of_class.sum(axis=1), of_class[:, [0, 2]].sum(axis=1)
            add(cell, IOU, entry.id, entry.name, by_group(hits), by_group(union), by_group(truth))
        found = record.get("detections")  # cells of earlier versions have none
        if found is None or not data.info.has_background:
            continue
        noticed, alarmed = (np.array(found[name]) > 0 for name in ("hit_px", "alarm_px"))
        add(cell, IMAGE_RECALL, 0, "", by_group(noticed & has_objects), by_group(has_objects))
        add(cell, FALSE_ALARMS, 0, "", by_group(alarmed & is_clear), by_group(is_clear))
        is_found = np.array(found["found_share"]) >= FOUND
        for place, name in enumerate(bins if len(objects) else []):
            of_bin = bin_of == place
            chosen = group_of_object[of_bin]
            all_of_bin = by_group(of_bin[of_bin], chosen)
            add(cell, OBJECT_RECALL, place, name, by_group(is_found[of_bin], chosen), all_of_bin)
    return pl.concat(parts) if parts else pl.DataFrame(schema=_SCHEMA)


def _is_clear(mask: MaskArray, info: DatasetInfo) -> bool:
    """Whether a mask (H, W) says that a picture has no object: ignored pixels, such as padding, tell nothing."""
    told = mask[mask != info.ignore_index]
    return len(told) > 0 and not bool((told > 0).any())
