"""Find pictures that show the same thing, and keep them together.

Comparing all pairs closely would take a time that grows with the square of their number, so there are two
steps: a coarse descriptor of each picture gives its nearest neighbours by one matrix product at a time, and
only those are compared block by block (`similarity`). What counts as the same is read off the pictures
themselves: unrelated pictures, drawn at random, tell how alike pictures of this kind are anyhow.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from isdm.data.matches import CERTAIN_SIMILARITY, Matches, joined
from isdm.data.similarity import SIDE_PX, Floats, packed, prepared_windows, similarities, unpacked, without_light
from isdm.on_disk import RowsOnDisk
from isdm.parallel import in_threads, without_blas_threads
from isdm.progress import progress

NEIGHBOURS = 30
"""Nearest pictures of each by the coarse descriptors that are compared closely."""
UNRELATED_PAIRS = 2000
"""Random pairs at most, which tell how alike unrelated pictures are."""
DEVIATIONS = 5.7
"""Same are pictures that are alike by so many (robust) standard deviations more than unrelated ones.

The photographs of magnetic tiles chose it: from 6 on twins are missed, below it more groups grow to the limit.
"""
LEAST_SIMILARITY = 0.35

_COARSE_PX = ((32, 2.0), (32, 4.0))
"""Side and light's sigma of the coarse descriptors."""
MOST_IN_MEMORY = 4000
"""Pictures without light (18 KB each) that are kept in memory."""
_ROWS_AT_ONCE = 512
_COLUMNS_AT_ONCE = 4096
_CHANGED_AT_ONCE = 128
_FIRSTS_AT_ONCE = 256
_NEIGHBOURS_AT_ONCE = 4096
_PICTURES_AT_ONCE = 64

Indices = NDArray[np.integer]
Thumbnails = NDArray[np.uint8] | RowsOnDisk
Numbers = NDArray[np.floating] | NDArray[np.integer]
Rows = NDArray[Any] | RowsOnDisk
"""Made of thumbnails; on disk where they are many."""


def find_near_duplicates(thumbnails: Thumbnails, deviations: float = DEVIATIONS) -> Matches:
    """Find the pairs of pictures that show the same thing.

    Args:
        thumbnails: (N, SIDE_PX, SIDE_PX) of `similarity.thumbnail`; may lie on disk.
        deviations: how much more alike than unrelated pictures they must be.

    Returns:
        The pairs, the most similar ones first.
    """
    count = len(thumbnails)
    if count < 2:
        return Matches.of([])
    with without_blas_threads():  # ours are enough
        pictures = _without_light(thumbnails)
        threshold = _threshold(pictures, deviations)
        neighbours = _neighbours(thumbnails)
        found = []
        with progress("Comparing pictures", total=count, unit="pictures") as bar:
            for start in range(0, count, _FIRSTS_AT_ONCE):
                part = slice(start, min(start + _FIRSTS_AT_ONCE, count))
                found.append(_alike(pictures, *_candidates(neighbours, part), threshold))
                bar.advance(part.stop - part.start)
    return joined(found).most_similar_first()


def find_same(
    thumbnails: Thumbnails, digests: Sequence[str] | NDArray[np.bytes_], deviations: float = DEVIATIONS
) -> Matches:
    """Find exact and near duplicates among some pictures.

    Args:
        thumbnails: (N, SIDE_PX, SIDE_PX) of all pictures.
        digests: (N,) hash of the decoded pixels of each picture; "" for one that is not to be compared.
        deviations: see `find_near_duplicates`.

    Returns:
        Exact duplicates, each with the first of its kind, then near ones, the most similar first.
    """
    hashes = np.asarray(digests, np.bytes_)
    is_compared = hashes != b""
    _, first_of_kind, kind = np.unique(hashes, return_index=True, return_inverse=True)
    firsts = first_of_kind[kind].astype(np.int32)
    seconds = np.flatnonzero(is_compared & (firsts != np.arange(len(hashes)))).astype(np.int32)
    told = Matches(firsts[seconds], seconds, np.ones(len(seconds), np.float32))
    near = find_near_duplicates(thumbnails, deviations)
    is_new = ~np.isin(near.keys(len(digests)), told.keys(len(digests)))
    return joined([told, near[is_new & is_compared[near.firsts] & is_compared[near.seconds]]])


def _common_part(thumbnails: Thumbnails) -> Floats | None:
    """What all pictures (N, S, S) show, such as a frame: their mean without light; None for few pictures."""
    if len(thumbnails) < 2 * _PICTURES_AT_ONCE:
        return None
    chosen = np.linspace(0, len(thumbnails) - 1, min(len(thumbnails), 1000)).astype(int)
    mean = thumbnails[chosen].mean(axis=0)
    common: Floats = (mean - ndimage.gaussian_filter(mean, 2.0, mode="reflect")).astype(np.float32)
    return common


def _without_light(thumbnails: Thumbnails) -> Rows:
    """All pictures (N, S, S) of `without_light`, packed."""
    common = _common_part(thumbnails)
    return _each(thumbnails, lambda part: packed(without_light(part, common)))


def _each(thumbnails: Thumbnails, change: Callable[[NDArray[np.uint8]], Numbers]) -> Rows:
    """Rows that `change` makes of thumbnails, some at a time on all cores; on disk where they are many."""
    parts = [slice(start, start + _CHANGED_AT_ONCE) for start in range(0, len(thumbnails), _CHANGED_AT_ONCE)]
    changed = in_threads(lambda part: change(thumbnails[part]), parts)
    if len(thumbnails) <= MOST_IN_MEMORY:
        return np.concatenate(list(changed))
    rows: RowsOnDisk | None = None
    for part, some in zip(parts, changed, strict=True):
        rows = rows or RowsOnDisk(len(thumbnails), some.shape[1:], some.dtype)
        rows.write(part.start, some)
    assert rows is not None, "there are many"
    return rows


