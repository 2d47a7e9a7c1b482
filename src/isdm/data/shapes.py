"""Shapes that annotators draw, as pixels: polygons, boxes, ellipses and run lengths.

Coordinates are (x, y) in pixels of the image, x to the right, y down, (0, 0) the outer corner of the first pixel.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from isdm.errors import DataError

Points = Sequence[tuple[float, float]]
BoolArray = NDArray[np.bool_]

TOLERANCE_PX = 1.0
"""How far points may lie outside the image: annotators round, and may count from 0 or 1."""
ELLIPSE_POINTS = 64


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


def box_pixels(left: float, top: float, right: float, bottom: float, height: int, width: int) -> BoolArray:
    """Pixels (H, W) of a box whose sides are parallel to the image's; errors as of `polygon_pixels`."""
    return polygon_pixels([(left, top), (right, top), (right, bottom), (left, bottom)], height, width)


def ellipse_points(
    x: float, y: float, radius_x: float, radius_y: float, rotation_degrees: float = 0.0
) -> list[tuple[float, float]]:
    """Points of an ellipse around (x, y), turned clockwise."""
    turn = math.radians(rotation_degrees)
    points = []
    for index in range(ELLIPSE_POINTS):
        angle = 2 * math.pi * index / ELLIPSE_POINTS
        along, across = radius_x * math.cos(angle), radius_y * math.sin(angle)
        points.append(
            (
                x + along * math.cos(turn) - across * math.sin(turn),
                y + along * math.sin(turn) + across * math.cos(turn),
            )
        )
    return points


def check_inside(points: Points, height: int, width: int, kind: str) -> None:
    """Refuse points that are no numbers or lie outside the image by more than `TOLERANCE_PX`."""
    for x, y in points:
        if not (math.isfinite(x) and math.isfinite(y)):
            raise DataError(f"the {kind} has the point ({x}, {y}); coordinates must be numbers: redraw or remove it")
        if not (-TOLERANCE_PX <= x <= width + TOLERANCE_PX and -TOLERANCE_PX <= y <= height + TOLERANCE_PX):
            raise DataError(
                f"the {kind} has the point ({x:g}, {y:g}) outside the image of {width}x{height}; redraw or remove it"
            )
