"""Masks read as somebody says, and what is refused where nobody does: values, 16 bits, numbers of objects."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isdm.data.mask_rules import find_rule
from isdm.errors import DataError
from rawfiles import soft_disc as disc
from rawfiles import write_png16, write_tiff

Put = Callable[..., Path]
REAL = Path(__file__).parents[3] / "shared" / "data" / "magnetic-tile"
TWO = ("background", "foreground")


def wide(path: Path, values: np.ndarray) -> Path:
    return write_png16(path, np.asarray(values, np.uint16)[:, :, None])


def squares(count: int, size: int = 160, step: int = 1) -> np.ndarray:
    """A mask with `count` squares of 8x8 pixels that have the values step, 2 step, …"""
    values = np.zeros((size, size), np.int64)
    for index in range(count):
        y, x = divmod(index, size // 9)
        values[9 * y : 9 * y + 8, 9 * x : 9 * x + 8] = step * (index + 1)
    return values


# What is found


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_soft_borders_are_cut_in_the_middle_however_few_values_they_have(put: Put, factor: int) -> None:
    values = disc(factor=factor)
    path = put("a.png", values)
    rule, _ = find_rule([path], None)
    assert rule.class_names == TWO
    np.testing.assert_array_equal(rule.load(path), values > 127)
    between = int(((values > 0) & (values < 255)).sum())
    assert between > 0
    assert f"masks have {len(np.unique(values))} grey values: those above 127 are foreground" in rule.note
    assert f"{int((values > 127).sum()):,} of 4,096 pixels" in rule.note
    assert f"{between:,} pixels between 0 and 255 decided so, {between / 4096:.2%}" in rule.note


def test_soft_borders_go_with_two_declared_names(put: Put) -> None:
    path = put("a.png", disc())
    rule, problems = find_rule([path], ("steel", "rust"))
    assert (rule.class_names, problems) == (("steel", "rust"), [])
    np.testing.assert_array_equal(rule.load(path), disc() > 127)
    assert "above 127 are rust" in rule.note


def test_all_real_soft_masks_are_cut_in_the_middle() -> None:
    paths = sorted(REAL.glob("MT_[BCU]*/Imgs/*.png"))
    if not paths:
        pytest.skip(f"the magnetic tile photographs are not at {REAL}")
    rule, problems = find_rule(paths, None)
    assert (problems, rule.class_names) == ([], TWO)
    for path in paths[::10]:
        np.testing.assert_array_equal(rule.load(path), np.asarray(Image.open(path)) > 127)


def test_the_threshold_is_the_given_one(put: Put) -> None:
    path = put("a.png", disc())
    rule, _ = find_rule([path], None, threshold=20)
    np.testing.assert_array_equal(rule.load(path), disc() > 20)


def test_a_lossy_mask_has_noise_but_one_class(put: Put) -> None:
    values = (disc() > 127) * 255
    path = put("a.jpg", values, quality=70)
    stored = np.asarray(Image.open(path))
    assert len(np.unique(stored)) > 2
    rule, _ = find_rule([path], None)
    np.testing.assert_array_equal(rule.load(path), stored > 127)


def test_ids_that_fill_areas_are_ids_even_beside_255(put: Put) -> None:
    values = squares(9, step=25)  # fewer pixels than are ignored
    values[-20:, :] = 255
    path = put("a.png", values)
    rule, _ = find_rule([path], None)
    assert len(rule.class_names) == 10
    assert rule.load(path)[-1, -1] == 255
    np.testing.assert_array_equal(rule.load(path)[:-20], values[:-20] // 25)


@pytest.mark.parametrize("values", [(0, 7, 100, 255), (0, 245, 100, 255), (*range(16), 100, 255)])
def test_ids_near_the_ends_fill_areas_where_the_others_are_thin(put: Put, values: tuple[int, ...]) -> None:
    """As Cityscapes' train ids, of which those from 16 up are rare, with 255 for what is not labelled."""
    ids = np.zeros((64, 144), np.uint8)
    for place, value in enumerate(values[1:]):
        ids[8:56, 8 * place + 4 : 8 * place + 12] = value
    ids[ids == 100] = 0
    ids[4, 4:140] = 100
    path = put("a.png", ids)
    rule, problems = find_rule([path], None)
    assert (problems, len(rule.class_names)) == ([], len(values) - 1)
    read = rule.load(path)
    for place, value in enumerate(sorted(values[:-1])):
        assert (read[ids == value] == place).all()
    assert (read[ids == 255] == 255).all()


