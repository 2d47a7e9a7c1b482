"""Windows of large images: tiles that cover all of one, or crops that keep its defects."""

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from isdm.data.dataset import IGNORE_INDEX
from isdm.data.image_files import MaskArray
from isdm.data.regions import connected_regions


class Window(NamedTuple):
    """A part of an image, in its pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to cut it out of an array."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    @property
    def suffix(self) -> str:
        """What tells it from others of the same image in file names."""
        return f"_y{self.top:05d}_x{self.left:05d}"


def foreground(mask: MaskArray) -> NDArray[np.bool_]:
    """Pixels (H, W) of any class but the background; ignored ones are none."""
    shown: NDArray[np.bool_] = (mask != 0) & (mask != IGNORE_INDEX)
    return shown


def windows_of(mask: MaskArray, size: tuple[int, int], kind: Literal["crop", "tile"]) -> list[Window]:
    """Windows of `size` (height, width), less where the image is smaller, for a mask (H, W) of class ids.

    `tile` covers the whole image, with as little overlap as that allows. `crop` takes windows around foreground
    objects until each lies wholly in one; an object that is larger than a window gets several, and an image
    without foreground its middle.
    """
    height, width = min(size[0], mask.shape[0]), min(size[1], mask.shape[1])
    if kind == "tile":
        return [
            Window(top, left, height, width)
            for top in _starts(0, mask.shape[0], height)
            for left in _starts(0, mask.shape[1], width)
        ]
    labels, _ = connected_regions(foreground(mask))
    boxes = [(rows.start, rows.stop, cols.start, cols.stop) for rows, cols in ndimage.find_objects(labels)]
    boxes.sort(key=lambda box: (-(box[1] - box[0]) * (box[3] - box[2]), box))
    found: list[Window] = []
    for top, bottom, left, right in boxes:
        if any(_holds(window, top, bottom, left, right) for window in found):
            continue
        found += [
            Window(y, x, height, width)
            for y in _around(top, bottom, height, mask.shape[0])
            for x in _around(left, right, width, mask.shape[1])
        ]
    middle = Window((mask.shape[0] - height) // 2, (mask.shape[1] - width) // 2, height, width)
    return sorted(set(found)) or [middle]


def crop_window(mask: MaskArray, size: tuple[int, int]) -> Window:
    """The largest window with the aspect ratio of `size`: the middle of the image, moved to keep the foreground."""
    scale = min(mask.shape[0] / size[0], mask.shape[1] / size[1])
    height, width = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    found = ndimage.find_objects(foreground(mask).astype(np.int8))
    rows, cols = found[0] if found else (slice(0, mask.shape[0]), slice(0, mask.shape[1]))
    return Window(
        _moved(rows.start, rows.stop, height, mask.shape[0]),
        _moved(cols.start, cols.stop, width, mask.shape[1]),
        height,
        width,
    )


def _moved(first: int, end: int, length: int, total: int) -> int:
    """Where a part of `length` begins that is as near to the middle of `total` as keeping `first` to `end` allows."""
    if end - first > length:
        return min(max((first + end - length) // 2, 0), total - length)
    return min(max((total - length) // 2, end - length), first)


def _starts(first: int, end: int, length: int) -> list[int]:
    """Beginnings of the fewest parts of `length` that cover `first` to `end`, evenly spread."""
    count = max(1, math.ceil((end - first) / length))
    return [first + round(index * (end - first - length) / max(count - 1, 1)) for index in range(count)]


def _around(first: int, end: int, length: int, total: int) -> list[int]:
    """Beginnings of parts of `length` that hold `first` to `end`: one around it, or several where it is longer."""
    if end - first > length:
        return _starts(first, end, length)
    return [min(max((first + end - length) // 2, 0), total - length)]


def _holds(window: Window, top: int, bottom: int, left: int, right: int) -> bool:
    return (
        window.top <= top
        and bottom <= window.top + window.height
        and window.left <= left
        and right <= window.left + window.width
    )
