"""Intervals against hand-made cases, scipy, and thousands of simulated studies whose truth is known."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from isdm.metrics.statistics import (
    Chance,
    chance_of,
    difference,
    estimate,
    group_freedom,
    holm,
    pseudo_values,
)

Floats = NDArray[np.float64]


def test_one_repeat_is_the_t_interval_over_groups() -> None:
    values = np.random.default_rng(0).normal(0.3, 1, (1, 25))
    found = estimate(values)
    expected = stats.ttest_1samp(values[0], 0).confidence_interval(0.95)
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high))
    assert found.p_value == pytest.approx(stats.ttest_1samp(values[0], 0).pvalue, rel=1e-6)


def test_repeats_that_differ_in_level_alone_are_the_t_interval_over_repeats() -> None:
    levels = np.array([0.1, 0.4, 0.2, 0.5])
    found = estimate(np.repeat(levels[:, None], 30, axis=1))
    expected = stats.ttest_1samp(levels, 0).confidence_interval(0.95)
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high))


def test_pseudo_values_of_a_mean_are_the_values() -> None:
    """With equal denominators a ratio of sums is a plain mean, and its pseudo-values are the groups' own."""
    hits = np.random.default_rng(1).uniform(0, 1, (3, 12))
    ratios = np.stack([hits, np.ones_like(hits)], axis=-1)[:, :, None]
    assert np.allclose(pseudo_values(ratios), hits)


def test_pseudo_values_keep_each_repeats_measure() -> None:
    rng = np.random.default_rng(2)
    total = rng.uniform(0, 9, (2, 8, 3))
    ratios = np.stack([total * rng.uniform(0, 1, total.shape), total], axis=-1)
    sums = ratios.sum(axis=1)
    assert np.allclose(pseudo_values(ratios).mean(axis=1), (sums[..., 0] / sums[..., 1]).mean(axis=1))


def test_a_class_of_a_single_group_and_one_of_none() -> None:
    ratios = np.zeros((2, 5, 3, 2))
    ratios[:, :, 0] = [1, 2]
    ratios[:, 3, 1] = [3, 4]  # another group's only class; the third class is nowhere
    values = pseudo_values(ratios)
    assert np.allclose(values, (0.5 + 0.75) / 2)


def test_too_little_to_judge() -> None:
    found = estimate(np.full((3, 1), 0.2))
    assert found.value == pytest.approx(0.2)
    assert np.isnan([found.lower, found.p_value, found.smallest_effect]).all()
    same = difference(np.ones((2, 4, 1, 2)), np.ones((2, 4, 1, 2)))
    assert (same.value, same.p_value) == (0, 1)


def test_the_p_value_belongs_to_the_interval() -> None:
    chance = Chance(0.01, 0.02, 20, 3, 19)
    for value in (0.05, 0.2, 0.7, -0.7):
        p_value = chance.p_value(value)
        assert chance.half_width(p_value) == pytest.approx(abs(value), rel=1e-6)
    assert chance.p_value(0.7) < chance.p_value(0.2) < chance.p_value(0.05)


def rare_class(rng: np.random.Generator, num_groups: int, false_pixels: bool) -> tuple[Floats, Floats, Floats]:
    """Two equal rows, five repeats and 20 groups: a common class and one that few groups show; how much of each."""
    shape = (20, 2)
    held = np.exp(rng.normal(4, 0.8, shape))
    held[num_groups:, 1] = 0
    difficulty = rng.normal(0, 0.6, shape)
    sides = []
    for _ in range(2):
        luck = rng.normal(0, 0.1, (5, 1, 2)) + rng.normal(0, 0.4, (5, *shape))
        found = 1 / (1 + np.exp(-(0.4 + difficulty + luck)))
        alarms = held * (1 - found) * 0.8 + false_pixels * np.exp(rng.normal(1, 1, found.shape))
        sides.append(np.stack([held * found, held + alarms], axis=-1))
    return sides[0], sides[1], held


@pytest.mark.parametrize("false_pixels", [False, True])
@pytest.mark.parametrize("classes", [[1], [0, 1]])
@pytest.mark.parametrize("num_groups", [1, 2, 3])
def test_a_class_of_few_groups_makes_no_gains(num_groups: int, classes: list[int], false_pixels: bool) -> None:
    """1,000 studies without an effect; with the freedom of all 20 groups, more of them showed gains."""
    rng = np.random.default_rng(5)
    lower = []
    for _ in range(1000 if num_groups > 1 else 5):
        one, other, held = rare_class(rng, num_groups, false_pixels)
        lower.append(difference(one[:, :, classes], other[:, :, classes], held[:, classes]).lower)
    if num_groups == 1:
        assert np.isnan(lower).all()
    else:
        assert np.mean(np.array(lower) > 0) <= 0.05


