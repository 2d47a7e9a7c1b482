import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import linalg
from torchmetrics.image.kid import poly_mmd

from isdm.metrics.fidelity import diversity, fid, groups_of, kid, manifold, mean_with_interval

Floats = NDArray[np.float64]


def sets(n: int = 40, m: int = 30, d: int = 12, shift: float = 0.5) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(d, d))
    return rng.normal(size=(n, d)) @ mixing + 3, shift + 1.3 * rng.normal(size=(m, d)) @ mixing + 3


def names(count: int, size: int = 1) -> list[str]:
    return [f"g{k // size}" for k in range(count)]


@pytest.mark.parametrize("d", [12, 100])
def test_fid_is_that_of_the_definition(d: int) -> None:
    """Also with more features than pictures."""
    x, y = sets(d=d)
    found = fid(x, y, names(40), names(30), seed=0).value
    root = linalg.sqrtm(np.cov(x.T) @ np.cov(y.T) + 1e-12 * np.eye(d))
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(np.cov(x.T) + np.cov(y.T) - 2 * root.real)
    assert found == pytest.approx(expected, rel=1e-4)
    assert fid(x, x, names(40), names(40), seed=0).value == pytest.approx(0, abs=1e-6 * np.trace(np.cov(x.T)))


def test_kid_is_that_of_torchmetrics() -> None:
    x, y = sets()
    x = x[:30]  # its function takes as many of both
    found = kid(x, y, names(30), names(30), resamples=20, seed=0).value
    expected = poly_mmd(torch.from_numpy(x), torch.from_numpy(y), degree=3, gamma=None, coef=1.0)
    assert found == pytest.approx(float(expected), rel=1e-6)


def test_the_kid_interval_of_a_resample_leaves_out_a_picture_with_itself() -> None:
    """Against the plain double sum over a drawn multiset."""
    x, y = sets(n=6, m=5, d=3)
    draw_x, draw_y = np.array([0, 0, 2, 3, 3, 5]), np.array([1, 1, 1, 4, 0])

    def kernel(a: Floats, b: Floats) -> float:
        return float((a @ b / 3 + 1) ** 3)

    def within(values: Floats, draw: NDArray[np.int64]) -> float:
        pairs = [(i, j) for p, i in enumerate(draw) for q, j in enumerate(draw) if p != q and i != j]
        return float(np.mean([kernel(values[i], values[j]) for i, j in pairs]))

    across = np.mean([kernel(x[i], y[j]) for i in draw_x for j in draw_y])
    expected = within(x, draw_x) + within(y, draw_y) - 2 * across

    class Drawn:
        def __init__(self) -> None:
            self.turn = iter((np.bincount(draw_x, minlength=6), np.bincount(draw_y, minlength=5)))

        def multinomial(self, count: int, shares: Floats, size: int) -> NDArray[np.int64]:
            return np.repeat(next(self.turn)[None], size, axis=0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np.random, "default_rng", lambda seed: Drawn())
        estimate = kid(x, y, names(6), names(5), resamples=2, seed=0)
    assert estimate.low == pytest.approx(expected)


def test_kid_of_groups_is_the_mean_over_pairs_of_different_groups() -> None:
    x, y = sets(n=12, m=9, d=3)
    groups_x, groups_y = names(12, 3), ["a", "b", "a", "a", "c", "b", "d", "d", "d"]

    def within(values: Floats, groups: list[str]) -> float:
        pairs = [(i, j) for i in range(len(values)) for j in range(len(values)) if groups[i] != groups[j]]
        return float(np.mean([(values[i] @ values[j] / 3 + 1) ** 3 for i, j in pairs]))

    expected = within(x, groups_x) + within(y, groups_y) - 2 * float(((x @ y.T / 3 + 1) ** 3).mean())
    assert kid(x, y, groups_x, groups_y, resamples=2, seed=0).value == pytest.approx(expected)


def test_kid_of_one_distribution_is_nought_whatever_the_groups() -> None:
    """Groups of pictures that are much alike, of the same distribution on both sides."""
    rng = np.random.default_rng(7)

    def drawn(num_groups: int) -> tuple[Floats, list[str]]:
        sizes = rng.integers(1, 13, num_groups)
        middles = rng.normal(size=(num_groups, 8)).repeat(sizes, axis=0)
        return middles + 0.3 * rng.normal(size=middles.shape), np.arange(num_groups).repeat(sizes).astype(
            str
        ).tolist()

    found = []
    for seed in range(40):
        (x, groups_x), (y, groups_y) = drawn(40), drawn(20)
        found.append(kid(x, y, groups_x, groups_y, resamples=100, seed=seed))
    assert sum(estimate.low <= 0 <= estimate.high for estimate in found) >= 36
    values = np.array([estimate.value for estimate in found])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))


def test_kid_of_a_single_group_is_undefined() -> None:
    x, y = sets(n=6, m=5, d=3)
    found = kid(x, y, names(6, 6), names(5), resamples=10, seed=0)
    assert set(found.plain().values()) == {None}


