"""Intersection over union from counts of true positives, false positives and false negatives.

A class absent from prediction and truth has no IoU (NaN), not 1.
"""

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
"""(…, K, 3): true positives, false positives, false negatives of K classes."""


def count_pixels(
    predicted: NDArray[np.integer], truth: NDArray[np.integer], num_classes: int, ignore_index: int = 255
) -> Counts:
    """Count the pixels of each image and class.

    Args:
        predicted: (N, H, W) class ids.
        truth: (N, H, W) class ids; pixels with `ignore_index` do not count.
        num_classes: K.

    Returns:
        (N, K, 3) int64.
    """
    assert predicted.shape == truth.shape
    counts = np.zeros((len(truth), num_classes, 3), np.int64)
    for image, (p, y) in enumerate(zip(predicted, truth, strict=True)):
        valid = y != ignore_index
        codes = y[valid].astype(np.int64) * num_classes + p[valid]
        confusion = np.bincount(codes, minlength=num_classes**2).reshape(num_classes, num_classes)
        hits = np.diag(confusion)  # rows are the truth, columns the prediction
        counts[image] = np.stack([hits, confusion.sum(axis=0) - hits, confusion.sum(axis=1) - hits], axis=1)
    return counts


def intersection_over_union(counts: Counts) -> NDArray[np.float64]:
    """IoU = TP / (TP + FP + FN) for counts (…, K, 3): (…, K), NaN where nothing was there or predicted."""
    hits, union = counts[..., 0].astype(np.float64), counts.sum(axis=-1).astype(np.float64)
    ious: NDArray[np.float64] = np.divide(hits, union, out=np.full_like(hits, np.nan), where=union > 0)
    return ious


def pooled_iou(counts: Counts) -> NDArray[np.float64]:
    """IoU per class (K,) on the pixels of all images together; `counts` is (N, K, 3)."""
    return intersection_over_union(counts.sum(axis=0))


def mean_image_iou(counts: Counts) -> NDArray[np.float64]:
    """Mean over images of each image's IoU per class (K,); images where it is undefined are left out."""
    ious = intersection_over_union(counts)
    return np.array([mean_defined(column) for column in ious.T])


def mean_foreground_iou(counts: Counts, first_foreground: int = 1) -> float:
    """The headline: mean over the classes but the background of the IoU on pooled pixels; `counts` (N, K, 3).

    Classes that the truth does not show are left out, predicted or not: networks are to be compared by the same ones.
    `first_foreground` is 0 in full scenes, in which no class is a background.
    """
    is_shown = counts[..., [0, 2]].sum(axis=(0, 2)) > 0
    return mean_defined(pooled_iou(counts)[first_foreground:][is_shown[first_foreground:]])


def mean_foreground_iou_of_image(counts: Counts, first_foreground: int = 1) -> float:
    """The same of one image, `counts` (K, 3), in which a class that is predicted and not there counts as 0."""
    return mean_defined(intersection_over_union(counts)[first_foreground:])


def mean_defined(values: NDArray[np.float64]) -> float:
    """Mean of the values that are not NaN; NaN where there is none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