@pytest.mark.parametrize(("quality", "enlarged"), [(5, 1), (40, 1), (98, 8)])
def test_a_compression_that_shifts_areas_or_was_enlarged_makes_no_classes(
    put: Put, quality: int, enlarged: int
) -> None:
    """At a quality of 5 black becomes 8 and white 248, at one of 40 black becomes 1."""
    stored = np.asarray(Image.open(put("small.jpg", (disc() > 127) * 255, quality=quality)))
    values = stored.repeat(enlarged, 0).repeat(enlarged, 1)
    assert (((values > 0) & (values < 16)) | ((values > 239) & (values < 255))).mean() > 0.02
    path = put("a.png", values)
    rule, _ = find_rule([path], None)
    np.testing.assert_array_equal(rule.load(path), values > 127)


@pytest.mark.parametrize("top", [65535, 300, 256])
def test_two_values_of_16_bits_are_one_class(tmp_path: Path, top: int) -> None:
    path = wide(tmp_path / "a.png", np.eye(4) * top)
    rule, _ = find_rule([path], None)
    assert rule.class_names == TWO
    np.testing.assert_array_equal(rule.load(path), np.eye(4))
    assert rule.note == f"mask value 0 is background, {top} is foreground (4 of 16 pixels, 25.00%)"


def test_black_and_white_of_8_and_16_bits_go_together(tmp_path: Path, put: Put) -> None:
    first, second = wide(tmp_path / "a.png", np.eye(4) * 65535), put("b.png", np.eye(4) * 255)
    rule, _ = find_rule([first, second], None)
    for path in (first, second):
        np.testing.assert_array_equal(rule.load(path), np.eye(4))
    assert "255 and 65535 is foreground" in rule.note


@pytest.mark.parametrize("big_endian", [False, True])
def test_ids_in_16_bits_are_ids_and_65535_is_ignored(tmp_path: Path, big_endian: bool) -> None:
    values = np.array([[0, 7, 254, 65535]], np.uint16)
    path = write_tiff(tmp_path / "a.tif", values, big_endian=big_endian)
    rule, problems = find_rule([path], None)
    assert problems == []
    assert rule.class_names == ("background", "class_7", "class_254")
    assert rule.load(path).tolist() == [[0, 1, 2, 255]]
    assert "65535 is ignored (1 of 4 pixels, 25.00%)" in rule.note


def test_soft_borders_of_16_bits_are_scaled_first(tmp_path: Path) -> None:
    values = disc(top=65535)
    path = wide(tmp_path / "a.png", values)
    rule, _ = find_rule([path], None)
    np.testing.assert_array_equal(rule.load(path), np.rint(values / 257) > 127)
    assert "1 masks of 16 bits were scaled to 8 first" in rule.note


@pytest.mark.parametrize(
    "values",
    [squares(70), squares(255), squares(300), squares(20, step=1000), 26000 + squares(5)],
    ids=["70", "255", "300", "thousands", "cityscapes"],
)
def test_numbers_of_objects_are_not_taken_for_classes(tmp_path: Path, put: Put, values: np.ndarray) -> None:
    path = put("a.png", values) if values.max() < 256 else wide(tmp_path / "a.png", values)
    with pytest.raises(DataError, match=r"say what they are: --masks ids .* --masks instances .* --masks binary"):
        find_rule([path], None)


def test_few_numbers_that_every_mask_counts_up_are_refused_too(put: Put) -> None:
    paths = [put(f"{count}.png", squares(count)) for count in (3, 12, 7)]
    with pytest.raises(DataError, match=r"hold 1, 2, 3, … without a gap, .* up to 12: .* looks like objects"):
        find_rule(paths, None)
    assert find_rule(paths, None, "ids")[0].class_names[-1] == "class_12"
    assert find_rule(paths, None, "instances")[0].class_names == TWO


