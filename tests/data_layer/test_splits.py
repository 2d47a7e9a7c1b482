"""Splits: groups stay whole, sizes are met as nearly as groups allow, classes are spread."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from isdm.data import splits
from isdm.data.dataset import SPLITS
from isdm.data.splits import grouped_split, split_sizes
from isdm.errors import ConfigError

Case = tuple[list[str], NDArray[np.bool_]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Groups of one to six images, each image with some of up to three classes."""
    group_sizes = draw(st.lists(st.integers(1, 6), min_size=3, max_size=25))
    groups = [f"g{number}" for number, size in enumerate(group_sizes) for _ in range(size)]
    num_classes = draw(st.integers(1, 3))
    rows = draw(
        st.lists(
            st.lists(st.booleans(), min_size=num_classes, max_size=num_classes),
            min_size=len(groups),
            max_size=len(groups),
        )
    )
    return groups, np.array(rows, bool)


@given(cases(), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_every_image_is_assigned_and_no_group_is_parted(case: Case, seed: int) -> None:
    groups, presence = case
    assigned = grouped_split(groups, presence, split_sizes(len(groups), 0.2, 0.2), seed)
    assert len(assigned) == len(groups)
    assert set(assigned) <= set(SPLITS)
    assert len(set(zip(groups, assigned, strict=True))) == len(set(groups))


@given(st.lists(st.integers(1, 6), min_size=3, max_size=25), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_sizes_are_missed_by_at_most_the_largest_group(group_sizes: list[int], seed: int) -> None:
    groups = [f"g{number}" for number, size in enumerate(group_sizes) for _ in range(size)]
    sizes = split_sizes(len(groups), 0.2, 0.2)
    assigned = Counter(grouped_split(groups, np.ones((len(groups), 1), bool), sizes, seed))
    for split in SPLITS:
        assert abs(assigned[split] - sizes[split]) <= max(group_sizes), (assigned, sizes)


@given(cases(), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_no_split_outgrows_its_size_by_a_whole_group(case: Case, seed: int) -> None:
    """However the classes lie; what is too much elsewhere is missing in training."""
    groups, presence = case
    sizes = split_sizes(len(groups), 0.2, 0.2)
    assigned = Counter(grouped_split(groups, presence, sizes, seed))
    for split in SPLITS:
        assert assigned[split] - sizes[split] < max(Counter(groups).values()), (assigned, sizes)


@given(cases(), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_the_same_seed_gives_the_same_split(case: Case, seed: int) -> None:
    groups, presence = case
    sizes = split_sizes(len(groups), 0.2, 0.2)
    assert grouped_split(groups, presence, sizes, seed) == grouped_split(groups, presence, sizes, seed)


@given(cases(), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_images_does_not_matter(case: Case, random: object) -> None:
    groups, presence = case
    sizes = split_sizes(len(groups), 0.2, 0.2)
    order = list(range(len(groups)))
    random.shuffle(order)  # type: ignore[attr-defined]
    straight = dict(zip(groups, grouped_split(groups, presence, sizes, 0), strict=True))
    shuffled_groups = [groups[place] for place in order]
    shuffled = dict(zip(shuffled_groups, grouped_split(shuffled_groups, presence[order], sizes, 0), strict=True))
    assert shuffled == straight


def test_another_seed_gives_another_split() -> None:
    groups = [f"g{number}" for number in range(30)]
    presence = np.ones((30, 1), bool)
    sizes = split_sizes(30, 0.2, 0.2)
    assert len({tuple(grouped_split(groups, presence, sizes, seed)) for seed in range(5)}) > 1


@given(st.integers(0, 50), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_a_class_of_enough_groups_is_in_every_split(seed: int, views: int) -> None:
    """Ten groups show the rare class, thirty the common one, and the rest of sixty none."""
    rng = np.random.default_rng(seed)
    number_of_group = rng.permutation(60).repeat(views)
    groups = [f"g{number}" for number in number_of_group]
    presence = np.stack([number_of_group < 10, number_of_group < 30], axis=1)
    assigned = np.array(grouped_split(groups, presence, split_sizes(len(groups), 0.2, 0.2), seed))
    for split, share in (("train", 0.64), ("validation", 0.16), ("test", 0.2)):
        for class_presence in presence.T:
            found = len(set(number_of_group[class_presence & (assigned == split)]))
            total = len(set(number_of_group[class_presence]))
            assert abs(found - share * total) <= 1, (split, found, total)


@pytest.mark.parametrize("num_groups", [3, 4, 5])
@pytest.mark.parametrize("seed", range(10))
def test_no_split_stays_empty_where_there_are_as_many_groups(num_groups: int, seed: int) -> None:
    groups = [f"g{index // 3}" for index in range(3 * num_groups)]
    sizes = split_sizes(len(groups), 0.2, 0.2)
    chosen = grouped_split(groups, np.ones((len(groups), 2), np.int64), sizes, seed)
    assert set(chosen) == set(SPLITS)
    assert all(len(set(chosen[start : start + 3])) == 1 for start in range(0, len(groups), 3))


def test_a_split_of_size_zero_stays_empty() -> None:
    groups = [f"g{number}" for number in range(20)]
    presence = np.eye(20, 4).astype(bool)
    assigned = grouped_split(groups, presence, split_sizes(20, 0.2, 0), 0)
    assert Counter(assigned) == {"train": 16, "test": 4}


@pytest.mark.parametrize(
    ("total", "test", "validation", "expected"),
    [
        (790, 160, 0.2, (504, 126, 160)),
        (200, 0.2, 0.2, (128, 32, 40)),
        (10, 2, 3, (5, 3, 2)),
        (10, 0, 0, (10, 0, 0)),
        (1, 0.2, 0.2, (1, 0, 0)),
    ],
)
def test_sizes_are_shares_or_numbers(
    total: int, test: float, validation: float, expected: tuple[int, int, int]
) -> None:
    sizes = split_sizes(total, test, validation)
    assert tuple(sizes[split] for split in SPLITS) == expected


@pytest.mark.parametrize(("test", "validation"), [(10, 0), (5, 5), (11, 0.2), (0.99, 0), (0, 12)])
def test_a_split_without_training_images_is_refused(test: float, validation: float) -> None:
    with pytest.raises(ConfigError, match=f"test = {test} and validation = {validation} leave no training"):
        split_sizes(10, test, validation)


def test_the_largest_groups_are_placed_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is large fits nowhere in the end; small groups fill what is left."""
    monkeypatch.setattr(splits, "ATTEMPTS", 0)
    groups = [name for name, size in (("a", 1), ("b", 2), ("c", 5), ("d", 2)) for _ in range(size)]
    parts = dict(zip(groups, splits.grouped_parts(groups, np.ones((10, 1), np.int64), [5, 5], 0), strict=True))
    assert parts["a"] == parts["b"] == parts["d"] != parts["c"]


def test_pixels_are_spread_where_images_alone_would_not_do_it() -> None:
    """Every image shows the class; a quarter of them hold nearly all of its pixels."""
    pixels = np.array([[500, 100 if index % 4 == 0 else 1] for index in range(80)], np.int64)
    groups = [str(index) for index in range(80)]
    shares = []
    for seed in range(5):
        parts = np.array(splits.grouped_parts(groups, pixels, [48, 16, 16], seed))
        shares.append([pixels[parts == part, 1].sum() / pixels[:, 1].sum() for part in range(3)])
    np.testing.assert_allclose(shares, np.tile([0.6, 0.2, 0.2], (5, 1)), atol=0.06, err_msg="for every seed")
