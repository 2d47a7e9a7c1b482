"""Near-duplicates: found whatever the light, a shift or a slight turn; what is merely alike is not joined."""

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from isdm.data.matches import LARGEST_GROUP, Match, Matches, joined_groups
from isdm.data.near_duplicates import _candidates, find_near_duplicates, find_same
from isdm.data.similarity import SIDE_PX, prepared_windows, similarities, thumbnail, without_light
from isdm.on_disk import RowsOnDisk

SIZE_PX = 160


def scratched(seed: int) -> NDArray[np.float64]:
    """A surface with stripes and specks of its own, (SIZE_PX, SIZE_PX) in 0 to 1."""
    rng = np.random.default_rng(seed)
    stripes = ndimage.gaussian_filter1d(rng.normal(size=SIZE_PX), 1.5)[None, :]
    specks = ndimage.gaussian_filter(rng.normal(size=(SIZE_PX, SIZE_PX)), 2.5)
    return 0.5 + 0.05 * stripes / stripes.std() + 0.08 * specks / specks.std()


def photographed(
    surface: NDArray[np.float64], *, light: float = 0.0, gain: float = 1.0, turn: float = 0.0, left: int = 0
) -> NDArray[np.uint8]:
    """A photograph under light from the side, turned by some degrees and cut at the left: (H, W, 1)."""
    lit = surface * gain + light * np.linspace(-1, 1, SIZE_PX)[:, None]
    turned = ndimage.rotate(lit, turn, reshape=False, mode="nearest")[6:-6, 6 + left : -6]
    return (turned.clip(0, 1) * 255).astype(np.uint8)[:, :, None]


VIEWS = (
    {},
    {"light": 0.25},
    {"light": -0.3, "gain": 0.6},
    {"turn": 1.5, "gain": 1.2},
    {"left": 6, "light": 0.2},
)


def thumbnails(num_surfaces: int) -> tuple[NDArray[np.uint8], list[int]]:
    """Thumbnails of all views of each surface, and which surface each shows."""
    shown = [(surface, view) for surface in range(num_surfaces) for view in VIEWS]
    stack = np.stack([thumbnail(photographed(scratched(surface), **view)) for surface, view in shown])
    return stack, [surface for surface, _ in shown]


def test_all_views_of_a_surface_are_joined_and_no_two_surfaces() -> None:
    stack, surfaces = thumbnails(12)
    matches = find_near_duplicates(stack)
    assert all(surfaces[match.first] == surfaces[match.second] for match in matches)
    groups = joined_groups([str(index) for index in range(len(stack))], matches)
    assert len(set(zip(groups, surfaces, strict=True))) == len(set(groups)) == 12


def test_the_measure_is_one_for_the_same_picture_and_symmetric_in_kind() -> None:
    stack, surfaces = thumbnails(2)
    pictures = without_light(stack)
    of_first = similarities(prepared_windows(pictures[0]), pictures)
    assert of_first[0] == pytest.approx(1, abs=1e-3)
    same, other = (of_first[[surface == wanted for surface in surfaces]] for wanted in (0, 1))
    assert same.min() > other.max() + 0.1


def test_a_block_is_found_where_it_was_moved_to() -> None:
    """Against the definition: the best correlation over all shifts, block by block."""
    rng = np.random.default_rng(3)
    one, other = (
        without_light((ndimage.gaussian_filter(rng.random((SIDE_PX, SIDE_PX)), 2) * 2000 % 256).astype(np.uint8))
        for _ in range(2)
    )
    found = float(similarities(prepared_windows(one), other[None])[0])
    best = []
    for y in range(8, 88, 20):
        for x in range(8, 88, 20):
            block = other[y : y + 20, x : x + 20]
            scores = [
                np.corrcoef(block.ravel(), one[y + dy : y + dy + 20, x + dx : x + dx + 20].ravel())[0, 1]
                for dy in range(-8, 9)
                for dx in range(-8, 9)
            ]
            best.append(max(scores))
    assert found == pytest.approx(np.mean(best), abs=1e-3)


def test_many_pictures_are_compared_on_disk_and_part_by_part_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack, _ = thumbnails(12)
    whole = find_near_duplicates(stack)
    for name, value in {
        "MOST_IN_MEMORY": 3,
        "_ROWS_AT_ONCE": 7,
        "_COLUMNS_AT_ONCE": 11,
        "_CHANGED_AT_ONCE": 4,
        "_FIRSTS_AT_ONCE": 5,
        "_NEIGHBOURS_AT_ONCE": 5,
    }.items():
        monkeypatch.setattr(f"isdm.data.near_duplicates.{name}", value)
    on_disk = RowsOnDisk(len(stack), stack.shape[1:], np.uint8)
    on_disk.write(0, stack)
    parts = find_near_duplicates(on_disk)
    assert {match[:2]: match[2] for match in parts} == pytest.approx({match[:2]: match[2] for match in whole})


