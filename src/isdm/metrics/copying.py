"""Are synthetic pictures copies of training pictures? Nearest neighbours, the ratio test, and a p-value.

A picture that is close to a training picture is not yet a copy: all pictures of one kind are alike. The ratio test
asks whether it is much closer to one training picture than to any other (d1 < d2 / 3, Yoon et al. 2023, "Diffusion
probabilistic models generalize when they fail to memorize"). What the same test says of real pictures that the
generator never saw is the standard, and a permutation test over groups says whether the difference is chance.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COPY_RATIO = 1 / 3
COPY_EXCESS = 0.02
"""Share of copies beyond that of held-out pictures below which nobody is called a copier."""
COPY_GROUPS = 3
"""Groups with copies beyond as many as held-out pictures have: so many are no accident of a single picture."""
SIDE_PX = 32
"""Longer side of the reduced pictures that are compared pixel by pixel."""
REACH_PX = 2
"""Shifts of the reduced pictures that make no difference."""

_QUERIES_AT_ONCE = 1024
_REFERENCES_AT_ONCE = 128

Images = NDArray[np.uint8 | np.uint16]
Floats = NDArray[np.float64]
Single = NDArray[np.float32]
Indices = NDArray[np.int64]
Verdict = Literal["copies", "closer", "no sign"]
Test = Literal["p_copies", "p_closer"]


class Neighbours(NamedTuple):
    """The nearest reference of each of N queries, and the nearest one of another group than that."""

    nearest: Indices
    second: Indices
    d1: Floats
    d2: Floats


def ratios(neighbours: Neighbours) -> Floats:
    """d1 / d2 (N,): 1 where two groups are equally near, 0 for an exact copy; undefined without a second group."""
    d1, d2 = neighbours.d1, neighbours.d2
    with np.errstate(invalid="ignore", divide="ignore"):
        known = np.where(d2 > 0, d1 / d2, np.where(d1 > 0, np.nan, 1.0))
    return np.where(np.isinf(d2), np.nan, known)


def nearest_two(
    queries: NDArray[np.floating],
    references: NDArray[np.floating],
    reference_groups: Sequence[str],
    query_groups: Sequence[str] | None = None,
) -> Neighbours:
    """Nearest references by Euclidean distance.

    Args:
        queries: (N, D).
        references: (M, D).
        reference_groups: (M,) pictures of one group show the same thing.
        query_groups: (N,) references of a query's own group are left out: for real pictures among themselves.

    Returns:
        Distances are infinite where no reference is left.
    """
    squares = (references.astype(np.float64) ** 2).sum(axis=1)

    def distances() -> Iterator[tuple[slice, Single]]:
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            part = slice(start, start + _QUERIES_AT_ONCE)
            chunk = queries[part].astype(np.float64)
            squared = (chunk**2).sum(axis=1)[:, None] + squares - 2 * (chunk @ references.T.astype(np.float64))
            yield part, np.sqrt(np.maximum(squared, 0)).astype(np.float32)

    return _two(len(queries), distances(), reference_groups, query_groups)


def nearest_two_pixels(
    queries: Images, references: Images, reference_groups: Sequence[str], query_groups: Sequence[str] | None = None
) -> Neighbours:
    """Nearest references by their pixels, whatever the brightness, small shifts and mirroring.

    Pictures are reduced to 32 pixels and freed of each channel's mean; the distance is the root mean square
    difference of the query's middle to the best of all shifts by up to 2 pixels of the reference and of its
    mirror image, in units of the full range.

    Args:
        queries: (N, H, W, C).
        references: (M, H, W, C) of the same size.
        reference_groups: see `nearest_two`.
        query_groups: see `nearest_two`.
    """
    assert queries.shape[1:] == references.shape[1:], "pictures of one size are compared"
    small = reduced(references)
    reach = min(REACH_PX, (min(small.shape[1:3]) - 1) // 2)

    def distances() -> Iterator[tuple[slice, Single]]:
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            part = slice(start, start + _QUERIES_AT_ONCE)
            height, width = small.shape[1:3]
            middle = reduced(queries[part])[:, reach : height - reach, reach : width - reach]
            found = np.empty((len(middle), len(small)), np.float32)
            for first in range(0, len(small), _REFERENCES_AT_ONCE):
                columns = slice(first, first + _REFERENCES_AT_ONCE)
                found[:, columns] = _best_of_views(middle, small[columns], reach)
            yield part, found

    return _two(len(queries), distances(), reference_groups, query_groups)


def reduced(images: Images) -> Single:
    """Pictures (N, H, W, C) with their longer side at most `SIDE_PX`, values in [0, 1] float32."""
    height, width = images.shape[1:3]
    scale = min(1.0, SIDE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    largest = np.iinfo(images.dtype).max
    small = np.empty((len(images), size[1], size[0], images.shape[3]), np.float32)
    for row, image in enumerate(images):
        for channel in range(images.shape[3]):
            plane = Image.fromarray(image[:, :, channel].astype(np.float32))
            small[row, :, :, channel] = np.asarray(plane.resize(size, Image.Resampling.BOX)) / largest
    return small


def _best_of_views(middle: Single, references: Single, reach: int) -> Single:
    """Root mean square differences (N, M) of pictures (N, h, w, C) to the best view of references (M, H, W, C)."""
    height, width = middle.shape[1:3]
    query = _without_mean(middle)
    best = np.full((len(middle), len(references)), np.inf, np.float32)
    query_squares = (query * query).sum(axis=1)[:, None]
    for picture in (references, references[:, :, ::-1]):
        for y in range(2 * reach + 1):
            for x in range(2 * reach + 1):
                view = _without_mean(picture[:, y : y + height, x : x + width])
                squared = query_squares + (view * view).sum(axis=1) - 2 * (query @ view.T)
                np.minimum(best, squared, out=best)
    found: Single = np.sqrt(np.maximum(best, 0) / query.shape[1]).astype(np.float32)
    return found


def _without_mean(pictures: Single) -> Single:
    """Pictures (N, h, w, C) less each channel's mean, flat (N, h w C)."""
    flat: Single = (pictures - pictures.mean(axis=(1, 2), keepdims=True)).reshape(len(pictures), -1)
    return flat


