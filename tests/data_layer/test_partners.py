"""Files by the names of the images that they belong to."""

from pathlib import Path

import pytest

from isdm.data.partners import Partners

SUFFIXES = frozenset({".png", ".bmp"})


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    folder = tmp_path / "masks"
    for name in ("a.png", "b_mask.PNG", "c.bmp", "c.png", "x/d.k.png", "e_gt.png", "e.txt", ".f.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_each_image_takes_its_file_and_the_rest_is_left(masks: Path) -> None:
    partners = Partners(masks, masks, SUFFIXES, asked_again={"a"})
    assert partners.take("a") == partners.take("a") == str(masks / "a.png")
    assert partners.take("b") == str(masks / "b_mask.PNG")
    assert partners.take("x/d.k") == str(masks / "x/d.k.png")
    assert partners.take("f") is None
    assert partners.lacks("f", "mask") == [f"has no mask; expected {masks / 'f.png'}"]
    assert partners.problems == []
    of_c = [
        f"{masks / name} has no image; expected one that is called 'c', or remove it" for name in ("c.bmp", "c.png")
    ]
    of_e = f"{masks / 'e_gt.png'} has no image; expected one that is called 'e_gt', or remove it"
    assert partners.left() == [*of_c, of_e]


def test_two_files_of_one_image_are_told_once(masks: Path) -> None:
    partners = Partners(masks, masks, SUFFIXES, asked_again=())
    assert partners.take("c") is None
    assert partners.lacks("c", "mask") == []
    (line,) = partners.problems
    assert line == f"{masks / 'c.bmp'} and {masks / 'c.png'} both belong to the image 'c'; keep one of them"


def test_a_file_is_taken_once_unless_it_was_said_that_it_is_asked_for_again(masks: Path) -> None:
    partners = Partners(masks, masks, SUFFIXES, asked_again=())
    assert [partners.take("e"), partners.take("e")] == [str(masks / "e_gt.png"), None]
    assert Partners(masks.with_name("none"), masks, SUFFIXES, ()).take("a") is None
