"""Intervals and tests for what a study measures: test images come in groups, trainings in repeats.

A study crosses R repeats (training seeds) with G test groups (what belongs together, such as all photographs of one
part). Both are samples: of trainings, and of test objects. Everything measured is a mean over K classes of ratios of
sums, such as the IoU on pooled pixels, so its chance is worked out in two steps: the jackknife over groups turns each
repeat's measure into one *pseudo-value* a group (Efron and Tibshirani 1993, chapter 11), and a two-way layout of
these R x G values without replication separates the chance of groups from that of repeats (Searle, Casella and
McCulloch 1992). `docs/decisions/intervals.md` says why not the bootstrap: with three repeats it cannot know their
spread.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Floats = NDArray[np.float64]
Ratios = NDArray[np.float64]
"""(R, G, K, 2): numerators and denominators of K ratios in each repeat and group."""

ALPHA = 0.05
POWER = 0.8
HELD = 0.99
"""Groups count for a ratio that together hold this share of it, the largest first."""
_LEAST_P = 1e-9


@dataclass(frozen=True)
class Chance:
    """What separates a measured mean from the truth: the variance that groups and that repeats bring to it."""

    of_groups: float
    """Variance of the mean by the choice of groups and what is left unexplained; NaN with fewer than two groups."""
    of_repeats: float
    """Variance of the mean by the choice of repeats beyond that, 0 or more; NaN with a single repeat."""
    num_groups: int
    num_repeats: int
    group_freedom: float
    """Degrees of freedom of `of_groups`: that many groups less one as there are, or as show what is measured."""

    def half_width(self, alpha: float) -> float:
        """Half the width of the interval with confidence 1 - alpha.

        Each source counts with its own t quantile (Howe 1974): the few degrees of freedom of the repeats weigh
        as much as their share of the variance. With a single repeat the interval is one over groups alone.
        """
        if np.isnan(self.of_groups):
            return float("nan")
        squared = self.of_groups * _t(alpha, self.group_freedom) ** 2
        if not np.isnan(self.of_repeats) and self.of_repeats > 0:
            squared += self.of_repeats * _t(alpha, self.num_repeats - 1) ** 2
        return float(np.sqrt(squared))

    def p_value(self, value: float) -> float:
        """The smallest alpha whose interval around `value` leaves out zero (two-sided)."""
        if np.isnan(self.of_groups) or np.isnan(value):
            return float("nan")
        if value == 0 or self.half_width(_LEAST_P) < abs(value):
            return 1.0 if value == 0 else _LEAST_P
        found = optimize.brentq(lambda log: self.half_width(float(np.exp(log))) - abs(value), np.log(_LEAST_P), 0.0)
        return float(np.exp(found))

    def smallest_effect(self, alpha: float = ALPHA, power: float = POWER) -> float:
        """The true effect that a test at `alpha` would find with probability `power`; NaN where nothing varies."""
        found = self.half_width(alpha) + self.half_width(2 * (1 - power))
        return found if found > 0 else float("nan")


@dataclass(frozen=True)
class Estimate:
    """A measured value or difference with its 95 % interval."""

    value: float
    lower: float
    upper: float
    p_value: float
    """Two-sided, that the true value is zero."""
    smallest_effect: float
    """What a test at the given level would have shown with 80 % power."""
    num_groups: int
    num_repeats: int


def _t(alpha: float, degrees_of_freedom: float) -> float:
    return -float(special.stdtrit(degrees_of_freedom, alpha / 2))


def pseudo_values(ratios: Ratios) -> Floats:
    """Jackknife pseudo-values over groups of the mean of ratios, (R, G); each repeat's mean is its measured value.

    A ratio whose denominator is zero is left out of the mean. Where it is zero without one group (a class that a
    single group shows), that group's influence cannot be known and counts as none; see `group_freedom`.
    """
    num_groups = ratios.shape[1]
    total = ratios.sum(axis=1)
    overall = _ratio(total)
    without = _ratio(total[:, None] - ratios)
    without = np.where(np.isnan(without), overall[:, None], without)
    measured = _mean_defined(overall)
    influence = (num_groups - 1) * (measured[:, None] - _mean_defined(without))
    centred: Floats = influence - influence.mean(axis=1, keepdims=True)
    return measured[:, None] + centred


def _ratio(sums: Ratios) -> Floats:
    top, bottom = sums[..., 0], sums[..., 1]
    found: Floats = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
    return found


def _mean_defined(values: Floats) -> Floats:
    """Mean over the last axis of what is not NaN; NaN where nothing is."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=-1)
    total = np.where(defined, values, 0.0).sum(axis=-1)
    found: Floats = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return found