def test_intervals_hold_the_truth_and_widen_with_groups() -> None:
    """Of 40 sets, about 95 % of the intervals hold the true distance; copies in groups count once."""
    rng = np.random.default_rng(3)
    hits = {"fid": 0, "kid": 0}
    big = rng.normal(size=(4000, 3)), rng.normal(size=(4000, 3)) + 0.7
    truth = {
        "fid": 3 * 0.49,
        "kid": kid(big[0], big[1], names(4000), names(4000), resamples=2, seed=0).value,
    }
    for _ in range(40):
        x, y = rng.normal(size=(120, 3)), rng.normal(size=(120, 3)) + 0.7
        found = {
            "fid": fid(x, y, names(120), names(120), seed=0),
            "kid": kid(x, y, names(120), names(120), resamples=100, seed=0),
        }
        for name, estimate in found.items():
            hits[name] += estimate.low <= truth[name] <= estimate.high
    assert min(hits.values()) >= 34
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 3))
    many = [np.repeat(v, 8, axis=0) + 1e-3 * rng.normal(size=(160, 3)) for v in (x, y)]
    for measure in (
        lambda groups: fid(many[0], many[1], groups, groups, seed=0),
        lambda groups: kid(many[0], many[1], groups, groups, resamples=200, seed=0),
    ):
        alone, together = measure(names(160)), measure(names(160, 8))
        assert together.high - together.low > 1.8 * (alone.high - alone.low)


def test_the_manifold_is_that_of_brute_force() -> None:
    x, y = sets(n=25, m=18, d=4, shift=1.5)
    groups_x, groups_y = names(25, 3), names(18, 2)
    found = manifold(x, y, groups_x, groups_y, resamples=50, seed=0, neighbours=3)

    def radius(values: Floats, groups: list[str], i: int) -> float:
        others = sorted(np.linalg.norm(values[i] - values[j]) for j in range(len(values)) if groups[j] != groups[i])
        return float(others[2])

    in_real = np.array([[np.linalg.norm(s - r) <= radius(x, groups_x, i) for s in y] for i, r in enumerate(x)])
    in_synthetic = np.array([[np.linalg.norm(s - r) <= radius(y, groups_y, j) for j, s in enumerate(y)] for r in x])
    assert found.precision.value == pytest.approx(in_real.any(axis=0).mean())
    assert found.recall.value == pytest.approx(in_synthetic.any(axis=1).mean())
    assert found.density.value == pytest.approx(in_real.sum() / (3 * 18))
    assert found.coverage.value == pytest.approx(in_real.any(axis=1).mean())
    assert 0 < found.precision.value < 1
    assert 0 < found.recall.value < 1
    assert found.precision.low <= found.precision.value <= found.precision.high


def test_what_needs_the_balls_of_a_single_group_is_undefined() -> None:
    x, y = sets(n=6, m=5)
    nothing = {"value": None, "low": None, "high": None}
    one_real = manifold(x, y, ["a"] * 6, names(5), resamples=20, seed=0)
    assert one_real.precision.plain() == one_real.density.plain() == one_real.coverage.plain() == nothing
    assert 0 <= one_real.recall.value <= 1
    assert np.isnan([one_real.recall.low, one_real.recall.high]).all(), "the mean over one group has no interval"
    one_synthetic = manifold(x, y, names(6), ["a"] * 5, resamples=20, seed=0)
    assert one_synthetic.recall.plain() == nothing
    assert 0 <= one_synthetic.precision.value <= 1
    assert np.isnan([one_synthetic.precision.low, one_synthetic.density.high]).all()
    assert one_synthetic.coverage.low <= one_synthetic.coverage.value <= one_synthetic.coverage.high


def test_diversity_is_the_distance_within_masks_over_that_between() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(9, 4))
    families = ["a", "a", "a", "b", "b", "c", "d", "d", "d"]
    found = diversity(features, families, resamples=50, seed=0)
    table = np.linalg.norm(features[:, None] - features[None], axis=2)
    apart = np.mean([table[i, j] for i in range(9) for j in range(9) if families[i] != families[j]])
    within = [np.mean([table[i, j] for i in rows for j in rows if i < j]) for rows in ((0, 1, 2), (3, 4), (6, 7, 8))]
    assert found is not None
    assert found.value == pytest.approx(np.mean(within) / apart)
    copies = np.repeat(rng.normal(size=(5, 4)), 2, axis=0)
    same = diversity(copies, names(10, 2), resamples=20, seed=0)
    assert same is not None
    assert same.value == pytest.approx(0, abs=1e-6)
    assert diversity(features, names(9), resamples=20, seed=0) is None


def test_a_mean_is_drawn_by_groups() -> None:
    values = np.repeat([0.0, 1.0, 2.0, 3.0], 50)
    estimate = mean_with_interval(values, names(200, 50), 2000, np.random.default_rng(0))
    assert estimate.value == 1.5
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * np.sqrt(1.25 / 4), rel=0.15)


def test_rows_of_groups() -> None:
    assert [rows.tolist() for rows in groups_of(["b", "a", "b", "c"])] == [[1], [0, 2], [3]]
