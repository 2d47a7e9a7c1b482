import numpy as np
import pytest
from numpy.typing import NDArray

from isdm.metrics.segmentation import (
    count_pixels,
    intersection_over_union,
    mean_foreground_iou,
    mean_image_iou,
    pooled_iou,
)


@pytest.fixture
def masks() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 3, (5, 7, 6)).astype(np.uint8), rng.integers(0, 3, (5, 7, 6)).astype(np.uint8)


def test_counts_agree_with_pycocotools(masks: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    predicted, truth = masks
    ious = intersection_over_union(count_pixels(predicted, truth, 3))
    for image in range(len(truth)):
        for class_id in range(3):
            p, y = (coco.encode(np.asfortranarray(m[image] == class_id, dtype=np.uint8)) for m in (predicted, truth))
            assert ious[image, class_id] == pytest.approx(coco.iou([p], [y], [0])[0, 0])


def test_ignored_pixels_do_not_count() -> None:
    truth = np.array([[[0, 255], [1, 255]]], np.uint8)
    counts = count_pixels(np.array([[[0, 1], [1, 0]]], np.uint8), truth, 2)
    assert counts.tolist() == [[[1, 0, 0], [1, 0, 0]]]


def test_absent_class_has_no_iou() -> None:
    zeros = np.zeros((2, 3, 3), np.uint8)
    counts = count_pixels(zeros, zeros, 3)
    assert pooled_iou(counts)[0] == 1
    assert np.isnan(pooled_iou(counts)[1:]).all()
    assert np.isnan(mean_foreground_iou(counts))


def test_pooled_and_per_image_means_differ_as_defined() -> None:
    # Image 1: 1 of 2 pixels right; image 2: 0 of 8 right.
    counts = np.array([[[9, 0, 0], [1, 0, 1]], [[2, 0, 8], [0, 8, 0]]], np.int64)
    assert pooled_iou(counts)[1] == pytest.approx(1 / 10)
    assert mean_image_iou(counts)[1] == pytest.approx((1 / 2 + 0) / 2)
    assert mean_foreground_iou(counts) == pytest.approx(1 / 10)
