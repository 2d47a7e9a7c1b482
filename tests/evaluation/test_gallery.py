"""The pictures that a study keeps for its report."""

from pathlib import Path

import numpy as np
from PIL import Image

from isdm.data.dataset import DatasetInfo, SegmentationClass
from isdm.evaluation.cells import StudyData
from isdm.evaluation.gallery import class_pixels, write_gallery
from isdm.training.segmentation import LabelledImages

CLASSES = (SegmentationClass(0, "background", (0, 0, 0)), SegmentationClass(1, "crack", (230, 159, 0)))


def test_images_of_16_bits_are_shown_in_8(tmp_path: Path) -> None:
    """Browsers and readers of the report show what fits on a screen."""
    info = DatasetInfo("wide", CLASSES, channels=1, bit_depth=16)
    images = np.array([[[0, 257, 32896, 65535]]], np.uint16)[..., None]
    pairs = LabelledImages(images, np.array([[[0, 1, 1, 0]]], np.uint8))
    write_gallery(tmp_path, StudyData(info, pairs, pairs, pairs, ["t"], ["t"], {}), {"": ["a"]}, [])
    for name in ("real-0.png", "test-0.png"):
        with Image.open(tmp_path / "gallery" / name) as shown:
            assert shown.mode == "L"
            assert np.asarray(shown).tolist() == [[0, 1, 128, 255]]


def test_class_pixels_are_counted_over_all_masks() -> None:
    masks = np.array([[[0, 1, 255]], [[1, 1, 0]]], np.uint8)
    assert class_pixels(masks, DatasetInfo("d", CLASSES)) == {"background": 2, "crack": 3}
