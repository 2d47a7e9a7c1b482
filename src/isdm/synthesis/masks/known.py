"""Is a mask new? Whether a training mask is nearly the same in another place or mirrored, decided without all shifts.

The overlap at every shift takes a Fourier transform of twice the picture's size for each training mask and class. The
question is only whether any overlap reaches a bound, and most masks and shifts are ruled out by cheaper numbers that
can never be too small: areas of classes, pixels a row and a column, and how fast an overlap can grow from shift to
shift. The answer is exact; `tests/synthesis/test_masks.py` compares it with `novelty.most_alike`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from isdm.data.dataset import IGNORE_INDEX
from isdm.data.image_files import MaskArray
from isdm.synthesis.masks.novelty import NEW_BELOW, most_alike

MOST_OVERLAPS = 300
"""Overlaps that are counted one by one for a pair of masks; with very many specks the transform is quicker."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class _Form:
    """The foreground of a mask within its bounding box."""

    values: MaskArray
    """(h, w): 0 is not foreground, else the class id + 1."""
    steepness: tuple[int, int]
    """By how many pixels an overlap with anything can grow with a shift of one row, of one column."""

    @staticmethod
    def of(mask: MaskArray, first_foreground: int) -> "_Form":
        """Of a mask (H, W) that has foreground."""
        known = _foreground(mask, first_foreground)
        rows, columns = np.flatnonzero(known.any(axis=1)), np.flatnonzero(known.any(axis=0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        values = np.where(known[box], mask[box] + np.uint8(1), np.uint8(0))
        return _Form(values, (_steps(values), _steps(values.T)))


@dataclass(frozen=True)
class KnownMasks:
    """Masks (N, H, W) with what rules out quickly that another one is like them."""

    masks: MaskArray
    first_foreground: int
    class_areas: Ints
    """(N, 256)."""
    row_pixels: Ints
    """(N, H) foreground pixels a row, in ascending order."""
    column_pixels: Ints
    """(N, W)."""

    @staticmethod
    def of(masks: MaskArray, first_foreground: int) -> "KnownMasks":
        """Of masks (N, H, W)."""
        found = [_pixels(mask, first_foreground) for mask in masks]
        areas, rows, columns = (np.stack(side) for side in zip(*found, strict=True))
        return KnownMasks(masks, first_foreground, areas, np.sort(rows), np.sort(columns))

    def has_like(self, mask: MaskArray) -> bool:
        """Whether the foreground of a mask (H, W) has an IoU of 0.9 with one of these, under mirroring and shifts."""
        areas, rows, columns = _pixels(mask, self.first_foreground)
        area, known_areas = areas.sum(), self.class_areas.sum(axis=1)
        if area == 0:
            return bool((known_areas == 0).any())
        overlaps = np.minimum(self.class_areas, areas).sum(axis=1)
        # Sorted sides overlap most, so no order, mirrored or shifted, of rows or columns gives more.
        for known, own in ((self.row_pixels, rows), (self.column_pixels, columns)):
            overlaps = np.minimum(overlaps, np.minimum(known, np.sort(own)).sum(axis=1))
        shares = overlaps / np.maximum(known_areas + area - overlaps, 1)
        order = np.argsort(-shares, kind="stable")
        candidates = order[shares[order] >= NEW_BELOW]
        if not len(candidates):
            return False
        form = _Form.of(mask, self.first_foreground)
        return any(self._is_like(form, mask, index) for index in candidates)

    def _is_like(self, form: _Form, mask: MaskArray, index: int) -> bool:
        other = _Form.of(self.masks[index], self.first_foreground)
        limit = _Limit(int((form.values > 0).sum() + (other.values > 0).sum()))
        steepness = [min(pair) for pair in zip(form.steepness, other.steepness, strict=True)]
        for view in (form.values, form.values[::-1], form.values[:, ::-1], form.values[::-1, ::-1]):
            reached = _reaches(view, other.values, limit, steepness)
            if reached is None:
                return most_alike(mask, self.masks[index : index + 1], self.first_foreground) >= NEW_BELOW
            if reached:
                return True
        return False


@dataclass(frozen=True)
class _Limit:
    """The overlap that two masks of that many pixels together need to be alike."""

    together: int

    def reached_by(self, overlap: int | Ints) -> NDArray[np.bool_]:
        return np.asarray(overlap / (self.together - np.asarray(overlap)) >= NEW_BELOW)


def _reaches(view: MaskArray, other: MaskArray, limit: _Limit, steepness: list[int]) -> bool | None:
    """Whether some shift of `view` over `other` reaches the limit; None where counting takes too long.

    Shifts are looked at in rectangles, by their middle: no shift in one has an overlap greater than the middle's and
    what can be gained on the way. A rectangle that may hold a good shift is cut into four.
    """
    ranges = [_possible((view > 0).sum(axis=axis), (other > 0).sum(axis=axis), limit) for axis in (1, 0)]
    if not all(ranges):
        return False
    waiting = [(*ranges[0], *ranges[1])]
    for _ in range(MOST_OVERLAPS):
        if not waiting:
            return False
        top, bottom, left, right = waiting.pop()
        row, column = (top + bottom) // 2, (left + right) // 2
        overlap = _overlap(view, other, row, column)
        if limit.reached_by(overlap):
            return True
        most = overlap + (bottom - row) * steepness[0] + (right - column) * steepness[1]
        if (top, left) != (bottom, right) and limit.reached_by(min(most, limit.together // 2)):
            waiting += list(_quarters(top, bottom, left, right))
    return None


def _quarters(top: int, bottom: int, left: int, right: int) -> Iterator[tuple[int, int, int, int]]:
    row, column = (top + bottom) // 2, (left + right) // 2
    for rows in ((top, row), (row + 1, bottom)):
        for columns in ((left, column), (column + 1, right)):
            if rows[0] <= rows[1] and columns[0] <= columns[1]:
                yield (*rows, *columns)


def _possible(own: Ints, other: Ints, limit: _Limit) -> tuple[int, ...]:
    """First and last shift of pixels a row (or a column) at which the limit could be reached, if any."""
    windows = sliding_window_view(np.pad(other, len(own) - 1), len(own))
    reached = np.flatnonzero(limit.reached_by(np.minimum(windows, own).sum(axis=1)))
    return (int(reached[0]) - len(own) + 1, int(reached[-1]) - len(own) + 1) if len(reached) else ()


def _overlap(view: MaskArray, other: MaskArray, row: int, column: int) -> int:
    """Pixels of the same class with the first pixel of `view` at (row, column) of `other`."""
    own, its = [], []
    for shift, length, total in zip((row, column), view.shape, other.shape, strict=True):
        first, last = max(0, shift), min(total, shift + length)
        its.append(slice(first, max(first, last)))
        own.append(slice(first - shift, max(first, last) - shift))
    part = view[own[0], own[1]]
    return int(np.count_nonzero((part == other[its[0], its[1]]) & (part > 0)))


def _steps(values: MaskArray) -> int:
    """Pixels of foreground that differ from what lies before (or behind) them in the first direction."""
    padded = np.pad(values, ((1, 1), (0, 0)))
    differs = padded[1:] != padded[:-1]
    return int(max((differs & (padded[1:] > 0)).sum(), (differs & (padded[:-1] > 0)).sum()))


def _foreground(mask: MaskArray, first_foreground: int) -> NDArray[np.bool_]:
    known: NDArray[np.bool_] = (mask >= first_foreground) & (mask != IGNORE_INDEX)
    return known


def _pixels(mask: MaskArray, first_foreground: int) -> tuple[Ints, Ints, Ints]:
    """Foreground pixels of a mask (H, W) a class (256,), a row (H,) and a column (W,)."""
    known = _foreground(mask, first_foreground)
    areas = np.bincount(mask.ravel(), minlength=256)
    areas[:first_foreground] = areas[IGNORE_INDEX] = 0
    return areas, known.sum(axis=1), known.sum(axis=0)
