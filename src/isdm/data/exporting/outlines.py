"""Outlines of pixels as polygons that, filled again, give exactly those pixels.

The outline runs along the pixels' edges, so its points are whole numbers, (0, 0) the outer corner of the first
pixel. A polygon has one outline and cannot name holes, so each hole is joined to what surrounds it by a cut
of no width that runs through the object, there and back.

    ┌───────┐      The cut goes up from a hole's highest, leftmost corner to the next outline, which is that of
    │  ┌┐   │      the object or of a higher hole; so all holes are joined, whatever their arrangement.
    │  └┘   │
    └───────┘
"""

from collections.abc import Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
Loop = list[int]
"""Corners along a closed outline, one for each pixel edge: y * (width + 1) + x."""

_EAST, _SOUTH, _WEST, _NORTH = range(4)

_NEXT = [
    [
        next((turn for turn in (heading - 1 & 3, heading, heading + 1 & 3) if ways >> turn & 1), 0)
        for ways in range(16)
    ]
    for heading in range(4)
]
"""By heading and the ways (bits) that leave a corner: where to go, left before straight on before right."""


def outlines(pixels: BoolArray) -> list[NDArray[np.int64]]:
    """Give for each part of `pixels` (H, W) that hangs together, corners included, its outline (P, 2) as (x, y).

    Filling by the even-odd rule restores the part. Several parts have outlines that do not overlap.
    """
    columns = pixels.shape[1] + 1
    loops = [np.array(loop) for loop in _loops(pixels)]
    holes_at: dict[int, list[Loop]] = {}
    borders = []
    for loop in loops:
        if _encloses_pixels(loop, columns):
            borders.append(loop)
        else:
            corner = int(loop.argmin())  # the highest corner, and of those the leftmost
            cut_end = _up_to_an_outline(int(loop[corner]), pixels)
            holes_at.setdefault(cut_end, []).append([*loop[corner:].tolist(), *loop[:corner].tolist()])
    return [_corners(_joined(border.tolist(), holes_at), columns) for border in borders]


def _loops(pixels: BoolArray) -> Iterator[Loop]:
    """Walk along all edges between pixels and their surroundings, with the pixels on the right hand.

    Where two pixels touch at a corner alone, the way turns left, on to the other pixel: they hang together.
    """
    height, width = pixels.shape
    padded = np.pad(pixels, 1)
    inner = padded[1:-1, 1:-1]
    leaving = np.zeros((height + 1, width + 1), np.uint8)  # at each corner, a bit for each direction that leaves it
    leaving[:-1, :-1] |= (inner & ~padded[:-2, 1:-1]).astype(np.uint8) << _EAST
    leaving[:-1, 1:] |= (inner & ~padded[1:-1, 2:]).astype(np.uint8) << _SOUTH
    leaving[1:, 1:] |= (inner & ~padded[2:, 1:-1]).astype(np.uint8) << _WEST
    leaving[1:, :-1] |= (inner & ~padded[1:-1, :-2]).astype(np.uint8) << _NORTH
    steps = (1, width + 1, -1, -(width + 1))
    ways = leaving.tobytes()
    unused = bytearray(ways)
    for start in np.flatnonzero(leaving).tolist():
        while unused[start]:
            corner, heading = start, unused[start].bit_length() - 1
            loop = []
            while unused[corner] >> heading & 1:
                loop.append(corner)
                unused[corner] ^= 1 << heading
                corner += steps[heading]
                heading = _NEXT[heading][ways[corner]]
            yield loop


def _encloses_pixels(loop: NDArray[np.int64], columns: int) -> bool:
    """Whether a loop runs clockwise around pixels, or around a hole."""
    y, x = np.divmod(loop, columns)
    return bool((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() > 0)


def _up_to_an_outline(corner: int, pixels: BoolArray) -> int:
    """The corner where a cut upwards from `corner` meets the next outline."""
    columns = pixels.shape[1] + 1
    y, x = divmod(corner, columns)
    outside = np.flatnonzero(~pixels[:y, x])
    end_y = int(outside[-1]) + 1 if len(outside) else 0
    return int(end_y * columns + x)


def _joined(border: Loop, holes_at: dict[int, list[Loop]]) -> Loop:
    """One walk along `border` and all holes that can be reached from it; those are taken out of `holes_at`."""
    if not holes_at:
        return border
    walk: Loop = []
    ways: list[Iterator[int]] = [iter(border)]  # not recursive: a row of holes may be longer than Python's stack
    while ways:
        corner = next(ways[-1], None)
        if corner is None:
            ways.pop()
            continue
        walk.append(corner)
        ways += [chain(hole, (hole[0], corner)) for hole in holes_at.pop(corner, ())]
    return walk


def _corners(walk: Loop, columns: int) -> NDArray[np.int64]:
    """The points (P, 2) of a walk where its direction changes."""
    y, x = np.divmod(np.array(walk), columns)
    points: NDArray[np.int64] = np.stack([x, y], axis=1)
    ahead = np.sign(np.roll(points, -1, axis=0) - points)
    turns = np.flatnonzero((ahead != np.roll(ahead, 1, axis=0)).any(axis=1))
    return points[turns]
