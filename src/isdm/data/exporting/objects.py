"""The objects of a mask: those of its instance map, or else its connected parts."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isdm.data.image_files import MaskArray
from isdm.data.instances import InstanceArray
from isdm.data.regions import connected_regions

"""Pixels that touch at a corner belong together."""


class MaskObject(NamedTuple):
    """One object of one class."""

    class_id: int
    instance: int | None
    """Its id in the instance map, where there is one."""
    positions: NDArray[np.int64]
    """Its pixels (P,), counted down the columns (x * height + y) and ascending."""


def mask_objects(mask: MaskArray, instances: InstanceArray | None, num_classes: int) -> Iterator[MaskObject]:
    """Take a mask (H, W) apart; background (class 0) and ignored pixels belong to no object.

    Args:
        mask: class ids.
        instances: ids of objects (H, W); without it an object is what hangs together, corners included.
        num_classes: ids from it on are ignored.
    """
    for class_id in np.unique(mask):
        if not 0 < class_id < num_classes:
            continue
        of_class = mask == class_id
        if instances is None:
            labels, _ = connected_regions(of_class)
            for positions in _by_label(labels):
                yield MaskObject(int(class_id), None, positions)
        else:
            ids, order = np.unique(instances[of_class], return_inverse=True)
            labels = np.zeros(mask.shape, np.int64)
            labels[of_class] = order + 1
            for instance, positions in zip(ids, _by_label(labels), strict=True):
                yield MaskObject(int(class_id), int(instance), positions)


def column_positions(pixels: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where pixels (H, W) are true, counted down the columns and ascending."""
    return np.flatnonzero(pixels.ravel(order="F"))


def _by_label(labels: NDArray[np.integer]) -> list[NDArray[np.int64]]:
    """Positions of the labels 1, 2, … in turn; one sorting however many there are."""
    flat = labels.ravel(order="F")
    positions = np.flatnonzero(flat)
    owners = flat[positions]
    order = np.argsort(owners, kind="stable")  # keeps the positions of one label ascending
    return np.split(positions[order], np.flatnonzero(np.diff(owners[order])) + 1)