def test_specks_of_many_values_are_no_classes(put: Put) -> None:
    values = np.zeros((64, 64))
    values[::8, ::8] = np.arange(64).reshape(8, 8) % 12
    with pytest.raises(DataError, match=r"have 12 values that fill no areas as classes do, but no white either"):
        find_rule([put("a.png", values)], None)


def test_many_ids_come_with_a_hint(put: Put) -> None:
    rule, _ = find_rule([put("a.png", squares(12))], None)
    assert len(rule.class_names) == 13
    assert "if they number objects instead, give --masks instances" in rule.note


def test_what_follows_no_rule_is_told_with_what_cannot_be_read(put: Put, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)70 |71 values.*\n.*missing\.png is missing"):
        find_rule([put("a.png", squares(70)), tmp_path / "missing.png"], None)


# ids


def test_ids_take_any_value_up_to_254(put: Put) -> None:
    values = squares(200)
    path = put("a.png", values)
    rule, problems = find_rule([path], None, "ids")
    assert (problems, len(rule.class_names)) == ([], 201)
    np.testing.assert_array_equal(rule.load(path), values)


def test_as_ids_255_is_ignored_even_beside_0_and_1_name(put: Put) -> None:
    path = put("a.png", [[0, 1, 255]])
    rule, _ = find_rule([path], ("sky", "bird"), "ids")
    assert rule.load(path).tolist() == [[0, 1, 255]]
    with pytest.raises(DataError, match=r"no class id above 0 \(255 is ignored\); .* give --masks binary"):
        find_rule([put("b.png", [[0, 255]])], None, "ids")


def test_as_ids_each_mask_that_has_none_is_named(tmp_path: Path, put: Put) -> None:
    sound = put("sound.png", [[0, 3]])
    large = wide(tmp_path / "large.png", np.array([[0, 300, 301]]))
    colour = put("colour.png", [[(255, 0, 0), (0, 0, 0)]])
    fractions = write_tiff(tmp_path / "fractions.tif", np.array([[0.5, 1.0]], np.float32))
    negative = write_tiff(tmp_path / "negative.tif", np.array([[-1, 1]], np.int32))
    rule, problems = find_rule([large, colour, sound, fractions, negative], None, "ids")
    assert rule.load(sound).tolist() == [[0, 1]]
    text = "\n".join(problems)
    assert "large.png holds values up to 301 in 2 pixels; class ids go up to 254: save it with 8 bits" in text
    assert "colour.png is in colour, but --masks ids needs one number a pixel; save it grey or with a palette" in text
    assert "fractions.tif holds fractions in 1 pixels; masks hold whole values: save it" in text
    assert "negative.tif has values from -1 to 1; masks hold 0 to 65535: save it" in text
    assert len(problems) == 4
    with pytest.raises(DataError, match=r"large\.png holds the value 301 in 2 pixels, which is no class id"):
        rule.load(large)


