from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from isdm.data.dataset import SegmentationDataset
from isdm.data.decoding import load_arrays
from isdm.files import read_json
from isdm.metrics import copying
from isdm.metrics.copying import (
    CopyTest,
    Neighbours,
    copy_test,
    decide,
    nearest_two,
    nearest_two_pixels,
    ratios,
    reduced,
    verdict,
)

Images = NDArray[np.uint8]


def pictures(count: int, size: tuple[int, int] = (32, 40), seed: int = 0) -> Images:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 200, (count, 6, 6, 3)).astype(np.uint8)
    rows, columns = (np.arange(side) * 6 // side for side in size)
    return coarse[:, rows][:, :, columns]


def test_the_nearest_two_are_those_of_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_QUERIES_AT_ONCE", 7)
    rng = np.random.default_rng(0)
    queries, references = rng.normal(size=(20, 5)), rng.normal(size=(30, 5))
    groups = [f"g{k // 3}" for k in range(30)]
    own = [f"g{k // 2}" for k in range(20)]
    for query_groups in (None, own):
        found = nearest_two(queries, references, groups, query_groups)
        for row, query in enumerate(queries):
            distances = [
                (float(np.linalg.norm(query - r)), k)
                for k, r in enumerate(references)
                if query_groups is None or groups[k] != query_groups[row]
            ]
            d1, nearest = min(distances)
            d2, second = min((d, k) for d, k in distances if groups[k] != groups[nearest])
            assert (found.nearest[row], found.second[row]) == (nearest, second)
            assert found.d1[row] == pytest.approx(d1, rel=1e-4)
            assert found.d2[row] == pytest.approx(d2, rel=1e-4)


@pytest.mark.parametrize("change", ["same", "brighter", "mirrored", "shifted", "tinted"])
def test_a_copy_is_found_whatever_was_done_to_it(change: str) -> None:
    references = pictures(12, (48, 64))
    groups = [str(k) for k in range(12)]
    source = references[5].astype(int)
    changed = {
        "same": source,
        "brighter": source + 40,
        "mirrored": source[:, ::-1],
        "shifted": np.roll(source, (4, -4), axis=(0, 1)),  # two pixels of the reduced picture
        "tinted": source + np.array([0, 30, 10]),
    }[change]
    found = nearest_two_pixels(changed[None].astype(np.uint8), references, groups)
    assert found.nearest[0] == 5
    assert found.d1[0] < 0.01
    assert ratios(found)[0] < 0.05


def test_pixel_distances_are_those_of_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_QUERIES_AT_ONCE", 2)
    monkeypatch.setattr(copying, "_REFERENCES_AT_ONCE", 3)
    queries, references = pictures(3, (20, 24), seed=1), pictures(7, (20, 24), seed=2)
    found = nearest_two_pixels(queries, references, [str(k) for k in range(7)])
    for row, query in enumerate(queries):
        middle = query[2:-2, 2:-2] / 255
        middle = middle - middle.mean(axis=(0, 1))
        table = np.empty(7)
        for k, reference in enumerate(references):
            views = [
                view[y : y + 16, x : x + 20] / 255
                for view in (reference, reference[:, ::-1])
                for y in range(5)
                for x in range(5)
            ]
            table[k] = min(np.sqrt(((middle - (v - v.mean(axis=(0, 1)))) ** 2).mean()) for v in views)
        assert found.nearest[row] == table.argmin()
        assert found.d1[row] == pytest.approx(np.sort(table)[0], abs=1e-4)
        assert found.d2[row] == pytest.approx(np.sort(table)[1], abs=1e-4)


def test_grey_wide_and_tiny_pictures_are_compared() -> None:
    grey = pictures(6, (8, 8))[:, :, :, :1]
    wide = grey.astype(np.uint16) * 257
    groups = [str(k) for k in range(6)]
    for values in (grey, wide):
        found = nearest_two_pixels(values[2:3], values, groups)
        assert found.nearest[0] == 2
        assert found.d1[0] == pytest.approx(0, abs=1e-4)
    assert np.allclose(reduced(grey), reduced(wide), atol=1e-6)
    assert reduced(pictures(1, (64, 32))).shape == (1, 32, 16, 3)


def test_ratios_of_equal_and_missing_neighbours() -> None:
    places = np.zeros(4, np.int64)
    found = ratios(Neighbours(places, places, np.array([1.0, 0, 0, 2]), np.array([2.0, 1, 0, np.inf])))
    assert found[:3].tolist() == [0.5, 0, 1]
    assert np.isnan(found[3]), "without a second group nothing is known, least of all that it is a copy"


def names(count: int, size: int, letter: str) -> list[str]:
    return [f"{letter}{k // size}" for k in range(count)]


def test_p_values_are_honest_where_nothing_is_copied() -> None:
    """Pictures of a group are nearly the same: taken for independent, they would cry wolf."""
    rng = np.random.default_rng(0)
    low = {"closer": 0, "copies": 0}
    for trial in range(150):
        one = np.repeat(rng.uniform(0.2, 1, 12), 10) + 1e-3 * rng.random(120)
        other = np.repeat(rng.uniform(0.2, 1, 8), 4) + 1e-3 * rng.random(32)
        found = copy_test(one, names(120, 10, "s"), other, names(32, 4, "h"), permutations=99, seed=trial)
        low["closer"] += found.p_closer <= 0.1
        low["copies"] += found.p_copies <= 0.1
    assert 4 <= low["closer"] <= 26
    assert low["copies"] <= 26


def test_the_statistics_are_those_of_scipy() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.uniform(0.2, 1, 9), rng.uniform(0.3, 1, 6)
    statistic = copying._welch(np.concatenate([np.log(one), np.log(other)])[None], 9)[0]
    assert statistic == pytest.approx(stats.ttest_ind(np.log(one), np.log(other), equal_var=False).statistic)
    found = copy_test(one, names(9, 1, "s"), other, names(6, 1, "h"), permutations=4000, seed=0)
    expected = stats.permutation_test(
        (np.log(one), np.log(other)),
        lambda a, b: stats.ttest_ind(a, b, equal_var=False).statistic,
        alternative="less",
        n_resamples=1000,
        vectorized=False,
        rng=np.random.default_rng(0),
    ).pvalue
    assert found.p_closer == pytest.approx(expected, abs=0.05)
    assert found.median_ratio_synthetic == np.median(one)
    assert found.smallest_p == pytest.approx(1 / 4001)
    few = copy_test(one[:3], names(3, 1, "s"), other[:2], names(2, 1, "h"), permutations=4000, seed=0)
    assert few.smallest_p == pytest.approx(1 / 10)


def of(p_copies: float, p_closer: float, share: float = 0.5, excess: float = 5.0) -> CopyTest:
    return CopyTest(share, 0.01, 0.3, 0.9, p_copies, p_closer, 20, 20, 0.001, excess)


def test_verdicts_are_corrected_for_the_number_of_tests() -> None:
    calm = of(1, 1)
    assert verdict({"a": of(0.002, 0.5), "b": calm}, 0.01) == "copies"
    assert verdict({"a": calm, "b": of(0.5, 0.002)}, 0.01) == "copies"
    assert verdict({"a": of(0.003, 0.5), "b": calm}, 0.01) == "no sign"
    assert verdict({"a": of(0.003, 0.5)}, 0.01) == "copies"
    assert verdict({"a": of(0.5, 0.002, share=0.02), "b": calm}, 0.01) == "closer"
    assert verdict({"a": of(0.002, 0.5, share=0.02), "b": calm}, 0.01) == "no sign"
    assert verdict({"a": calm, "b": calm}, 0.01) == "no sign"


def test_closer_pictures_are_copies_only_where_copies_are_no_accident() -> None:
    calm = of(1, 1)
    assert verdict({"a": of(0.5, 0.002, excess=2.9), "b": calm}, 0.01) == "closer"
    assert verdict({"a": of(0.5, 0.002, excess=3), "b": calm}, 0.01) == "copies"
    assert verdict({"a": of(0.009, 0.002, excess=1), "b": calm}, 0.01) == "copies"
    assert verdict({"a": of(0.002, 0.5, excess=1), "b": calm}, 0.01) == "copies"


def test_the_test_that_decided_is_named() -> None:
    calm = of(1, 1)
    assert decide({"a": of(0.002, 0.0001), "b": calm}, 0.01) == ("copies", "a", "p_copies", 0.002)
    assert decide({"a": of(0.5, 0.0001, excess=1), "b": of(0.5, 0.002)}, 0.01) == ("copies", "b", "p_closer", 0.002)
    assert decide({"a": of(0.5, 0.002, 0.02), "b": of(0.5, 0.001, 0.02)}, 0.01) == ("closer", "b", "p_closer", 0.001)
    assert decide({"a": calm, "b": calm}, 0.01) == ("no sign", None, None, None)


def ratios_with(suspicious: int, seed: int, low: float = 0.6) -> CopyTest:
    """50 synthetic pictures, somewhat closer than 50 held-out ones, so many of them suspicious."""
    rng = np.random.default_rng(seed)
    own = np.concatenate([np.full(suspicious, 0.33), rng.uniform(low, 0.9, 50 - suspicious)])
    return copy_test(
        own, names(50, 1, "s"), rng.uniform(0.85, 1, 50), names(50, 1, "h"), permutations=2000, seed=seed
    )


def test_one_suspicious_picture_in_fifty_makes_no_copier() -> None:
    calm = of(1, 1)
    for seed in range(10):
        assert verdict({"pixels": ratios_with(1, seed), "features": calm}, 0.01) == "closer"
        assert verdict({"pixels": ratios_with(5, seed, low=0.4), "features": calm}, 0.01) == "copies"


def test_the_copier_of_the_benchmark_is_still_called_so() -> None:
    """`benchmarks/copier.py` after 2,000 steps: noisy copies are few, and only their closeness is beyond doubt."""
    found = read_json(Path(__file__).parents[2] / "benchmarks" / "results" / "copier.json")["found"]
    said = {
        name: verdict({way: CopyTest(**{"excess_groups": 0.0, **one[way]}) for way in ("pixels", "features")}, 0.01)
        for name, one in found.items()
    }
    assert said == {"held-out real pictures": "no sign", "600 steps": "no sign", "2000 steps": "copies"}


def test_groups_with_copies_are_counted_beyond_those_of_held_out_pictures() -> None:
    own, unseen = np.array([0.2, 0.3, 0.9, 0.1, 0.9, 0.9]), np.array([0.9, 0.2, 0.9, 0.9])
    found = copy_test(own, list("aabbcd"), unseen, list("efgh"), permutations=10, seed=0)
    assert found.excess_groups == 2 - 4 * 1 / 4


def test_copies_of_real_pictures_are_called_so_and_new_real_pictures_are_not(fruit: SegmentationDataset) -> None:
    splits = {split: fruit.pairs(split) for split in ("train", "validation", "test")}  # type: ignore[arg-type]
    images = {name: load_arrays(fruit, pairs)[0] for name, pairs in splits.items()}
    groups = {name: [pair.group for pair in pairs] for name, pairs in splits.items()}
    rng = np.random.default_rng(0)
    noisy = images["train"][:, :, ::-1] + rng.normal(0, 6, images["train"].shape)
    copies = np.roll(noisy, 1, axis=1).clip(0, 255).astype(np.uint8)
    unseen = np.concatenate([images["validation"], images["test"]])
    unseen_groups = groups["validation"] + groups["test"]

    def tested(pictures: Images, names: list[str], others: Images, other_names: list[str]) -> CopyTest:
        own, held_out = (ratios(nearest_two_pixels(x, images["train"], groups["train"])) for x in (pictures, others))
        return copy_test(own, names, held_out, other_names, permutations=2000, seed=0)

    found = tested(copies, groups["train"], unseen, unseen_groups)
    assert found.share_synthetic > 0.9
    assert found.share_held_out == 0
    assert verdict({"pixels": found}, 0.01) == "copies"
    innocent = tested(images["test"], groups["test"], images["validation"], groups["validation"])
    assert verdict({"pixels": innocent}, 0.01) == "no sign"
