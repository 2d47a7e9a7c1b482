"""Masks in colour: found colours, tables in classes.txt, smoothed borders, palettes that disagree."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from isdm.data.mask_rules import ClassTable, find_rule, read_class_table
from isdm.errors import DataError
from rawfiles import write_png16

Put = Callable[..., Path]
BLACK, RED, GREEN, BLUE = (0, 0, 0), (200, 0, 0), (0, 180, 40), (0, 0, 220)
TABLE = ClassTable(("ground", "rust", "paint"), (BLACK, RED, BLUE))


def drawn(factor: int = 1, size: int = 64, third: tuple[int, int, int] = BLUE) -> np.ndarray:
    """A red disc and a square of a third colour on black; with a factor drawn larger and averaged."""
    side = size * factor
    picture = Image.new("RGB", (side, side))
    draw = ImageDraw.Draw(picture)
    draw.ellipse([side // 8, side // 8, side // 2, side // 2], fill=RED)
    draw.polygon([(side // 2, side // 2), (side - 9, side * 5 // 8), (side * 5 // 8, side - 5)], fill=third)
    blocks = np.asarray(picture, np.float64).reshape(size, factor, size, factor, 3)
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)


def nearest_ids(colours: np.ndarray, table: tuple[tuple[int, int, int], ...]) -> np.ndarray:
    """Compare every pixel (H, W, 3) with every colour; the first of equals is taken."""
    return np.linalg.norm(colours[:, :, None].astype(float) - np.array(table, float), axis=3).argmin(axis=2)


# The table


@pytest.mark.parametrize(
    "text",
    [
        "ground #000000\nlight rust #c80000\npaint #0000DC\n",
        "ground 0 0 0\nlight rust 200 0 0\n\npaint 0 0 220",
        "ground: 0, 0, 0\nlight rust: 200, 0, 0\npaint\t0;0;220\n",
        "\ufeffground,0,0,0\nlight rust,200,0,0\npaint,#0000dc",
    ],
    ids=["hexadecimal", "numbers", "commas", "mixed"],
)
def test_a_table_gives_each_class_a_colour(tmp_path: Path, text: str) -> None:
    (tmp_path / "classes.txt").write_text(text, "utf-8")
    table = read_class_table(tmp_path / "classes.txt")
    assert table == ClassTable(("ground", "light rust", "paint"), (BLACK, RED, BLUE))


def test_names_alone_are_a_table_as_well(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("ground\nrust 2\n#1\nlevel 3 4\n")
    table = read_class_table(tmp_path / "classes.txt")
    assert table == ClassTable(("ground", "rust 2", "#1", "level 3 4"))
    assert read_class_table(tmp_path / "nothing.txt") is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a #000000\nb\n", "gives some classes a colour but 'b' none; give all one, or none"),
        ("a #000000\nb #000000\n", "gives two classes the colour #000000; give each its own"),
        ("a 0 0 0\nb 0 256 0\n", "the colour in 'b 0 256 0' goes beyond 255; colours are three numbers"),
        ("a #000000\na #000001\n", "must name at least two different classes"),
        ("a #000000\nignored #ffffff\n", "must name at least two different classes"),
        ("\n".join(f"c{i}" for i in range(256)), "names 256 classes; there can be 255: merge some"),
    ],
)
def test_a_useless_table_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(DataError, match=rf"classes\.txt:? {complaint}"):
        read_class_table(tmp_path / "classes.txt")


# Masks that keep to it


def test_the_tables_order_gives_the_ids_and_black_need_not_be_the_background(put: Put) -> None:
    path = put("a.png", [[RED, BLUE, GREEN], [GREEN, BLACK, RED]])
    table = ClassTable(("grass", "rust", "road", "sky"), (GREEN, RED, BLACK, BLUE))
    rule, problems = find_rule([path], table)
    assert (problems, rule.class_names, rule.colours) == ([], table.names, table.colours)
    assert rule.load(path).tolist() == [[1, 3, 0], [0, 2, 1]]
    assert rule.note == (
        "mask colours are the classes of classes.txt: #00b428 grass (2 pixels), #c80000 rust (2 pixels), "
        "#000000 road (1 pixels), #0000dc sky (1 pixels)"
    )


def test_the_colour_called_ignored_belongs_to_no_class(tmp_path: Path, put: Put) -> None:
    (tmp_path / "classes.txt").write_text("ground #000000\nignored #e0e0c0\nrust #c80000\n")
    path = put("a.png", [[RED, (0xE0, 0xE0, 0xC0), BLACK]])
    rule, problems = find_rule([path], read_class_table(tmp_path / "classes.txt"))
    assert (problems, rule.class_names) == ([], ("ground", "rust"))
    assert rule.load(path).tolist() == [[1, 255, 0]]
    assert "#e0e0c0 ignored (1 pixels)" in rule.note


def test_palette_and_grey_masks_follow_the_table_where_they_have_only_its_colours(put: Put) -> None:
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    picture.putpalette([*BLUE, *BLACK, *RED])
    indexed = put("a.png", picture)
    assert find_rule([indexed], TABLE)[0].load(indexed).tolist() == [[2, 0, 1]]
    grey = put("b.png", [[0, 255]])
    black_and_white = ClassTable(("no", "yes"), ((255, 255, 255), BLACK))
    assert find_rule([grey], black_and_white)[0].load(grey).tolist() == [[1, 0]]


def test_ids_go_with_a_table_of_colours_too(put: Put) -> None:
    path = put("a.png", [[0, 2, 1, 255]])
    rule, _ = find_rule([path], TABLE)
    assert rule.load(path).tolist() == [[0, 2, 1, 255]]
    assert rule.colours == TABLE.colours
    assert rule.note == "mask values are the declared class ids, 255 is ignored (1 of 4 pixels, 25.00%)"


def test_each_mask_with_another_colour_is_named_with_its_pixels(put: Put) -> None:
    sound = put("a.png", drawn())
    other, several = put("b.png", drawn(third=GREEN)), put("c.png", [[RED, GREEN, BLUE, (1, 2, 3), GREEN]])
    rule, problems = find_rule([other, sound, several], TABLE)
    np.testing.assert_array_equal(rule.load(sound), nearest_ids(drawn(), (BLACK, RED, BLUE)))
    green = int((drawn(third=GREEN) == GREEN).all(axis=2).sum())
    assert len(problems) == 2
    assert f"b.png has {green} pixels of #00b428, not in classes.txt; add what is missing, or if" in problems[0]
    assert "c.png has 3 pixels of #00b428 and 1 other colours, not in classes.txt" in problems[1]
    with pytest.raises(DataError, match=rf"b\.png has {green} pixels of unknown colours, such as #00b428"):
        rule.load(other)


# Smoothed borders


def test_smoothed_colours_take_the_nearest_of_the_table_when_asked(put: Put) -> None:
    colours = drawn(factor=4)
    exact = (colours[:, :, None] == np.array(TABLE.colours)).all(axis=3).any(axis=2)
    path, sharp = put("a.png", colours), put("b.png", drawn())
    assert len(find_rule([path, sharp], TABLE)[1]) == 1
    rule, problems = find_rule([path, sharp], TABLE, "colours")
    assert problems == []
    assert TABLE.colours is not None
    np.testing.assert_array_equal(rule.load(path), nearest_ids(colours, TABLE.colours))
    away = np.linalg.norm(colours[:, :, None] - np.array(TABLE.colours, float), axis=3).min(axis=2).max()
    count = int((~exact).sum())
    assert f"; {count:,} of 8,192 pixels, {count / 8192:.2%}, have other colours and took the nearest" in rule.note
    assert f"at most {away:.0f} of 255 away" in rule.note


def test_lossy_colours_take_the_nearest_as_well(put: Put) -> None:
    path = put("a.jpg", drawn(size=128), quality=95, subsampling=0)
    rule, problems = find_rule([path], TABLE, "colours")
    assert problems == []
    assert (rule.load(path) == nearest_ids(drawn(size=128), (BLACK, RED, BLUE))).mean() > 0.995


def test_an_area_of_an_undeclared_colour_is_no_smoothed_border(put: Put) -> None:
    path = put("a.png", drawn(factor=4, third=GREEN))
    _, problems = find_rule([path], TABLE, "colours")
    count = int((drawn(factor=4, third=GREEN) == GREEN).all(axis=2).sum())
    assert problems == [
        f"{path} has {count} pixels of #00b428, which fills areas but is not in classes.txt; add it there, or mend "
        f"the mask."
    ]


def test_smoothed_colours_are_refused_with_what_helps(put: Put) -> None:
    many = put("a.png", drawn(factor=8, size=128))
    assert len(np.unique(drawn(factor=8, size=128).reshape(-1, 3), axis=0)) > 64
    with pytest.raises(DataError) as caught:
        find_rule([many], None)
    assert "too many for classes (at most 64), but 9" in str(caught.value)
    assert "of their pixels have one of #000000, #0000dc, #c80000: borders were smoothed" in str(caught.value)
    assert "list the classes in classes.txt with their colours (name #rrggbb) and give --masks" in str(caught.value)


def test_few_smoothed_colours_are_not_taken_for_classes(put: Put) -> None:
    colours = drawn(factor=2)
    assert 3 < len(np.unique(colours.reshape(-1, 3), axis=0)) <= 64
    path = put("a.png", colours)
    with pytest.raises(
        DataError, match=r"colours in .* that lie between others and fill no area.*\(#000000, #0000dc, #c80000\)"
    ):
        find_rule([path], None)
    rule, problems = find_rule([path], None, "colours")
    assert (problems, len(rule.class_names)) == ([], len(np.unique(colours.reshape(-1, 3), axis=0)))
    names = np.array(rule.colours)[rule.load(path)]
    np.testing.assert_array_equal(names, colours)


def test_a_class_that_lies_between_two_others_but_fills_an_area_is_one(put: Put) -> None:
    path = put("a.png", drawn(third=(100, 0, 0)))
    assert find_rule([path], None)[0].class_names == ("background", "colour_640000", "colour_c80000")


def test_when_asked_up_to_255_colours_are_classes(put: Put, noise: Callable[..., np.ndarray]) -> None:
    colours = np.zeros((10, 20, 3), np.uint8)
    colours[:, :, 0], colours[:, :, 1] = np.arange(200).reshape(10, 20), 7
    rule, _ = find_rule([put("a.png", colours)], None, "colours")
    assert len(rule.class_names) == 201
    with pytest.raises(DataError, match=r"have 256 colours, which is too many for classes \(at most 255\)"):
        find_rule([put("b.png", noise(0, 16, 16, 3))], None, "colours")


def test_endlessly_many_colours_do_not_fill_the_memory(
    put: Put, noise: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isdm.data.mask_rules.counting.MOST_TOLD_APART", 300)
    paths = [put(f"{index}.png", noise(index, 16, 16, 3)) for index in range(3)]
    with pytest.raises(DataError, match="have more than 256 colours, which is too many for classes"):
        find_rule(paths, None)


# What contradicts itself


def test_16_bits_do_not_go_with_colours(tmp_path: Path, put: Put) -> None:
    coloured, wide = put("a.png", [[RED, BLACK]]), write_png16(tmp_path / "b.png", np.full((1, 1, 1), 999, np.uint16))
    with pytest.raises(
        DataError, match=r"b\.png has 16 bits but .*a\.png is in colour; all masks must be read by one"
    ):
        find_rule([coloured, wide], None)
    rule, problems = find_rule([coloured, wide], None, "colours")
    assert rule.load(coloured).tolist() == [[1, 0]]
    assert len(problems) == 1
    assert "b.png has 16 bits, but --masks colours needs 8" in problems[0]


def with_palette(put: Put, name: str, values: list[list[int]], *colours: tuple[int, ...]) -> Path:
    picture = Image.fromarray(np.array(values, np.uint8))
    picture.putpalette([channel for colour in colours for channel in colour])
    return put(name, picture)


def test_palettes_that_disagree_are_refused_until_somebody_says_which_counts(put: Put) -> None:
    first = with_palette(put, "a.png", [[0, 1, 2]], BLACK, RED, BLUE)
    second = with_palette(put, "b.png", [[0, 1, 2]], BLACK, BLUE, RED)
    with pytest.raises(DataError, match=r"a\.png and .*b\.png have different colours for the index 1 .* --masks ids"):
        find_rule([first, second], None)
    ids, colours = find_rule([first, second], None, "ids")[0], find_rule([first, second], None, "colours")[0]
    assert ids.load(first).tolist() == ids.load(second).tolist() == [[0, 1, 2]]
    assert colours.load(first).tolist() == [[0, 2, 1]]
    assert colours.load(second).tolist() == [[0, 1, 2]]


def test_colours_that_a_palette_has_but_no_pixel_uses_do_not_disagree(put: Put) -> None:
    first = with_palette(put, "a.png", [[0, 1]], BLACK, RED, BLUE)
    second = with_palette(put, "b.png", [[0, 1]], BLACK, RED, GREEN)
    assert find_rule([first, second], None)[0].class_names == ("background", "foreground")


def test_a_palette_with_white_first_and_black_second_is_not_guessed(put: Put) -> None:
    path = with_palette(put, "a.png", [[0, 1, 1]], (255, 255, 255), BLACK)
    with pytest.raises(DataError, match=r"a\.png has black not at the index 0 but at 1; say what is background"):
        find_rule([path], None)
    assert find_rule([path], None, "ids")[0].load(path).tolist() == [[0, 1, 1]]
    assert find_rule([path], None, "binary")[0].load(path).tolist() == [[1, 0, 0]]


def test_palette_and_rgb_masks_go_together_by_their_colours(put: Put) -> None:
    indexed, plain = with_palette(put, "a.png", [[1, 0, 2]], BLACK, BLUE, RED), put("b.png", [[RED, BLUE, BLACK]])
    rule, _ = find_rule([indexed, plain], None)
    assert rule.load(indexed).tolist() == [[1, 0, 2]]
    assert rule.load(plain).tolist() == [[2, 1, 0]]
