"""Shapes that annotators draw, as pixels: polygons, boxes, ellipses, lines and run lengths.

Coordinates are (x, y) in pixels of the image, x to the right, y down, (0, 0) the outer corner of the first pixel.
Polygons are filled as pycocotools does; ellipses, turned boxes and lines have the pixels whose centres they cover,
and what hangs over the image's border is cut off, as annotators let it hang.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from isdm.errors import DataError

Points = Sequence[tuple[float, float]]
BoolArray = NDArray[np.bool_]
Box = tuple[int, int, int, int]
"""(left, top, width, height) in whole pixels."""

TOLERANCE_PX = 1.0
"""How far points may lie outside the image: annotators round, and may count from 0 or 1."""


def polygon_pixels(points: Points, height: int, width: int) -> BoolArray:
    """Pixels (H, W) of a polygon, as pycocotools fills it.

    Raises:
        DataError: fewer than three points, a coordinate that is no number, or a point outside the image; the
            message starts with "the polygon" and names no file.
    """
    if len(points) < 3:
        raise DataError(f"the polygon has {len(points)} point(s); it needs at least three: redraw or remove it")
    check_inside(points, height, width, "polygon")
    flat = [float(value) for point in points for value in point]
    (encoded,) = coco_mask.frPyObjects([flat], height, width)
    return np.asarray(coco_mask.decode(encoded), bool)


def check_inside(points: Points, height: int, width: int, kind: str) -> None:
    """Refuse points that are no numbers or lie outside the image by more than `TOLERANCE_PX`."""
    for x, y in points:
        if not (math.isfinite(x) and math.isfinite(y)):
            raise DataError(f"the {kind} has the point ({x}, {y}); coordinates must be numbers: redraw or remove it")
        if not (-TOLERANCE_PX <= x <= width + TOLERANCE_PX and -TOLERANCE_PX <= y <= height + TOLERANCE_PX):
            raise DataError(
                f"the {kind} has the point ({x:g}, {y:g}) outside the image of {width}x{height}; redraw or remove it"
            )


def ellipse_pixels(
    x: float, y: float, radius_x: float, radius_y: float, rotation_degrees: float, height: int, width: int
) -> BoolArray:
    """Pixels (H, W) of an ellipse around (x, y), turned clockwise.

    Raises:
        DataError: the centre lies outside the image, or a radius is not above 0.
    """
    check_inside([(x, y)], height, width, "ellipse")
    _check_lengths("ellipse", (radius_x, radius_y), rotation_degrees)
    window, right, down = _centres(x, y, max(radius_x, radius_y), height, width)
    along, across = _turned(right, down, rotation_degrees)
    with np.errstate(over="ignore"):  # a radius of next to nothing
        inside = np.hypot(along / radius_x, across / radius_y) <= 1
    return _in_window(window, inside, height, width)


def turned_box_pixels(
    x: float, y: float, box_width: float, box_height: float, rotation_degrees: float, height: int, width: int
) -> BoolArray:
    """Pixels (H, W) of a box around (x, y), turned clockwise; errors as of `ellipse_pixels`."""
    check_inside([(x, y)], height, width, "box")
    _check_lengths("box", (box_width, box_height), rotation_degrees)
    window, right, down = _centres(x, y, math.hypot(box_width, box_height) / 2, height, width)
    along, across = _turned(right, down, rotation_degrees)
    inside = (np.abs(along) <= box_width / 2) & (np.abs(across) <= box_height / 2)
    return _in_window(window, inside, height, width)


def line_pixels(points: Points, line_width: float, height: int, width: int) -> BoolArray:
    """Pixels (H, W) of a line through the points with round ends; of one point, a disk.

    Raises:
        DataError: there is no point, or one lies outside the image.
    """
    if not points:
        raise DataError("the line has no point; redraw or remove it")
    check_inside(points, height, width, "line")
    _check_lengths("line", (line_width,), 0.0)
    pixels = np.zeros((height, width), bool)
    for (x, y), (next_x, next_y) in zip(points, points[1:] or points, strict=False):
        length = math.hypot(next_x - x, next_y - y)
        middle_x, middle_y = (x + next_x) / 2, (y + next_y) / 2
        window, right, down = _centres(middle_x, middle_y, (length + line_width) / 2, height, width)
        along, across = _turned(right, down, math.degrees(math.atan2(next_y - y, next_x - x)))
        beyond = np.maximum(np.abs(along) - length / 2, 0)
        pixels[window] |= np.hypot(beyond, across) <= line_width / 2
    return pixels


def run_pixels(counts: Sequence[int] | NDArray[np.integer], box: Box, height: int, width: int) -> BoolArray:
    """Pixels (H, W) of run lengths within a box (left, top, width, height): row by row, beginning with unset ones.

    Raises:
        DataError: the box hangs over the image's border, or the runs do not add up to its area.
    """
    left, top, box_width, box_height = box
    check_box(box, height, width)
    lengths = np.asarray(counts, np.int64)
    if (lengths < 0).any() or lengths.sum() != box_width * box_height:
        raise DataError(
            f"the mask's runs add up to {lengths.sum()} pixels but its box of {box_width}x{box_height} has "
            f"{box_width * box_height}; export it again"
        )
    pixels = np.zeros((height, width), bool)
    values = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    pixels[top : top + box_height, left : left + box_width] = values.reshape(box_height, box_width)
    return pixels


def check_box(box: Box, height: int, width: int) -> None:
    """Refuse a mask's box (left, top, width, height) that is empty or hangs over the image's border."""
    left, top, box_width, box_height = box
    if not (0 <= left < left + box_width <= width and 0 <= top < top + box_height <= height):
        raise DataError(
            f"the mask's box of {box_width}x{box_height} at ({left}, {top}) does not lie in the image of "
            f"{width}x{height}; export it again"
        )


def _check_lengths(kind: str, lengths: Sequence[float], rotation_degrees: float) -> None:
    if not all(0 < length < math.inf for length in lengths) or not math.isfinite(rotation_degrees):
        shown = ", ".join(f"{value:g}" for value in (*lengths, rotation_degrees))
        raise DataError(f"the {kind} has the sizes and rotation {shown}; sizes must be above 0: redraw or remove it")


def _centres(
    x: float, y: float, radius: float, height: int, width: int
) -> tuple[tuple[slice, slice], NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns around (x, y), and how far to the right of and below it their pixels' centres are."""
    rows, columns = (
        slice(math.floor(max(place - radius, 0)), math.ceil(min(max(place + radius, 0), size)))
        for place, size in ((y, height), (x, width))
    )
    right = np.arange(columns.start, columns.stop, dtype=np.float64)[None, :] + (0.5 - x)
    down = np.arange(rows.start, rows.stop, dtype=np.float64)[:, None] + (0.5 - y)
    return (rows, columns), right, down


def _turned(
    right: NDArray[np.float64], down: NDArray[np.float64], rotation_degrees: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances along and across an axis that is turned clockwise."""
    turn = math.radians(rotation_degrees)
    return (
        right * math.cos(turn) + down * math.sin(turn),
        down * math.cos(turn) - right * math.sin(turn),
    )


def _in_window(window: tuple[slice, slice], inside: BoolArray, height: int, width: int) -> BoolArray:
    pixels = np.zeros((height, width), bool)
    pixels[window] = inside
    return pixels
