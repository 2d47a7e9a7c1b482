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

CONFIDENCE = 0.95
POWER = 0.8
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

    def half_width(self, alpha: float) -> float:
        """Half the width of the interval with confidence 1 - alpha.

        Each source counts with its own t quantile (Howe 1974): the few degrees of freedom of the repeats weigh
        as much as their share of the variance. With a single repeat the interval is one over groups alone.
        """
        if np.isnan(self.of_groups):
            return float("nan")
        squared = self.of_groups * _t(alpha, self.num_groups - 1) ** 2
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

    def smallest_effect(self, alpha: float = 1 - CONFIDENCE, power: float = POWER) -> float:
        """The true effect that a test at `alpha` would find with probability `power`, given this much chance."""
        return self.half_width(alpha) + self.half_width(2 * (1 - power))


@dataclass(frozen=True)
class Estimate:
    """A measured value or difference with its 95 % interval."""

    value: float
    lower: float
    upper: float
    p_value: float
    """Two-sided, that the true value is zero."""
    smallest_effect: float
    """What this design would have shown with 80 % power."""
    num_groups: int
    num_repeats: int


def _t(alpha: float, degrees_of_freedom: int) -> float:
    return -float(special.stdtrit(degrees_of_freedom, alpha / 2))


def pseudo_values(ratios: Ratios) -> Floats:
    """Jackknife pseudo-values over groups of the mean of ratios, (R, G); each repeat's mean is its measured value.

    A ratio whose denominator is zero is left out of the mean. Where it is zero without one group (a class that a
    single group shows), that group's influence cannot be known and counts as none.
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


def chance_of(values: Floats) -> Chance:
    """Separate the variance of the mean of a two-way layout (R, G) by groups and repeats.

    With mean squares MS: E[MS groups] = residual + R sigma_g², E[MS repeats] = residual + G sigma_r²; the variance
    of the mean is (MS groups + max(MS repeats - MS residual, 0)) / (R G).
    """
    num_repeats, num_groups = values.shape
    if num_groups < 2:
        return Chance(float("nan"), float("nan"), num_groups, num_repeats)
    by_repeat, by_group = values.mean(axis=1), values.mean(axis=0)
    groups = num_repeats * by_group.var(ddof=1)
    size = num_repeats * num_groups
    if num_repeats < 2:
        return Chance(float(groups / size), float("nan"), num_groups, num_repeats)
    repeats = num_groups * by_repeat.var(ddof=1)
    left = values - by_repeat[:, None] - by_group[None] + values.mean()
    residual = (left**2).sum() / ((num_repeats - 1) * (num_groups - 1))
    return Chance(float(groups / size), float(max(repeats - residual, 0.0) / size), num_groups, num_repeats)


def estimate(values: Floats) -> Estimate:
    """The mean of pseudo-values (R, G) with its interval."""
    value = float(values.mean())
    chance = chance_of(values)
    half = chance.half_width(1 - CONFIDENCE)
    return Estimate(
        value,
        value - half,
        value + half,
        chance.p_value(value),
        chance.smallest_effect(),
        chance.num_groups,
        chance.num_repeats,
    )


def difference(ratios: Ratios, baseline: Ratios) -> Estimate:
    """How much larger a measure is than a baseline's, by the same groups and repeats: (R, G, K, 2) each.

    Repeats are paired by their seeds, groups because both are tested on the same images.
    """
    assert ratios.shape == baseline.shape, "both sides are measured on the same groups and repeats"
    return estimate(pseudo_values(ratios) - pseudo_values(baseline))


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
