"""Cut and paste against what it must leave alone."""

import numpy as np
import pytest

from isdm.data.dataset import DatasetInfo, SegmentationClass
from isdm.errors import DataError
from isdm.evaluation.pasting import pasted_images
from isdm.training.segmentation import LabelledImages

CLASSES = tuple(SegmentationClass(k, name, (k, k, k)) for k, name in enumerate(("background", "part", "scratch")))
INFO = DatasetInfo("parts", CLASSES)


def parts(count: int = 6) -> LabelledImages:
    """Grey parts on black with a white scratch, in half of the pictures."""
    masks = np.zeros((count, 48, 48), np.uint8)
    for place, mask in enumerate(masks):
        mask[8:40, 8:40] = 1
        if place % 2 == 0:
            mask[20:24, 12 + place : 20 + place] = 2
    return LabelledImages(np.array([0, 100, 250], np.uint8)[masks][..., None], masks)


def test_scratches_are_added_on_parts_and_nothing_else_changes() -> None:
    real = parts()
    made = pasted_images(real, np.arange(6), 12, INFO, seed=0)
    for index in range(12):
        before, after = real.masks[index % 6], made.masks[index]
        new = (after == 2) & (before != 2)
        assert new.sum() > 0
        assert (before[new] == 1).all()
        assert ((after == before) | new).all()
        moved = np.abs(made.images[index, ..., 0].astype(int) - real.images[index % 6, ..., 0]) > 0
        rows, columns = np.nonzero(new)
        box = np.zeros_like(moved)
        box[rows.min() - 1 : rows.max() + 2, columns.min() - 1 : columns.max() + 2] = True
        assert not (moved & ~box).any()
        assert made.images[index, ..., 0][new].min() > 130
    again = pasted_images(real, np.arange(6), 4, INFO, seed=0)
    assert np.array_equal(again.images, made.images[:4])
    assert not np.array_equal(pasted_images(real, np.arange(6), 4, INFO, seed=1).masks, again.masks)


def test_only_the_chosen_images_are_used() -> None:
    real = parts()
    real.masks[1::2] = 0
    with pytest.raises(DataError, match="none can be pasted"):
        pasted_images(real, np.array([1, 3, 5]), 2, INFO, seed=0)
    with pytest.raises(DataError, match="without a background"):
        pasted_images(real, np.arange(6), 2, DatasetInfo("scene", CLASSES, has_background=False), seed=0)