def test_whole_numbers_of_a_float_file_are_ids(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", np.array([[0, 2, 2]], np.float32))
    assert find_rule([path], None, "ids")[0].load(path).tolist() == [[0, 1, 1]]


def test_ids_come_from_numpy_files_too(tmp_path: Path) -> None:
    for dtype in (np.uint8, np.int64, np.float32, np.uint16):
        np.save(tmp_path / "a.npy", np.array([[0, 2, 5]], dtype))
        rule, problems = find_rule([tmp_path / "a.npy"], None, "ids")
        assert problems == []
        assert rule.load(tmp_path / "a.npy").tolist() == [[0, 1, 2]]
    np.save(tmp_path / "b.npy", np.array([[False, True]]))
    assert find_rule([tmp_path / "b.npy"], None)[0].load(tmp_path / "b.npy").tolist() == [[0, 1]]


# binary


def test_binary_takes_whatever_is_above_the_threshold(put: Put) -> None:
    values = squares(200)
    path = put("a.png", values)
    rule, _ = find_rule([path], None, "binary", 99)
    np.testing.assert_array_equal(rule.load(path), values > 99)
    assert rule.note == (
        f"mask values above 99 are foreground ({(values > 99).sum():,} of 25,600 pixels, "
        f"{(values > 99).mean():.2%}; {(values > 0).sum():,} pixels between 0 and 255 decided so, "
        f"{(values > 0).mean():.2%})"
    )


def test_binary_takes_the_brightest_channel_of_a_colour_and_of_a_palette(put: Put) -> None:
    coloured = put("a.png", [[(0, 0, 200), (0, 100, 100), (0, 0, 0)]])
    palette = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    palette.putpalette([0, 220, 0, 0, 0, 90, 0, 0, 0])
    indexed = put("b.png", palette)
    rule, _ = find_rule([coloured, indexed], None, "binary")
    assert rule.load(coloured).tolist() == [[1, 0, 0]]
    assert rule.load(indexed).tolist() == [[1, 0, 0]]
    assert "of the 2 masks in colour, palettes included, the brightest channel counts" in rule.note


def test_binary_scales_16_bits_first(tmp_path: Path) -> None:
    path = wide(tmp_path / "a.png", np.array([[0, 127 * 257 + 128, 127 * 257 + 129, 65535]]))
    rule, _ = find_rule([path], None, "binary")
    assert rule.load(path).tolist() == [[0, 0, 1, 1]]
    assert "1 masks of 16 bits were scaled to 8 first" in rule.note


def test_binary_that_would_find_nothing_says_how_it_would(put: Put) -> None:
    with pytest.raises(
        DataError, match=r"above the threshold 127; their largest value is 1: lower .*--mask-threshold"
    ):
        find_rule([put("a.png", [[0, 1]])], None, "binary")
    assert find_rule([put("b.png", [[0, 0]])], None, "binary")[0].load(put("b.png", [[0, 0]])).sum() == 0


@pytest.mark.parametrize("reading", ["binary", "instances", "alpha"])
def test_readings_of_one_class_refuse_three_names(put: Put, reading: str) -> None:
    path = put("a.png", Image.fromarray(np.full((2, 2, 2), 255, np.uint8), "LA"))
    with pytest.raises(DataError, match=rf"classes\.txt names 3 classes but --masks {reading} makes two"):
        find_rule([path], ("a", "b", "c"), reading)  # type: ignore[arg-type]


# instances


def test_every_number_is_an_object_of_the_one_class(tmp_path: Path, put: Put) -> None:
    first, second = wide(tmp_path / "a.png", squares(300)), put("b.png", squares(3, size=160))
    rule, problems = find_rule([first, second], ("glass", "cell"), "instances")
    assert problems == []
    assert rule.values_are_objects
    np.testing.assert_array_equal(rule.load(first), squares(300) > 0)
    np.testing.assert_array_equal(rule.load(second), squares(3) > 0)
    count = int((squares(300) > 0).sum() + (squares(3) > 0).sum())
    assert f"is an object of cell ({count:,} of 51,200 pixels, {count / 51200:.2%}; numbers up to 300)" in rule.note


def test_255_and_65535_are_objects_as_well(tmp_path: Path) -> None:
    path = wide(tmp_path / "a.png", np.array([[0, 255, 65535]]))
    assert find_rule([path], None, "instances")[0].load(path).tolist() == [[0, 1, 1]]


# how all of them are read


def test_turned_masks_are_made_upright(put: Put) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    values = np.array([[0, 1, 2], [3, 4, 5]])
    for name in ("a.png", "a.tif"):
        path = put(name, np.rot90(values), exif=exif)
        rule, _ = find_rule([path], None)
        np.testing.assert_array_equal(rule.load(path), values)


def test_no_mask_at_all_makes_two_classes() -> None:
    assert find_rule([], None)[0].class_names == TWO


def test_rules_are_found_the_same_on_any_number_of_cores(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [put(f"{index}.png", squares(index % 5 + 1, step=20)) for index in range(40)]
    notes = set()
    for cores in (1, 2, 8):
        monkeypatch.setattr("isdm.parallel.num_cores", lambda cores=cores: cores)
        notes.add(find_rule(paths, None)[0].note)
    assert len(notes) == 1