def test_candidates_are_all_pairs_that_one_of_both_pictures_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isdm.data.near_duplicates._NEIGHBOURS_AT_ONCE", 4)
    rng = np.random.default_rng(0)
    count = 23
    told = (np.arange(count)[:, None, None] + rng.integers(1, count, (count, 2, 3))) % count  # nobody tells itself
    neighbours = RowsOnDisk(count, (2, 3), np.int32)
    neighbours.write(0, told)
    expected = sorted({(min(own, other), max(own, other)) for own in range(count) for other in told[own].ravel()})
    parts = [_candidates(neighbours, slice(start, min(start + 5, count))) for start in range(0, count, 5)]
    found = [pair for firsts, seconds in parts for pair in zip(firsts.tolist(), seconds.tolist(), strict=True)]
    assert found == expected, "each once, sorted"


def test_what_all_pictures_show_does_not_join_them() -> None:
    """A fixed camera before a patterned belt, other fruit each time."""
    belt = scratched(100)
    stack = []
    for seed in range(150):
        scene = belt.copy()
        scene[40:120, 40:120] = scratched(seed)[40:120, 40:120]
        stack.append(thumbnail(photographed(scene)))
    groups = joined_groups([str(index) for index in range(150)], find_near_duplicates(np.stack(stack)))
    assert max(Counter(groups).values()) <= 2


def test_flat_pictures_are_joined_only_when_they_are_equal() -> None:
    flat = np.stack([np.full((SIDE_PX, SIDE_PX), grey, np.uint8) for grey in (0, 90, 90, 255)])
    assert not find_near_duplicates(flat)
    same = find_same(flat, ["a", "b", "b", "c"])
    assert [(match.first, match.second) for match in same] == [(1, 2)]


def test_pictures_that_were_left_out_are_no_match() -> None:
    stack, _ = thumbnails(3)
    digests = ["" if row in (0, 7) else str(row) for row in range(len(stack))]
    matches = find_same(stack, digests)
    assert matches
    assert not {0, 7} & {row for match in matches for row in match[:2]}


def test_groups_that_exist_are_joined_whole() -> None:
    joined = joined_groups(["a", "a", "b", "c", "b"], [Match(1, 2, 0.8)])
    assert joined == ["a", "a", "a", "c", "a"]


def test_what_is_merely_alike_does_not_chain_beyond_the_largest_group() -> None:
    count = 3 * LARGEST_GROUP
    chain = [Match(index, index + 1, 0.5) for index in range(count - 1)]
    sizes = Counter(joined_groups([str(index) for index in range(count)], chain))
    assert max(sizes.values()) <= LARGEST_GROUP
    certain = Matches.of([match._replace(similarity=1.0) for match in chain])
    assert len(set(joined_groups([str(index) for index in range(count)], certain))) == 1


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_pictures_are_no_trouble(count: int) -> None:
    stack = np.repeat(thumbnails(1)[0][:1], count, axis=0)
    assert len(find_near_duplicates(stack)) == (1 if count == 2 else 0)


def test_thumbnails_of_16_bits_and_of_colour_are_grey_of_8_bits() -> None:
    grey = photographed(scratched(0))
    wide = (grey.astype(np.uint16) * 257)[:, :, :1]
    assert np.abs(thumbnail(wide).astype(int) * grey.max() // 255 - thumbnail(grey)).max() <= 2
    colour = np.asarray(Image.fromarray(grey[:, :, 0]).convert("RGB"))
    assert (thumbnail(colour) == thumbnail(grey)).all()


def test_each_match_is_told_once() -> None:
    stack, _ = thumbnails(6)
    twice = np.concatenate([stack, stack[:4]])
    digests = [str(row % len(stack)) for row in range(len(twice))]
    pairs = [match[:2] for match in find_same(twice, digests)]
    assert len(set(pairs)) == len(pairs)
    assert {(row, len(stack) + row) for row in range(4)} <= set(pairs)
    assert all(first < second for first, second in pairs)


def test_matches_are_columns_that_can_be_chosen_from_and_renumbered() -> None:
    told = [Match(0, 1, 0.5), Match(2, 5, 0.875), Match(1, 3, 0.75)]
    matches = Matches.of(told)
    assert list(matches) == told
    assert list(matches.most_similar_first()) == [told[1], told[2], told[0]]
    assert list(matches[np.array([True, False, True])]) == [told[0], told[2]]
    assert list(matches.renumbered(np.arange(6) * 2)) == [Match(0, 2, 0.5), Match(4, 10, 0.875), Match(2, 6, 0.75)]
