"""Masks with one plane a class: channels, pages and NumPy arrays."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isdm.data.mask_rules import find_rule
from isdm.errors import DataError

Put = Callable[..., Path]
IDS = np.array([[0, 1, 2, 3], [3, 3, 0, 1], [0, 0, 0, 2]])
"""Pixels in none, the first, the second or the third plane."""


def planes(ids: np.ndarray, count: int, top: int = 255) -> np.ndarray:
    """(H, W, count): plane i marks the ids i + 1."""
    return (ids[:, :, None] == np.arange(1, count + 1)) * np.array(top, np.uint8)


def save_pages(path: Path, stack: np.ndarray, mode: str = "L") -> Path:
    pages = [
        Image.fromarray(np.ascontiguousarray(stack[:, :, index])).convert(mode) for index in range(stack.shape[2])
    ]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    return path


def test_channels_of_rgb_are_classes(put: Put) -> None:
    path = put("a.png", planes(IDS, 3))
    rule, problems = find_rule([path], None, "one-hot")
    assert problems == []
    assert rule.class_names == ("background", "class_1", "class_2", "class_3")
    assert rule.load(path).tolist() == IDS.tolist()
    assert rule.note == (
        "3 planes are the classes class_1, class_2, class_3; what is in none is background (5 of 12 pixels, 41.67%)"
    )


def test_the_fourth_channel_of_rgba_is_a_plane_like_the_others(put: Put) -> None:
    ids = IDS.copy()
    ids[0, 0] = 4
    path = put("a.png", planes(ids, 4))
    assert find_rule([path], None, "one-hot")[0].load(path).tolist() == ids.tolist()


@pytest.mark.parametrize("reading", ["auto", "one-hot"])
@pytest.mark.parametrize("mode", ["L", "1"])
def test_pages_of_a_tiff_are_classes(tmp_path: Path, mode: str, reading: str) -> None:
    path = save_pages(tmp_path / "a.tif", planes(IDS, 3), mode)
    rule, problems = find_rule([path], None, reading)  # type: ignore[arg-type]
    assert problems == []
    assert rule.load(path).tolist() == IDS.tolist()


@pytest.mark.parametrize("reading", ["auto", "one-hot"])
@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.float32, np.int64])
def test_channels_of_a_numpy_file_are_classes(tmp_path: Path, dtype: type, reading: str) -> None:
    np.save(tmp_path / "a.npy", planes(IDS, 7, top=1).astype(dtype))
    rule, problems = find_rule([tmp_path / "a.npy"], None, reading)  # type: ignore[arg-type]
    assert (problems, len(rule.class_names)) == ([], 8)
    assert rule.load(tmp_path / "a.npy").tolist() == IDS.tolist()


def test_a_single_plane_is_one_class(put: Put) -> None:
    path = put("a.png", planes(IDS, 1)[:, :, 0])
    rule, _ = find_rule([path], None, "one-hot")
    assert rule.class_names == ("background", "foreground")
    assert rule.load(path).tolist() == (IDS == 1).astype(int).tolist()


def test_the_first_plane_is_the_background_where_every_pixel_is_in_one(put: Put) -> None:
    first, second = put("a.png", planes(IDS % 3 + 1, 3)), put("b.png", planes(IDS * 0 + 2, 3))
    rule, _ = find_rule([first, second], None, "one-hot")
    assert rule.class_names == ("background", "class_1", "class_2")
    assert rule.load(first).tolist() == (IDS % 3).tolist()
    assert "every pixel is in exactly one; 24 pixels" in rule.note
    third = put("c.png", planes(IDS, 3))
    rule, _ = find_rule([first, second, third], None, "one-hot")
    assert rule.load(first).tolist() == (IDS % 3 + 1).tolist()


def test_declared_names_decide_whether_the_background_has_a_plane(put: Put) -> None:
    full, partly = put("a.png", planes(IDS % 3 + 1, 3)), put("b.png", planes(IDS, 3))
    rule, _ = find_rule([full, partly], ("ground", "a", "b", "c"), "one-hot")
    assert rule.load(full).tolist() == (IDS % 3 + 1).tolist()
    rule, problems = find_rule([full, partly], ("ground", "a", "b"), "one-hot")
    assert rule.load(full).tolist() == (IDS % 3).tolist()
    assert len(problems) == 1
    assert "b.png has 5 pixels in no plane; classes.txt names a class for each of 3 planes" in problems[0]
    with pytest.raises(DataError, match=r"names 2 classes but the masks in .* have 3 planes; name 3, or 4 with"):
        find_rule([full], ("a", "b"), "one-hot")


def test_pixels_in_several_planes_are_counted(put: Put) -> None:
    stack = planes(IDS, 3)
    stack[0, 1], stack[2, :2] = 255, 255
    rule, problems = find_rule([put("a.png", stack), put("b.png", planes(IDS, 3))], None, "one-hot")
    assert len(problems) == 1
    assert "a.png has 3 pixels in several of its 3 planes; each may be in one (an alpha channel counts" in problems[0]
    assert len(rule.class_names) == 4


def test_an_alpha_channel_that_is_full_everywhere_is_told(put: Put) -> None:
    stack = np.dstack([planes(IDS, 3), np.full(IDS.shape, 255)])
    problems = find_rule([put("a.png", stack)], None, "one-hot")[1]
    assert "a.png has 7 pixels in several of its 4 planes" in problems[0]


def test_planes_with_other_values_are_named(put: Put, tmp_path: Path) -> None:
    stack = planes(IDS, 3)
    stack[0, 0, 1] = 77
    np.save(tmp_path / "b.npy", planes(IDS, 3) * np.float32(0.5))
    np.save(tmp_path / "c.npy", planes(IDS, 3) * np.float32(np.nan))
    problems = find_rule([put("a.png", stack), tmp_path / "b.npy", tmp_path / "c.npy"], None, "one-hot")[1]
    assert len(problems) == 3
    assert "a.png has 1 pixels in plane 2 that are neither 0 nor full (1, 255 or 65535)" in problems[0]
    assert "b.npy has 2 pixels in plane 1 that are neither" in problems[1]
    assert "c.npy has 12 pixels in plane 1 that are neither" in problems[2]


def test_masks_with_another_number_of_planes_are_named(put: Put) -> None:
    paths = [put(f"{name}.png", planes(IDS, 3)) for name in "ab"]
    odd = put("c.png", planes(IDS, 1)[:, :, 0])
    rule, problems = find_rule([odd, *paths], None, "one-hot")
    assert problems == [f"{odd} has 1 planes but most masks have 3; all must have as many: save it like the others."]
    with pytest.raises(DataError, match="1 planes but most masks have 3"):
        rule.load(odd)


def test_planes_do_not_go_with_others_unless_they_are_said_to(tmp_path: Path, put: Put) -> None:
    path, other = save_pages(tmp_path / "a.tif", planes(IDS, 3)), put("b.png", [[0, 1]])
    with pytest.raises(
        DataError, match=r"a\.tif has several planes but .*b\.png has one; all masks must have as many"
    ):
        find_rule([path, other], None)


def test_what_holds_no_planes_is_named(put: Put, tmp_path: Path) -> None:
    palette = Image.fromarray(np.zeros((2, 2), np.uint8))
    palette.putpalette([0, 0, 0])
    frames = [Image.fromarray(np.full((4, 4, 3), index, np.uint8)) for index in range(3)]
    frames[0].save(tmp_path / "b.webp", save_all=True, append_images=frames[1:], lossless=True)
    frames[0].save(tmp_path / "c.tif", save_all=True, append_images=frames[1:])
    np.save(tmp_path / "d.npy", np.array(["text"]))
    np.save(tmp_path / "e.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "f.npy").write_bytes((tmp_path / "d.npy").read_bytes()[:-3])
    np.save(tmp_path / "g.npy", np.zeros((2, 2, 300), np.uint8))
    names = ["a.png", "b.webp", "c.tif", "d.npy", "e.npy", "f.npy", "g.npy", "h.npy"]
    put("a.png", palette)
    problems = find_rule([tmp_path / name for name in names], None, "one-hot")[1]
    for name, line, expected in zip(
        names,
        problems,
        [
            "has a palette, not planes",
            "is an animation; planes come as channels",
            "has pages in mode RGB; a page must be one grey plane",
            "must hold one array of numbers",
            "cannot be read as a NumPy array",
            "cannot be read as a NumPy array",
            "has more than 254 planes",
            "is missing",
        ],
        strict=True,
    ):
        assert name in line
        assert expected in line


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_damaged_numpy_file_is_read_or_named_and_never_else(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", planes(IDS, 3))
    content = (tmp_path / "a.npy").read_bytes()
    rng = np.random.default_rng(0)
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] = rng.choice([0, 32, 39, 40, 41, 44, 58, 123, 255])
        (tmp_path / "a.npy").write_bytes(damaged)
        for line in find_rule([tmp_path / "a.npy"], None)[1]:
            assert str(tmp_path / "a.npy") in line


def test_pages_of_different_sizes_are_refused(tmp_path: Path) -> None:
    pages = [Image.new("L", (4, 4)), Image.new("L", (4, 5))]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    problems = find_rule([tmp_path / "a.tif"], None)[1]
    assert "a.tif has planes of different sizes; all of one mask must agree" in problems[0]


def test_a_planes_table_keeps_its_colours(put: Put) -> None:
    from isdm.data.mask_rules import ClassTable

    colours = ((1, 1, 1), (9, 0, 0), (0, 9, 0), (0, 0, 9))
    rule, _ = find_rule([put("a.png", planes(IDS, 3))], ClassTable(("g", "a", "b", "c"), colours), "one-hot")
    assert rule.colours == colours
