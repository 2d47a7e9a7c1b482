"""What mask pixels mean: one small picture for each habit of saving masks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isdm.data.mask_rules import find_rule, read_values
from isdm.errors import DataError

Put = Callable[..., Path]
TWO = ("background", "foreground")


@pytest.mark.parametrize("value", [1, 255])
def test_two_values_are_background_and_foreground(put: Put, value: int) -> None:
    path = put("mask.png", [[0, value], [value, 0]])
    rule, problems = find_rule([path], None)
    assert problems == []
    assert rule.class_names == TWO
    assert rule.load(path).tolist() == [[0, 1], [1, 0]]
    assert rule.note == f"mask value 0 is background, {value} is foreground (2 of 4 pixels, 50.00%)"


def test_empty_masks_alone_still_make_two_classes(put: Put) -> None:
    path = put("mask.png", np.zeros((2, 2)))
    rule, _ = find_rule([path], None)
    assert rule.class_names == TWO
    assert rule.load(path).tolist() == [[0, 0], [0, 0]]


def test_few_values_are_class_ids_and_255_is_ignored(put: Put) -> None:
    first, second = put("a.png", [[0, 1, 255]]), put("b.png", [[4, 4, 0]])
    rule, _ = find_rule([first, second], None)
    assert rule.class_names == ("background", "class_1", "class_4")
    assert rule.load(first).tolist() == [[0, 1, 255]]
    assert rule.load(second).tolist() == [[2, 2, 0]]
    assert "255 is ignored (1 of 6 pixels, 16.67%)" in rule.note


@pytest.mark.parametrize(
    ("values", "is_spread"),
    [
        ([0, 85, 170, 255], True),
        ([0, 128, 255], True),
        ([0, 64, 128, 191, 255], True),
        ([0, 85, 170], False),
        ([0, 1, 2, 255], False),
        ([0, 100, 255], False),
    ],
)
def test_255_at_the_end_of_evenly_spread_values_is_told_as_a_doubt(
    put: Put, values: list[int], is_spread: bool
) -> None:
    path = put("mask.png", np.repeat(np.repeat([values], 4, axis=0), 4, axis=1))
    rule, _ = find_rule([path], None)
    assert ("--masks colours" in rule.note) == is_spread
    if is_spread:
        every, _ = find_rule([path], None, "colours")
        assert sorted(set(every.load(path).ravel().tolist())) == list(range(len(values)))


def test_what_255_means_is_decided_from_all_masks_at_once(put: Put) -> None:
    binary_alone, with_ids = put("a.png", [[0, 255]]), put("b.png", [[1, 2]])
    rule, _ = find_rule([binary_alone, with_ids], None)
    assert rule.load(binary_alone).tolist() == [[0, 255]]


def test_many_grey_values_are_a_border_smoothed_between_0_and_255(put: Put) -> None:
    path = put("mask.png", np.arange(256).reshape(16, 16))
    rule, _ = find_rule([path], None)
    assert rule.class_names == TWO
    assert rule.load(path).ravel().tolist() == [0] * 128 + [1] * 128
    assert "above 127" in rule.note
    assert "(128 of 256 pixels, 50.00%; 254 pixels between 0 and 255 decided so, 99.22%)" in rule.note


def test_colours_are_classes_and_black_is_the_background(put: Put) -> None:
    red, blue, black = (255, 0, 0), (0, 0, 255), (0, 0, 0)
    path, only_blue = put("a.png", [[red, black], [blue, red]]), put("b.png", [[blue, black]])
    rule, _ = find_rule([path, only_blue], None)
    assert rule.class_names == ("background", "colour_0000ff", "colour_ff0000")
    assert rule.colours == (black, blue, red)
    assert rule.load(path).tolist() == [[2, 0], [1, 2]]
    assert rule.load(only_blue).tolist() == [[1, 0]]


def test_a_black_mask_among_coloured_ones_is_background(put: Put) -> None:
    coloured, grey = put("a.png", [[(255, 0, 0), (0, 0, 0)]]), put("b.png", [[0, 0]])
    rule, _ = find_rule([grey, coloured], None)
    assert rule.load(grey).tolist() == [[0, 0]]
    assert rule.load(coloured).tolist() == [[1, 0]]


def test_a_palette_mask_gives_its_indices_whatever_its_colours(put: Put) -> None:
    picture = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8))
    picture.putpalette([9, 9, 9, 200, 0, 0, 0, 0, 200])
    path = put("mask.png", picture)
    rule, _ = find_rule([path], None)
    assert rule.class_names == ("background", "class_1", "class_2")
    assert rule.load(path).tolist() == [[0, 1], [2, 1]]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "I;16"])
def test_every_way_to_save_black_and_white_reads_the_same(put: Put, mode: str) -> None:
    grey = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8))
    picture = Image.fromarray(np.asarray(grey, np.uint16)) if mode == "I;16" else grey.convert(mode)
    path = put("mask.png", picture)
    rule, _ = find_rule([path], None)
    assert rule.load(path).tolist() == [[0, 1], [1, 0]]


def test_ids_beyond_8_bits_are_refused_by_name(put: Put) -> None:
    path = put("wide.png", Image.fromarray(np.array([[0, 300]], np.uint16)))
    with pytest.raises(DataError, match=r"wide\.png has 16 bits and values up to 300"):
        read_values(path)


def test_declared_names_keep_the_values_as_ids(put: Put) -> None:
    path = put("mask.png", [[0, 2, 255]])
    rule, _ = find_rule([path], ("belt", "mould", "blemish"))
    assert rule.class_names == ("belt", "mould", "blemish")
    assert rule.load(path).tolist() == [[0, 2, 255]]


def test_two_declared_names_go_with_0_and_255(put: Put) -> None:
    path = put("mask.png", [[0, 255]])
    rule, _ = find_rule([path], ("belt", "mould"))
    assert rule.class_names == ("belt", "mould")
    assert rule.load(path).tolist() == [[0, 1]]


def test_declared_names_name_the_colours_in_their_order(put: Put) -> None:
    path = put("mask.png", [[(255, 0, 0), (0, 0, 0), (0, 0, 255)]])
    rule, _ = find_rule([path], ("belt", "mould", "blemish"))
    assert rule.load(path).tolist() == [[2, 0, 1]]
    assert "#0000ff mould (1 pixels), #ff0000 blemish (1 pixels)" in rule.note
    with pytest.raises(DataError, match=r"classes\.txt names 2 classes but the masks have 3 colours"):
        find_rule([path], ("belt", "mould"))


def test_smoothed_colours_are_refused_with_the_remedy(put: Put, noise: Callable[..., np.ndarray]) -> None:
    path = put("mask.png", noise(0, 16, 16, 3))
    with pytest.raises(DataError, match=r"too many for classes .* without smoothing"):
        find_rule([path], None)


def test_masks_that_cannot_be_read_are_all_listed(put: Put, tmp_path: Path) -> None:
    sound = put("sound.png", [[0, 1]])
    broken, missing = tmp_path / "broken.png", tmp_path / "missing.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    rule, problems = find_rule([broken, sound, missing], None)
    assert rule.class_names == TWO
    assert len(problems) == 2
    assert "broken.png cannot be read" in problems[0]
    assert "missing.png is missing" in problems[1]


def test_a_mask_that_got_another_value_since_the_rule_was_found_is_refused(put: Put) -> None:
    path = put("a.png", [[0, 1, 4]])
    rule, _ = find_rule([path], None)
    put("a.png", [[0, 1, 9]])
    with pytest.raises(DataError, match=r"a\.png holds the value 9 in 1 pixels, which is no class id"):
        rule.load(path)
