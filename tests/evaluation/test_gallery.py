"""The pictures that a study keeps for its report."""

from pathlib import Path

import numpy as np
from PIL import Image

from isdm.data.dataset import DatasetInfo, SegmentationClass
from isdm.evaluation.cells import StudyData
from isdm.evaluation.gallery import _chosen, class_pixels, write_gallery
from isdm.metrics.segmentation import count_pixels
from isdm.training.segmentation import LabelledImages

CLASSES = (SegmentationClass(0, "background", (0, 0, 0)), SegmentationClass(1, "crack", (230, 159, 0)))


def test_images_of_16_bits_are_shown_in_8(tmp_path: Path) -> None:
    """Browsers and readers of the report show what fits on a screen."""
    info = DatasetInfo("wide", CLASSES, channels=1, bit_depth=16)
    images = np.array([[[0, 257, 32896, 65535]]], np.uint16)[..., None]
    pairs = LabelledImages(images, np.array([[[0, 1, 1, 0]]], np.uint8))
    write_gallery(tmp_path, StudyData(info, pairs, pairs, pairs, ["t"], ["t"], {}), {"": ["a"]}, [])
    with Image.open(tmp_path / "gallery" / "real-0.png") as shown:
        assert shown.mode == "L"
        assert np.asarray(shown).tolist() == [[0, 1, 128, 255]]


def test_the_best_and_the_worst_are_shown() -> None:
    masks = np.zeros((7, 2, 4), np.uint8)
    masks[:5, 0, :2] = 1  # five with a crack, two without
    predicted = masks.copy()
    predicted[1, 0, 1] = predicted[3, 0, :2] = 0  # half of one is missed, all of another
    predicted[6, 1, 1] = 1
    images = np.zeros((*masks.shape, 1), np.uint8)
    pairs = LabelledImages(images, masks)
    names = list("abcdefg")
    data = StudyData(DatasetInfo("d", CLASSES), pairs, pairs, pairs, names, names, {})
    counts = count_pixels(predicted, masks, 2)
    found = _chosen([counts, counts], data, num_kept=7)
    assert found == [
        (0, "read best"),
        (2, "read best"),
        (1, "read worst"),
        (3, "read worst"),
        (4, "middling"),
        (6, "most false alarms"),
    ]
    assert _chosen([], data, num_kept=0) == []


def test_class_pixels_are_counted_over_all_masks() -> None:
    masks = np.array([[[0, 1, 255]], [[1, 1, 0]]], np.uint8)
    assert class_pixels(masks, DatasetInfo("d", CLASSES)) == {"background": 2, "crack": 3}
