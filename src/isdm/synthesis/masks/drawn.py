"""A mask to paint for, and the objects that masks consist of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from isdm.data.dataset import IGNORE_INDEX
from isdm.data.image_files import MaskArray
from isdm.data.instances import InstanceArray
from isdm.data.regions import connected_regions

Flags = NDArray[np.bool_]
"""Pixels that touch at a corner belong together."""


@dataclass(frozen=True)
class DrawnMask:
    """A mask to paint for."""

    mask: MaskArray
    """(H, W) class ids."""
    instances: InstanceArray | None
    """(H, W), where the training masks have instance maps."""
    sources: tuple[int, ...]
    """Training pairs that it stems from, the main one first; empty where it is new."""


@dataclass(frozen=True)
class MaskObject:
    """One object of a mask: a connected part of a class, or an instance."""

    class_id: int
    shape: Flags
    """(h, w) within its bounding box."""
    top: int
    left: int
    instance: int
    touches: tuple[bool, bool, bool, bool]
    """Whether it reaches the picture's top, bottom, left and right: then it goes on outside."""

    @property
    def area(self) -> int:
        """Its pixels."""
        return int(self.shape.sum())

    @property
    def centre(self) -> tuple[float, float]:
        """Row and column of its centroid in the picture."""
        rows, columns = np.nonzero(self.shape)
        return self.top + float(rows.mean()), self.left + float(columns.mean())

    @property
    def box(self) -> tuple[slice, slice]:
        """Its bounding box in the picture."""
        return slice(self.top, self.top + self.shape.shape[0]), slice(self.left, self.left + self.shape.shape[1])


def objects_of(mask: MaskArray, instances: InstanceArray | None, first_foreground: int) -> list[MaskObject]:
    """The objects of a mask (H, W), those of one class after another."""
    found = []
    for class_id in np.unique(mask):
        if class_id < first_foreground or class_id == IGNORE_INDEX:
            continue
        of_class = mask == class_id
        if instances is None:
            labels, _ = connected_regions(of_class)
        else:
            ids = np.unique(instances[of_class])
            labels = np.where(of_class, np.searchsorted(ids, instances) + 1, 0)
        for number, box in enumerate(ndimage.find_objects(labels), start=1):
            if box is None:
                continue
            rows, columns = box
            shape = labels[box] == number
            instance = int(instances[box][shape][0]) if instances is not None else 0
            touches = (rows.start == 0, rows.stop == len(mask), columns.start == 0, columns.stop == mask.shape[1])
            found.append(MaskObject(int(class_id), shape, rows.start, columns.start, instance, touches))
    return found
