"""What is counted by test group, from a cell made by hand."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from isdm.data.dataset import DatasetInfo, SegmentationClass
from isdm.evaluation.cells import Cell, StudyData
from isdm.evaluation.counts import counts_table
from isdm.evaluation.objects import detect, objects_in
from isdm.evaluation.rows import Row
from isdm.evaluation.study import results_table
from isdm.files import write_json
from isdm.metrics.segmentation import count_pixels
from isdm.training.segmentation import LabelledImages

INFO = DatasetInfo(
    "d", tuple(SegmentationClass(k, n, (k, k, k)) for k, n in enumerate(("background", "crack", "dent")))
)


def test_ignored_pixels_hide_no_clear_picture_and_what_groups_hold_is_told(tmp_path: Path) -> None:
    masks = np.zeros((4, 6, 6), np.uint8)
    masks[0, 1:3, 1:5] = 1
    masks[1:3, 4:] = 255  # padded below; nothing else is on the second and third
    masks[3] = 255  # nothing is known of the last
    predicted = np.zeros_like(masks)
    predicted[0, 1:3, 1:3] = 1
    predicted[1, 0, 0] = 2
    test = LabelledImages(np.zeros((4, 6, 6, 3), np.uint8), masks)
    data = StudyData(INFO, test, test, test, list("abcd"), ["one", "one", "two", "two"], {})
    cell = Cell(Row(4, 0), "row", "fpn", 0, 9)
    counts = count_pixels(predicted, masks, 3)
    record = {"images": data.test_names, "groups": data.test_groups, "num_steps": 9, "train_seconds": 1.0}
    record |= {"detections": asdict(detect(predicted, masks, objects_in(masks, INFO))), "validation_iou": None}
    record |= {"counts": {name: counts[:, :, i].tolist() for i, name in enumerate(("tp", "fp", "fn"))}}
    write_json(cell.path(tmp_path), record)
    table = counts_table(tmp_path, [cell], data)

    def lines(measure: str, place: int = 0) -> list[tuple[str, int, int, int]]:
        chosen = table.filter((pl.col("measure") == measure) & (pl.col("place") == place)).sort("group")
        return list(chosen.select("group", "hits", "total", "held").iter_rows())

    assert lines("false_alarms") == [("one", 1, 1, 1), ("two", 0, 1, 1)]
    assert lines("image_recall") == [("one", 1, 1, 1)]
    assert lines("class_iou", 1) == [("one", 4, 8, 8)]
    assert lines("class_iou", 2) == [("one", 0, 1, 0)], "a false pixel of what no mask shows"
    results = results_table(tmp_path, [cell], INFO)
    assert results["iou"].to_list() == [pytest.approx(0.9, abs=0.1), 0.5, None], (
        "it would be 0 here and nothing there"
    )
    assert results["mean_image_iou"].to_list()[2] is None
