"""Where objects belong, read off the training masks: what each class lies on, and where objects are found at all.

A defect stays on its object. Where the object is a class of its own, that class surrounds the defect in nearly all
training masks and must do so in new ones. Where the object is not annotated, the masks say only where defects have
been; a new one must lie within that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy import ndimage

from isdm.data.dataset import IGNORE_INDEX, DatasetInfo
from isdm.data.image_files import MaskArray
from isdm.data.instances import InstanceArray
from isdm.data.regions import EIGHT_NEIGHBOURS
from isdm.errors import DataError
from isdm.synthesis.masks.drawn import Flags, MaskObject, objects_of
from isdm.synthesis.masks.known import KnownMasks

HOST_SHARE = 0.9
"""Share of the pixels around a class's objects that one class must have to be what they lie on."""
MOST_MASKS = 500
"""Masks that are looked at, spread evenly, to learn the hosts."""
MARGIN = 0.03
"""By how much of the picture's size the places where objects have been are widened."""
MOST_KEPT = 1000
"""Masks whose objects are kept: finding them anew takes longest of all in large pictures."""
ON_HOST = 0.95
"""Share of an object's pixels that must lie where it belongs."""


@dataclass(frozen=True)
class Layout:
    """The training masks and what they say of where objects belong."""

    masks: MaskArray
    instances: InstanceArray | None
    hosts: Mapping[int, int]
    """Class: what it lies on. A class that lies on several things is missing."""
    support: Flags
    """(H, W) where any object has been, widened."""
    first_foreground: int
    has_background: bool
    found: dict[int, list[MaskObject]] = field(default_factory=dict, repr=False)
    """Objects of the training masks that were asked for, of so many masks as `MOST_KEPT`."""

    @staticmethod
    def of(masks: MaskArray, instances: InstanceArray | None, info: DatasetInfo) -> "Layout":
        """Read the training masks (N, H, W)."""
        around = np.zeros((info.num_classes, info.num_classes), np.int64)
        chosen = np.unique(np.linspace(0, len(masks) - 1, min(len(masks), MOST_MASKS)).astype(int))
        for mask in masks[chosen]:
            for class_id in np.unique(mask):
                if info.first_foreground <= class_id < info.num_classes:
                    of_class = ndimage.binary_fill_holes(mask == class_id)  # what lies on it does not surround it
                    ring = mask[ndimage.binary_dilation(of_class, EIGHT_NEIGHBOURS) & ~of_class]
                    around[class_id] += np.bincount(ring[ring != IGNORE_INDEX], minlength=info.num_classes)
        hosts = {}
        for class_id, counts in enumerate(around):
            if counts.sum() and counts.max() >= HOST_SHARE * counts.sum():
                hosts[class_id] = int(counts.argmax())
        support = np.zeros(masks.shape[1:], bool)
        for mask in masks:
            support |= (mask >= info.first_foreground) & (mask != IGNORE_INDEX)
        margin = max(1, round(MARGIN * min(support.shape)))
        support = ndimage.distance_transform_edt(~support) <= margin
        return Layout(masks, instances, hosts, support, info.first_foreground, info.has_background)

    def objects(self, index: int) -> list[MaskObject]:
        """The objects of a training mask."""
        if index not in self.found:
            instances = None if self.instances is None else self.instances[index]
            if len(self.found) >= MOST_KEPT:
                del self.found[next(iter(self.found))]
            self.found[index] = objects_of(self.masks[index], instances, self.first_foreground)
        return self.found[index]

    @cached_property
    def known(self) -> KnownMasks:
        """The training masks, ready for telling whether another one is new."""
        return KnownMasks.of(self.masks, self.first_foreground)

    def require_objects(self, info: DatasetInfo) -> None:
        """Refuse masks that no new ones can be made of.

        Raises:
            DataError: full scenes without a background, classes that lie on nothing in particular, no object.
        """
        if not self.has_background:
            raise DataError(
                "Masks without a background class are no objects on something; take --masks augmented for them."
            )
        present = [entry for entry in info.classes[1:] if any((mask == entry.id).any() for mask in self.masks)]
        if not present:
            raise DataError("No training mask shows an object; masks can be generated only from some that do.")
        loose = [entry.name for entry in present if entry.id not in self.hosts]
        if loose:
            raise DataError(
                f"Objects of {loose[0]!r} lie on several classes, so where new ones belong is not known; take "
                f"--masks augmented."
            )

    def belongs(self, mask: MaskArray, class_id: int, shape: Flags, top: int, left: int) -> bool:
        """Whether an object may lie there: on its host, and where objects have been if that is the background."""
        box = slice(top, top + shape.shape[0]), slice(left, left + shape.shape[1])
        host = self.hosts.get(class_id)
        if host is None:
            return False
        fits = mask[box] == host
        if self.has_background and host == 0:
            fits = fits & self.support[box]
        return bool(fits[shape].mean() >= ON_HOST)


def whole(found: Sequence[MaskObject]) -> list[MaskObject]:
    """Objects that do not go on outside the picture."""
    return [thing for thing in found if not any(thing.touches)]