def _two(
    count: int,
    distances: Iterator[tuple[slice, Single]],
    reference_groups: Sequence[str],
    query_groups: Sequence[str] | None,
) -> Neighbours:
    names, groups = np.unique(np.asarray(reference_groups, dtype=object).astype(str), return_inverse=True)
    number = {str(name): place for place, name in enumerate(names)}
    result = Neighbours(np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count), np.empty(count))
    for part, table in distances:
        rows = np.arange(len(table))
        if query_groups is not None:
            own = np.array([number.get(str(name), -1) for name in query_groups[part]])
            table[own[:, None] == groups] = np.inf
        nearest = table.argmin(axis=1)
        d1 = table[rows, nearest].astype(np.float64)
        table[groups[nearest][:, None] == groups] = np.inf
        second = table.argmin(axis=1)
        for field, values in zip(result, (nearest, second, d1, table[rows, second]), strict=True):
            field[part] = values
    return result


@dataclass(frozen=True)
class CopyTest:
    """Synthetic against held-out real pictures, by one measure."""

    share_synthetic: float
    """Share of synthetic pictures with d1 < d2 / 3."""
    share_held_out: float
    median_ratio_synthetic: float
    median_ratio_held_out: float
    p_copies: float
    """Chance of so much larger a share of copies, if synthetic pictures were as new as held-out ones."""
    p_closer: float
    """Chance of so much smaller ratios, if they were as new."""
    num_groups_synthetic: int
    num_groups_held_out: int
    smallest_p: float
    """The least p-value that so many groups and permutations can give."""
    excess_groups: float
    """Synthetic groups with a copy, beyond as many as have one if the share is that of held-out groups."""


def copy_test(
    synthetic: Floats,
    synthetic_groups: Sequence[str],
    held_out: Floats,
    held_out_groups: Sequence[str],
    *,
    permutations: int,
    seed: int,
) -> CopyTest:
    """Test whether synthetic pictures are copies more often than new real pictures look like it.

    Pictures of a group (one real thing, or one source of masks) are not independent, so groups are the units:
    each counts with its mean, and groups are permuted between the two sides. For the ratios the statistic is
    Welch's t, which keeps a permutation test valid where the two sides spread differently (Janssen 1997); for the
    share of copies it is the difference of the means.

    Args:
        synthetic: (N,) ratios d1 / d2.
        synthetic_groups: (N,).
        held_out: (M,) the same of real pictures that the generator did not see.
        held_out_groups: (M,).
        permutations: number of them.
        seed: of the permutations.
    """
    sides = [_by_group(synthetic, synthetic_groups), _by_group(held_out, held_out_groups)]
    logs, flags = (np.concatenate([side[kind] for side in sides]) for kind in (0, 1))
    first = len(sides[0][0])
    rng = np.random.default_rng((seed, 0xC0B1))
    orders = np.argsort(rng.random((permutations, len(logs))), axis=1)
    observed = np.arange(len(logs))[None]
    p_closer = _p_value(-_welch(logs[observed], first), -_welch(logs[orders], first))
    p_copies = _p_value(_difference(flags[observed], first), _difference(flags[orders], first))
    splits = _choose(len(logs), first)
    with_copies = [int((side[1] > 0).sum()) for side in sides]
    return CopyTest(
        float((synthetic < COPY_RATIO).mean()),
        float((held_out < COPY_RATIO).mean()),
        float(np.nanmedian(synthetic)),
        float(np.nanmedian(held_out)),
        p_copies,
        p_closer,
        first,
        len(logs) - first,
        max(1 / (permutations + 1), 1 / splits),
        with_copies[0] - with_copies[1] * first / (len(logs) - first),
    )


