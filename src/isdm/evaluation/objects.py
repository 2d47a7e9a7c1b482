"""What inspectors ask: is a defective picture noticed, is a good one left in peace, and how small may a defect be?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isdm.data.dataset import IGNORE_INDEX, DatasetInfo
from isdm.data.image_files import MaskArray
from isdm.synthesis.masks.drawn import MaskObject, objects_of

FOUND = 0.5
"""Share of an object's pixels that must be labelled as foreground for it to count as found."""
MOST_BINS = 4
LEAST_OBJECTS = 5
"""Objects that a bin of sizes should have."""


@dataclass(frozen=True)
class Detections:
    """What a network finds in N test images, whatever the class."""

    hit_px: list[int]
    """(N,) true foreground pixels that are labelled as foreground."""
    alarm_px: list[int]
    """(N,) pixels without foreground that are labelled as foreground."""
    found_share: list[float]
    """Of each object, in the order of `objects_in`, the share of its pixels labelled as foreground."""


def objects_in(masks: MaskArray, info: DatasetInfo) -> list[tuple[int, MaskObject]]:
    """The connected objects of masks (N, H, W) with the number of their image; none in scenes without background."""
    if not info.has_background:
        return []
    return [(index, thing) for index, mask in enumerate(masks) for thing in objects_of(mask, None, 1)]


def detect(predicted: MaskArray, masks: MaskArray, objects: list[tuple[int, MaskObject]]) -> Detections:
    """Compare predictions (N, H, W) with the masks; ignored pixels count for nothing."""
    seen = predicted > 0
    true, free = (masks > 0) & (masks != IGNORE_INDEX), masks == 0
    return Detections(
        (seen & true).sum(axis=(1, 2)).tolist(),
        (seen & free).sum(axis=(1, 2)).tolist(),
        [round(float(seen[index][thing.box][thing.shape].mean()), 4) for index, thing in objects],
    )


def size_bins(areas: NDArray[np.int64]) -> tuple[list[str], NDArray[np.int64]]:
    """Bins of about equally many objects by their pixels: their names, and the bin of each object."""
    num_bins = max(1, min(MOST_BINS, len(areas) // LEAST_OBJECTS))
    edges = np.zeros(0, np.int64)
    if num_bins > 1:
        edges = np.unique(np.quantile(areas, np.arange(1, num_bins) / num_bins, method="lower"))
    names, lower = [], 1
    for edge in edges.tolist():
        names.append(f"{lower} to {edge} px" if lower < edge else f"{edge} px")
        lower = edge + 1
    names.append(f"{lower} px and more")
    return names, np.searchsorted(edges, areas, side="left")