def _neighbours(thumbnails: Thumbnails) -> RowsOnDisk:
    """The nearest pictures (N, M) of each by either coarse descriptor, in no order."""
    count = len(thumbnails)
    wanted = min(NEIGHBOURS, count - 1)
    neighbours = RowsOnDisk(count, (len(_COARSE_PX), wanted), np.int32)
    every = [_each(thumbnails, partial(_coarse, side=side, sigma=sigma)) for side, sigma in _COARSE_PX]
    starts = range(0, count, _ROWS_AT_ONCE)

    def nearest(start: int) -> Indices:
        return np.stack([_nearest(coarse, wanted, start) for coarse in every], axis=1)

    with progress("Sorting pictures", total=count, unit="pictures") as bar:
        for start, some in zip(starts, in_threads(nearest, starts), strict=True):
            neighbours.write(start, some)
            bar.advance(len(some))
    return neighbours


def _candidates(neighbours: RowsOnDisk, part: slice) -> tuple[Indices, Indices]:
    """Pairs (first < second) of neighbours whose first is in `part`: each once, sorted."""
    count = len(neighbours)
    keys = []
    for start in range(part.start, count, _NEIGHBOURS_AT_ONCE):  # a pair may be told by its second alone
        found = neighbours[start : start + _NEIGHBOURS_AT_ONCE].astype(np.int64)
        own = np.arange(start, start + len(found))[:, None, None]
        firsts, seconds = np.minimum(own, found), np.maximum(own, found)
        is_here = (firsts >= part.start) & (firsts < part.stop)
        keys.append(firsts[is_here] * count + seconds[is_here])
    key = np.unique(np.concatenate(keys))
    return key // count, key % count


def _nearest(coarse: Rows, wanted: int, start: int) -> Indices:
    """The pictures (R, wanted) that are nearest to each of those from `start` on, in no order."""
    own = coarse[start : start + _ROWS_AT_ONCE]
    values = np.full((len(own), wanted), -np.inf, np.float32)
    places = np.zeros((len(own), wanted), np.int32)
    for column in range(0, len(coarse), _COLUMNS_AT_ONCE):
        alike = own @ coarse[column : column + _COLUMNS_AT_ONCE].T
        itself = np.arange(len(own)) + start - column
        inside = np.flatnonzero((itself >= 0) & (itself < alike.shape[1]))
        alike[inside, itself[inside]] = -np.inf
        best = _largest(alike, wanted)
        values = np.concatenate([values, np.take_along_axis(alike, best, 1)], axis=1)
        places = np.concatenate([places, (best + column).astype(np.int32)], axis=1)
        best = _largest(values, wanted)
        values, places = np.take_along_axis(values, best, 1), np.take_along_axis(places, best, 1)
    return places


def _largest(values: Floats, wanted: int) -> Indices:
    """Positions (R, up to `wanted`) of the largest values (R, C) of each row, in no order."""
    if values.shape[1] <= wanted:
        return np.broadcast_to(np.arange(values.shape[1]), values.shape)
    return np.argpartition(values, -wanted, axis=1)[:, -wanted:]


def _coarse(thumbnails: NDArray[np.uint8], side: int, sigma: float) -> Floats:
    """Descriptors (N, side * side) of length 1: small pictures without light."""
    factor = SIDE_PX // side
    small = thumbnails.astype(np.float32).reshape(len(thumbnails), side, factor, side, factor).mean(axis=(2, 4))
    fine = small - ndimage.gaussian_filter(small, (0, sigma, sigma), mode="reflect")
    flat: Floats = fine.reshape(len(thumbnails), -1)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return flat


def _threshold(pictures: Rows, deviations: float) -> float:
    """Similarity from which pictures of this kind are the same."""
    rng = np.random.default_rng(0)
    count = len(pictures)
    pairs = rng.integers(0, count, (2, min(UNRELATED_PAIRS, 8 * count)))
    pairs = np.sort(pairs[:, pairs[0] != pairs[1]], axis=0)
    pairs = pairs[:, np.argsort(pairs[0], kind="stable")]
    values = _compared(pictures, pairs[0], pairs[1])
    middle = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    return min(max(middle + deviations * spread, LEAST_SIMILARITY), CERTAIN_SIMILARITY)


def _alike(pictures: Rows, firsts: Indices, seconds: Indices, threshold: float) -> Matches:
    """Those pairs, sorted by their first picture, that are at least so similar."""
    values = _compared(pictures, firsts, seconds)
    chosen = np.flatnonzero(values >= threshold)
    return Matches(firsts[chosen].astype(np.int32), seconds[chosen].astype(np.int32), values[chosen])


def _compared(pictures: Rows, firsts: Indices, seconds: Indices) -> Floats:
    """Similarities (P,) of pairs sorted by their first picture."""

    def of_one(part: slice) -> tuple[slice, Floats]:
        (first,) = unpacked(pictures[firsts[part.start : part.start + 1]])
        return part, similarities(prepared_windows(first), unpacked(pictures[seconds[part]]))

    values = np.zeros(len(firsts), np.float32)
    for part, found in in_threads(of_one, _runs(firsts)):
        values[part] = found
    return values


def _runs(firsts: Indices) -> Iterator[slice]:
    """Slices of equal values, none longer than `_PICTURES_AT_ONCE`."""
    start = 0
    for index in range(1, len(firsts) + 1):
        if index == len(firsts) or firsts[index] != firsts[start] or index - start == _PICTURES_AT_ONCE:
            yield slice(start, index)
            start = index