def _by_group(values: Floats, groups: Sequence[str]) -> tuple[Floats, Floats]:
    """Mean log ratio and share of copies of each group."""
    known = ~np.isnan(values)
    names, number = np.unique(np.asarray(groups, dtype=object).astype(str)[known], return_inverse=True)
    counts = np.bincount(number, minlength=len(names))
    logs = np.log(np.maximum(values[known], 1e-6))
    return (
        np.bincount(number, logs, len(names)) / counts,
        np.bincount(number, values[known] < COPY_RATIO, len(names)) / counts,
    )


def _welch(values: Floats, first: int) -> Floats:
    """Welch's t of the first `first` of values (P, G) against the rest; 0 where a side has no spread to tell."""
    one, other = values[:, :first], values[:, first:]
    if one.shape[1] < 2 or other.shape[1] < 2:
        return _difference(values, first)
    spread = one.var(axis=1, ddof=1) / one.shape[1] + other.var(axis=1, ddof=1) / other.shape[1]
    statistic: Floats = (one.mean(axis=1) - other.mean(axis=1)) / np.sqrt(np.maximum(spread, 1e-12))
    return statistic


def _difference(values: Floats, first: int) -> Floats:
    """Mean of the first `first` of values (P, G) less that of the rest."""
    result: Floats = values[:, :first].mean(axis=1) - values[:, first:].mean(axis=1)
    return result


def _p_value(observed: Floats, permuted: Floats) -> float:
    """Share of permutations with a statistic at least as large, the observed one among them."""
    return float((1 + (permuted >= observed[0] - 1e-12).sum()) / (1 + len(permuted)))


def _choose(total: int, chosen: int) -> float:
    """Number of ways to choose, as a float that may be huge."""
    ways = 1.0
    for k in range(min(chosen, total - chosen)):
        ways = min(ways * (total - k) / (k + 1), 1e18)
    return ways


class Decision(NamedTuple):
    """A verdict, and the test of which measure decided it; of "no sign" none did."""

    verdict: Verdict
    measure: str | None = None
    test: Test | None = None
    p: float | None = None


def decide(tests: Mapping[str, CopyTest], significance: float) -> Decision:
    """What the measures say together; the p-values of all their tests are corrected (Bonferroni).

    `copies`: there are more copies than among held-out real pictures, beyond chance and by two in a hundred at
    least. Or the pictures are closer to single training pictures than held-out ones are, and there are more copies
    that are no accident: beyond chance by the uncorrected p-value, or in three groups at least. `closer`: they are
    closer, but not shown to be copies; the layout of a training mask can do that.
    """
    level = level_of(len(tests), significance)
    by_copies: list[tuple[float, str]] = []
    by_closer: list[tuple[float, str]] = []
    closer: list[tuple[float, str]] = []
    for name, test in tests.items():
        many = test.share_synthetic - test.share_held_out >= COPY_EXCESS
        no_accident = test.p_copies < significance or test.excess_groups >= COPY_GROUPS
        if many and test.p_copies < level:
            by_copies.append((test.p_copies, name))
        if test.p_closer < level:
            (by_closer if many and no_accident else closer).append((test.p_closer, name))
    if by_copies:
        p, name = min(by_copies)
        return Decision("copies", name, "p_copies", p)
    if by_closer or closer:
        p, name = min(by_closer or closer)
        return Decision("copies" if by_closer else "closer", name, "p_closer", p)
    return Decision("no sign")


def verdict(tests: Mapping[str, CopyTest], significance: float) -> Verdict:
    """The verdict alone; see `decide`."""
    return decide(tests, significance).verdict


def level_of(num_measures: int, significance: float) -> float:
    """What a single p-value must stay below: each measure has two tests."""
    return significance / (2 * num_measures)