def group_freedom(by_class: Floats, held: Floats) -> float:
    """Degrees of freedom that groups give to a mean of ratios, or to the difference of two.

    A class that few groups show varies as few values do, however many groups there are without it. Each class counts
    with its own groups, by its share of the variance (Satterthwaite 1946).

    Args:
        by_class: pseudo-values (K, R, G) of each class alone.
        held: (G, K) how much of each class a group shows.

    Returns:
        At most G - 1; NaN where a class is shown by a single group, or none is shown at all.
    """
    shown = np.flatnonzero(held.sum(axis=0) > 0)
    freedom = np.array([_holders(held[:, place]) - 1 for place in shown], float)
    if not len(shown) or freedom.min() == 0:
        return float("nan")
    variances = by_class[shown].mean(axis=1).var(axis=1)
    if not variances.sum() > 0:
        return float(freedom.min())
    satterthwaite = float(variances.sum() ** 2 / (variances**2 / freedom).sum())
    return min(satterthwaite, float(by_class.shape[2] - 1))


def _holders(amounts: Floats) -> int:
    """How many groups, the largest first, hold together `HELD` of amounts (G,)."""
    shares = np.sort(amounts)[::-1].cumsum() / amounts.sum()
    return int(np.searchsorted(shares, HELD - 1e-9)) + 1


def chance_of(values: Floats, freedom: float | None = None) -> Chance:
    """Separate the variance of the mean of a two-way layout (R, G) by groups and repeats.

    `freedom` is the degrees of freedom of the groups, one less than they are unless given; NaN tells nothing.

    With mean squares MS: E[MS groups] = residual + R sigma_g², E[MS repeats] = residual + G sigma_r²; the variance
    of the mean is (MS groups + max(MS repeats - MS residual, 0)) / (R G).
    """
    num_repeats, num_groups = values.shape
    freedom = num_groups - 1 if freedom is None else freedom
    if num_groups < 2 or np.isnan(freedom):
        return Chance(float("nan"), float("nan"), num_groups, num_repeats, freedom)
    by_repeat, by_group = values.mean(axis=1), values.mean(axis=0)
    groups = num_repeats * by_group.var(ddof=1)
    size = num_repeats * num_groups
    if num_repeats < 2:
        return Chance(float(groups / size), float("nan"), num_groups, num_repeats, freedom)
    repeats = num_groups * by_repeat.var(ddof=1)
    left = values - by_repeat[:, None] - by_group[None] + values.mean()
    residual = (left**2).sum() / ((num_repeats - 1) * (num_groups - 1))
    of_repeats = float(max(repeats - residual, 0.0) / size)
    return Chance(float(groups / size), of_repeats, num_groups, num_repeats, freedom)


def estimate(values: Floats, freedom: float | None = None, level: float = ALPHA) -> Estimate:
    """The mean of pseudo-values (R, G) with its interval; `level` is that of the test whose power is worked out."""
    value = float(values.mean())
    chance = chance_of(values, freedom)
    half = chance.half_width(ALPHA)
    return Estimate(
        value,
        value - half,
        value + half,
        chance.p_value(value),
        chance.smallest_effect(level),
        chance.num_groups,
        chance.num_repeats,
    )


def measure(ratios: Ratios, held: Floats | None = None) -> Estimate:
    """A mean of ratios (R, G, K, 2) with its interval; `held`: see `difference`."""
    held = ratios[..., 1].sum(axis=0) if held is None else held
    return estimate(pseudo_values(ratios), group_freedom(_by_class(ratios), held))


def difference(ratios: Ratios, baseline: Ratios, held: Floats | None = None, level: float = ALPHA) -> Estimate:
    """How much larger a measure is than a baseline's, by the same groups and repeats: (R, G, K, 2) each.

    Repeats are paired by their seeds, groups because both are tested on the same images. `held` (G, K) is how much of
    each class a group shows; the denominators unless given. `level`: see `estimate`.
    """
    assert ratios.shape == baseline.shape, "both sides are measured on the same groups and repeats"
    held = (ratios + baseline)[..., 1].sum(axis=0) if held is None else held
    freedom = group_freedom(_by_class(ratios) - _by_class(baseline), held)
    return estimate(pseudo_values(ratios) - pseudo_values(baseline), freedom, level)


def _by_class(ratios: Ratios) -> Floats:
    """Pseudo-values (K, R, G) of each ratio alone."""
    return np.stack([pseudo_values(ratios[:, :, [place]]) for place in range(ratios.shape[2])])


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for looking at several: the family-wise error stays below alpha (Holm 1979).

    NaN (nothing could be tested) is left out of the family and stays NaN.
    """
    values = np.array(p_values, np.float64)
    adjusted = np.full(len(values), np.nan)
    order = [int(place) for place in np.argsort(values) if not np.isnan(values[place])]
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, float(values[place]) * (len(order) - rank)))
        adjusted[place] = highest
    return [float(value) for value in adjusted]