def test_freedom_is_that_of_the_groups_that_show_something() -> None:
    rng = np.random.default_rng(6)
    values = rng.normal(0, 1, (2, 3, 12))
    held = np.ones((12, 2))
    assert group_freedom(values, held) == pytest.approx(11)
    held[4:, 0] = 0
    assert group_freedom(values[:1], held[:, :1]) == pytest.approx(3)
    mixed = group_freedom(values, held)
    variances = values.mean(axis=1).var(axis=1, ddof=1)
    assert mixed == pytest.approx(min(variances.sum() ** 2 / (variances[0] ** 2 / 3 + variances[1] ** 2 / 11), 11))
    held[4:, 0] = 1e-4  # a few pixels elsewhere are no group that shows the class
    assert group_freedom(values, held) == pytest.approx(mixed)
    held[1:, 0] = 0
    assert np.isnan(group_freedom(values, held))


def test_nothing_that_varies_says_nothing_of_what_could_be_found() -> None:
    nothing = np.tile([0.0, 9.0], (3, 20, 1, 1))
    found = difference(nothing, nothing)
    assert (found.value, found.p_value) == (0, 1)
    assert np.isnan(found.smallest_effect)


def test_a_corrected_test_needs_a_larger_effect() -> None:
    values = np.random.default_rng(8).normal(0, 1, (5, 30))
    alone, corrected = estimate(values), estimate(values, level=0.05 / 3)
    assert (alone.lower, alone.p_value) == (corrected.lower, corrected.p_value)
    chance = chance_of(values)
    assert corrected.smallest_effect == pytest.approx(chance.half_width(0.05 / 3) + chance.half_width(0.4))
    assert corrected.smallest_effect > alone.smallest_effect


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, float("nan"), 0.02]) == pytest.approx([0.5, float("nan"), 0.04], nan_ok=True)
    assert holm([]) == []


def simulated(
    rng: np.random.Generator, num_repeats: int, num_groups: int, effect: float, spread: float
) -> tuple[Floats, Floats]:
    """Ratios (R, G, 2 classes, 2) of a baseline and of a better row of one study.

    Groups hold one to six images, which share their difficulty; objects differ in size by a factor of ten; a class is
    missing from two groups in five. Each training has luck of its own.
    """
    shape = (num_groups, 2)
    images = rng.integers(1, 7, num_groups)[:, None]
    area = np.exp(rng.normal(4, 0.8, shape)) * images * (rng.random(shape) < 0.6)
    difficulty = rng.normal(0, 0.6, shape)
    sides = []
    for shift in (0.0, effect):
        luck = rng.normal(0, spread, (num_repeats, 1, 2)) + rng.normal(0, 0.3, (num_repeats, *shape))
        found = 1 / (1 + np.exp(-(0.4 + shift + difficulty + rng.normal(0, 0.3, shape) + luck)))
        alarms = area * (1 - found) * 0.8 + np.exp(rng.normal(1, 1, found.shape)) * images * 0.5
        sides.append(np.stack([area * found, area + alarms], axis=-1))
    return sides[0], sides[1]


def mean_ratio(ratios: Floats) -> float:
    sums = ratios.sum(axis=1)
    return float((sums[..., 0] / sums[..., 1]).mean())


@pytest.mark.parametrize(
    ("num_repeats", "num_groups", "spread", "effect"),
    [
        (3, 30, 0.1, 0.0),
        (3, 30, 0.0, 0.0),
        (3, 50, 0.5, 0.3),
        (5, 60, 0.25, 0.1),
        (5, 15, 0.1, 1.0),
        (10, 100, 0.25, 0.3),
    ],
)
def test_simulated_studies_are_covered_as_promised(
    num_repeats: int, num_groups: int, spread: float, effect: float
) -> None:
    """2,000 studies each: false gains at most 5 %, intervals cover the truth in 93 to 97 of 100."""
    rng = np.random.default_rng(7)
    large = [simulated(rng, 400, 1500, effect, spread) for _ in range(3)] if effect else []
    truth = float(np.mean([mean_ratio(better) - mean_ratio(base) for base, better in large])) if effect else 0.0
    covered, gains = 0, 0
    num_studies = 2000
    for _ in range(num_studies):
        base, better = simulated(rng, num_repeats, num_groups, effect, spread)
        found = difference(better, base)
        covered += found.lower <= truth <= found.upper
        gains += found.lower > 0
    assert 0.93 <= covered / num_studies <= 0.97
    if effect == 0:
        assert gains / num_studies <= 0.05
    if effect == 1.0:
        assert gains / num_studies > 0.5


def test_the_smallest_effect_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(3)
    groups, repeats = 40, 5

    def draw(shift: float) -> Floats:
        level = rng.normal(0, 0.3, (repeats, 1)) + rng.normal(0, 1, (1, groups))
        values: Floats = shift + level + rng.normal(0, 1, (repeats, groups))
        return values

    typical = float(np.median([chance_of(draw(0)).smallest_effect() for _ in range(400)]))
    found = np.mean([estimate(draw(typical)).lower > 0 for _ in range(1500)])
    assert 0.7 < found < 0.9


def test_families_are_wrong_at_most_once_in_twenty() -> None:
    """Three architectures without any effect: Holm's correction holds the whole family to 5 %."""
    rng = np.random.default_rng(4)

    def one() -> float:
        base, same = simulated(rng, 3, 30, 0.0, 0.1)
        return difference(same, base).p_value

    wrong = np.mean([min(holm([one() for _ in range(3)])) < 0.05 for _ in range(1000)])
    assert wrong <= 0.06
