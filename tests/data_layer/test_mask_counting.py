"""Counting what masks hold, against counting by hand."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from isdm.data.mask_rules import ClassTable
from isdm.data.mask_rules.counting import Totals, counted, nearest, runs, tally
from isdm.data.mask_rules.decoding import RawMask
from isdm.data.mask_rules.grey import to_8_bits

RNG = np.random.default_rng(0)


def by_hand(values: np.ndarray, alpha: np.ndarray) -> dict[int, list[int]]:
    """Pixels, pixels whose right, lower and diagonal neighbours are the same, and transparent ones of each value."""
    height, width = values.shape
    counts: dict[int, list[int]] = {}
    for y in range(height):
        for x in range(width):
            entry = counts.setdefault(int(values[y, x]), [0, 0, 0])
            entry[0] += 1
            entry[2] += alpha[y, x] == 0
            block = values[y : y + 2, x : x + 2]
            entry[1] += block.size == 4 and bool((block == block[0, 0]).all())
    return counts


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(40, 30), (1, 50), (50, 1), (1, 1)])
def test_values_are_counted(shape: tuple[int, int], dtype: type) -> None:
    values = RNG.choice(np.array([0, 0, 0, 3, 200, np.iinfo(dtype).max], dtype), shape)
    values[: shape[0] // 2] = 0
    alpha = RNG.choice(np.array([0, 9, 255], np.uint8), shape)
    one = tally(RawMask("grey", values, alpha))
    expected = by_hand(values, alpha)
    assert one.values.tolist() == sorted(expected)
    if len(expected) > 2:
        assert one.counts.T.tolist() == [expected[value] for value in sorted(expected)]
    assert one.alpha is not None
    assert one.alpha.tolist() == np.bincount(alpha.ravel(), minlength=256).tolist()


def test_colours_are_counted() -> None:
    colours = RNG.choice(np.array([0, 0, 0, 77, 255], np.uint8), (20, 30, 3))
    colours[5:12, 5:20] = (1, 2, 3)
    numbers = (colours.astype(int) * np.array([65536, 256, 1])).sum(axis=2)
    expected = by_hand(numbers, np.ones(numbers.shape))
    one = tally(RawMask("colour", colours))
    assert one.is_coloured
    assert one.values.tolist() == sorted(expected)
    assert one.counts.T.tolist() == [expected[value] for value in sorted(expected)]


def test_bytes_are_counted() -> None:
    values = RNG.integers(0, 5, 100).astype(np.uint8)
    found, pixels = counted(values)
    assert dict(zip(found.tolist(), pixels.tolist(), strict=True)) == Counter(values.tolist())
    assert counted(values[:0])[0].size == 0


def test_runs_are_what_is_repeated() -> None:
    values = np.repeat(RNG.integers(0, 3, 40), RNG.integers(1, 4, 40))
    parts, lengths = runs(values)
    assert (parts[1:] != parts[:-1]).all()
    np.testing.assert_array_equal(np.repeat(parts, lengths), values)


def test_the_nearest_colour_is_the_nearest() -> None:
    colours, table = (RNG.integers(0, 2**24, size, np.uint32) for size in (500, 20))
    place, distance = nearest(colours, table)
    apart = [np.array([value >> 16, value >> 8 & 255, value & 255], float).T for value in (colours, table)]
    all_distances = np.linalg.norm(apart[0][:, None] - apart[1][None], axis=2)
    np.testing.assert_array_equal(place, all_distances.argmin(axis=1))
    np.testing.assert_allclose(distance, all_distances.min(axis=1))
    assert nearest(np.array([5], np.uint32), np.array([5, 5], np.uint32))[0].tolist() == [0]


def test_16_bits_are_rounded_to_8() -> None:
    values = np.arange(2**16, dtype=np.uint16)
    np.testing.assert_array_equal(to_8_bits(values), np.rint(values / 257))
    assert to_8_bits(values[:256].astype(np.uint8)).tolist() == list(range(256))


def test_sums_do_not_grow_with_the_number_of_masks() -> None:
    """Ten thousand masks leave what ten leave."""
    totals, table = Totals(), ClassTable(("a", "b"), ((0, 0, 0), (9, 9, 9)))
    one = tally(RawMask("grey", np.array([[0, 9, 9]], np.uint8)), table)
    for index in range(10_000):
        totals.add(Path(f"{index}.png"), one)
    assert {value: counts.tolist() for value, counts in totals.by_value.items()} == {
        0: [10_000, 10_000, 0],
        9: [20_000, 20_000, 0],
    }
    kept = [value for value in vars(totals).values() if hasattr(value, "__len__")]
    assert max(map(len, kept)) <= 256
