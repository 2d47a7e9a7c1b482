"""How close the distribution of synthetic pictures is to that of real ones, in a feature space, with intervals.

Only products between feature vectors enter, so resampling costs no more features: FID by the singular values of the
centred products (the trace of the square root of two covariances' product is a nuclear norm), KID by its kernel.
Pictures of a group are not independent; intervals leave out or draw whole groups. torchmetrics computes the same
figures from pictures, without intervals; the tests compare with it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.floating]
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

NEIGHBOURS = 5
"""k of precision, recall, density and coverage."""
JACKKNIFE_BLOCKS = 25
"""Parts of a side's groups that are left out in turn for the interval of FID."""
NORMAL_95 = 1.959964
"""Standard deviations on both sides of a normal distribution's mean that hold 95 %."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def plain(self) -> dict[str, float | None]:
        """JSON-ready values; what is undefined is null."""
        return {name: None if np.isnan(x) else round(float(x), 6) for name, x in vars(self).items()}


def groups_of(names: Sequence[str]) -> list[Indices]:
    """Rows of each group."""
    number = np.unique(np.asarray(names, dtype=object).astype(str), return_inverse=True)[1]
    order = np.argsort(number, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(number[order])) + 1)


def fid(
    real: Features, synthetic: Features, real_groups: Sequence[str], synthetic_groups: Sequence[str], seed: int
) -> Estimate:
    """Fréchet distance of two sets of features (Heusel et al. 2017).

    `|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))` for means m and covariances S, 0 or more.

    It is biased upward for few pictures, by more the fewer there are: compare only figures of equal numbers. The
    interval is a normal one by a jackknife over blocks of groups of both sides; a bootstrap, which draws pictures
    twice, would add to the bias.

    Args:
        real: (N, D).
        synthetic: (M, D).
        real_groups: (N,).
        synthetic_groups: (M,).
        seed: of the blocks.
    """
    x, y = real.astype(np.float64), synthetic.astype(np.float64)
    centre = x.mean(axis=0)  # keeps the numbers small; distances do not change
    x, y = x - centre, y - centre
    products = x @ y.T
    squares = (x * x).sum(axis=1), (y * y).sum(axis=1)

    def distance(rows: Indices, columns: Indices) -> float:
        n, m = len(rows), len(columns)
        means = x[rows].mean(axis=0), y[columns].mean(axis=0)
        cross = products[np.ix_(rows, columns)]
        centred = cross - cross.mean(axis=0) - cross.mean(axis=1)[:, None] + cross.mean()
        traces = [
            (square[chosen].sum() - count * (mean @ mean)) / (count - 1)
            for square, chosen, count, mean in zip(squares, (rows, columns), (n, m), means, strict=True)
        ]
        root = np.linalg.svd(centred, compute_uv=False).sum() / np.sqrt((n - 1) * (m - 1))
        difference = means[0] - means[1]
        return float(difference @ difference + sum(traces) - 2 * root)

    everything = np.arange(len(x)), np.arange(len(y))
    value = distance(*everything)
    variance = 0.0
    for side, names in enumerate((real_groups, synthetic_groups)):
        blocks = _blocks(names, seed)
        if len(blocks) < 2:
            return Estimate(value, float("nan"), float("nan"))
        left: list[float] = []
        for block in blocks:
            kept = np.setdiff1d(everything[side], block)
            left.append(distance(kept, everything[1]) if side == 0 else distance(everything[0], kept))
        variance += (len(left) - 1) / len(left) * float(((np.array(left) - np.mean(left)) ** 2).sum())
    half = NORMAL_95 * float(np.sqrt(variance))
    return Estimate(value, value - half, value + half)


def _blocks(names: Sequence[str], seed: int) -> list[Indices]:
    """Rows of random blocks of whole groups."""
    groups = groups_of(names)
    order = np.random.default_rng((seed, 0xB10C)).permutation(len(groups))
    count = min(JACKKNIFE_BLOCKS, len(groups))
    return [np.concatenate([groups[g] for g in part]) for part in np.array_split(order, count)]


def kid(
    real: Features,
    synthetic: Features,
    real_groups: Sequence[str],
    synthetic_groups: Sequence[str],
    *,
    resamples: int,
    seed: int,
) -> Estimate:
    """Kernel distance of two sets of features (Binkowski et al. 2018): the unbiased squared MMD of (x.y / D + 1)^3.

    Unbiased it is only over independent pictures: within a side, pairs of one group do not count. (They are alike
    whatever the other side shows, and would make two sets of the same distribution look different.) The interval is
    a bootstrap over groups, in which a group and its own repetition do not count either. Undefined, with figures
    that are no numbers, where a side has a single group.

    Args:
        real: (N, D).
        synthetic: (M, D).
        real_groups: (N,).
        synthetic_groups: (M,).
        resamples: number of them.
        seed: of the resamples.
    """
    x, y = real.astype(np.float64), synthetic.astype(np.float64)
    sides = [groups_of(names) for names in (real_groups, synthetic_groups)]
    if min(map(len, sides)) < 2:
        return Estimate(float("nan"), float("nan"), float("nan"))
    sizes = [np.array([len(rows) for rows in groups], np.float64) for groups in sides]
    kernels = [
        _sums_by_group((a @ b.T / x.shape[1] + 1) ** 3, sides[one], sides[other])
        for a, b, one, other in ((x, x, 0, 0), (y, y, 1, 1), (x, y, 0, 1))
    ]
    for kernel in kernels[:2]:
        np.fill_diagonal(kernel, 0)

    def distances(*times: Floats) -> Floats:
        """MMD of resamples that draw each group so many times, (R, G) of either side."""
        drawn = [t * size for t, size in zip(times, sizes, strict=True)]
        within = [
            ((t @ kernel) * t).sum(axis=1) / (n.sum(axis=1) ** 2 - (n * n).sum(axis=1))
            for t, kernel, n in zip(times, kernels[:2], drawn, strict=True)
        ]
        across = ((times[0] @ kernels[2]) * times[1]).sum(axis=1) / (drawn[0].sum(axis=1) * drawn[1].sum(axis=1))
        return np.asarray(within[0] + within[1] - 2 * across)

    value = float(distances(*(np.ones((1, len(groups))) for groups in sides))[0])
    rng = np.random.default_rng((seed, 0x1D))
    with np.errstate(invalid="ignore"):  # a resample may draw one group alone
        draws = distances(*(_times(len(groups), resamples, rng) for groups in sides))
    low, high = np.nanquantile(draws, (0.025, 0.975))
    return Estimate(value, float(low), float(high))


def _sums_by_group(kernel: Floats, rows: Sequence[Indices], columns: Sequence[Indices]) -> Floats:
    """Sums (G, H) of a kernel (N, M) over the pictures of each pair of groups."""
    over_columns = np.stack([kernel[:, chosen].sum(axis=1) for chosen in columns], axis=1)
    return np.stack([over_columns[chosen].sum(axis=0) for chosen in rows])


def _times(num_groups: int, resamples: int, rng: np.random.Generator) -> Floats:
    """How often each group is drawn (R, G) with replacement."""
    return rng.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=resamples).astype(np.float64)


def group_multiplicities(names: Sequence[str], resamples: int, rng: np.random.Generator) -> Floats:
    """How often each picture is drawn (R, N) when groups are drawn with replacement."""
    number = np.unique(np.asarray(names, dtype=object).astype(str), return_inverse=True)[1]
    return _times(int(number.max()) + 1, resamples, rng)[:, number]


@dataclass(frozen=True)
class Manifold:
    """Precision and recall, density and coverage."""

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate


def manifold(
    real: Features,
    synthetic: Features,
    real_groups: Sequence[str],
    synthetic_groups: Sequence[str],
    *,
    resamples: int,
    seed: int,
    neighbours: int = NEIGHBOURS,
) -> Manifold:
    """Compare sets by the balls that reach to each picture's k-th neighbour.

    Precision: share of synthetic pictures in the ball of a real one; recall: share of real pictures in the ball of
    a synthetic one (Kynkäänniemi et al. 2019). Density: mean number of real balls around a synthetic picture,
    over k; coverage: share of real balls that hold a synthetic picture (Naeem et al. 2020). A ball reaches to the
    k-th neighbour of another group, or views of one thing would make the balls of real pictures tiny. Intervals
    draw groups of the pictures that are averaged over; the balls stay. Pictures of a single group have no balls: what
    asks for them is undefined, with figures that are no numbers, and so is the interval of a mean over them.

    Args:
        real: (N, D).
        synthetic: (M, D).
        real_groups: (N,).
        synthetic_groups: (M,).
        resamples: number of them.
        seed: of the resamples.
        neighbours: k; fewer where there are not so many pictures of other groups.
    """
    between = _distances(real, synthetic)
    real_radius = _radii(_distances(real, real), real_groups, neighbours)
    synthetic_radius = _radii(_distances(synthetic, synthetic), synthetic_groups, neighbours)
    in_real = between <= real_radius[:, None]
    in_synthetic = between <= synthetic_radius[None, :]
    rng = np.random.default_rng((seed, 0x3A11))

    values = (in_real.max(axis=0), in_synthetic.max(axis=1), in_real.sum(axis=0) / neighbours, in_real.max(axis=1))
    names = (synthetic_groups, real_groups, synthetic_groups, real_groups)
    radii = (real_radius, synthetic_radius, real_radius, real_radius)
    estimates = []
    for value, own, radius in zip(values, names, radii, strict=True):
        found = mean_with_interval(np.asarray(value, np.float64), own, resamples, rng)
        if np.isnan(radius).any():
            found = Estimate(float("nan"), float("nan"), float("nan"))
        elif len(set(own)) < 2:
            found = Estimate(found.value, float("nan"), float("nan"))
        estimates.append(found)
    return Manifold(*estimates)


def mean_with_interval(values: Floats, names: Sequence[str], resamples: int, rng: np.random.Generator) -> Estimate:
    """Mean of values (N,) with a bootstrap interval over groups."""
    weights = group_multiplicities(names, resamples, rng)
    means = (weights @ values) / weights.sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Estimate(float(values.mean()), float(low), float(high))


def _distances(one: Features, other: Features) -> Floats:
    x, y = one.astype(np.float64), other.astype(np.float64)
    squared = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1) - 2 * (x @ y.T)
    distances: Floats = np.sqrt(np.maximum(squared, 0))
    return distances


def _radii(distances: Floats, names: Sequence[str], neighbours: int) -> Floats:
    """Distance (N,) of each picture to its k-th neighbour of another group; no number where there is none."""
    number = np.unique(np.asarray(names, dtype=object).astype(str), return_inverse=True)[1]
    others = np.where(number[:, None] == number, np.inf, distances)
    ordered = np.sort(others, axis=1)
    available = np.minimum(neighbours, np.isfinite(others).sum(axis=1))
    radii = ordered[np.arange(len(ordered)), np.maximum(available - 1, 0)]
    return np.where(available > 0, radii, np.nan)


def diversity(
    features: Features,
    families: Sequence[str],
    *,
    resamples: int,
    seed: int,
    distance: Callable[[Features, Features], Floats] = _distances,
) -> Estimate | None:
    """How different pictures of one mask are: their mean distance over that between pictures of different masks.

    1: the mask leaves all as open as it is among masks; 0: one picture a mask. None where no mask has two pictures.

    Args:
        features: (N, D).
        families: (N,) pictures of one mask have the same.
        resamples: bootstrap over masks.
        seed: of the resamples.
        distance: between features.
    """
    rows = [family for family in groups_of(families) if len(family) > 1]
    if not rows or len(set(families)) < 2:
        return None
    table = distance(features, features)
    number = np.unique(np.asarray(families, dtype=object).astype(str), return_inverse=True)[1]
    apart = float(table[number[:, None] != number].mean())
    within = np.array([table[np.ix_(r, r)].sum() / (len(r) * (len(r) - 1)) for r in rows])
    rng = np.random.default_rng((seed, 0xD1))
    return mean_with_interval(within / apart, [str(k) for k in range(len(rows))], resamples, rng)
