"""Transparency in masks: as the mask itself, as background, or without any meaning."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isdm.data.mask_rules import find_rule
from rawfiles import soft_disc as disc

Put = Callable[..., Path]


def with_alpha(mode: str, alpha: np.ndarray, grey: int = 90) -> Image.Image:
    picture = Image.fromarray(np.full(alpha.shape, grey, np.uint8)).convert(mode[:-1])
    picture.putalpha(Image.fromarray(alpha.astype(np.uint8)))
    return picture


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_the_mask(put: Put, mode: str, name: str) -> None:
    alpha = disc()
    path = put(name, with_alpha(mode, alpha))
    rule, _ = find_rule([path], None, "alpha")
    np.testing.assert_array_equal(rule.load(path), alpha > 127)
    assert f"alpha values above 127 are foreground ({(alpha > 127).sum():,} of 4,096 pixels" in rule.note
    assert f"{((alpha > 0) & (alpha < 255)).sum():,} pixels between 0 and 255 decided so" in rule.note


@pytest.mark.parametrize("transparency", [b"\xff\x00\x80", 1])
def test_transparency_of_a_palette_is_the_mask(put: Put, transparency: bytes | int) -> None:
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    picture.putpalette([10, 20, 30] * 3)
    path = put("a.png", picture, transparency=transparency)
    assert find_rule([path], None, "alpha")[0].load(path).tolist() == [[1, 0, 1]]


@pytest.mark.parametrize("key", [7, (7, 7, 7)])
def test_a_transparent_colour_is_the_mask(put: Put, key: int | tuple[int, ...]) -> None:
    grey = np.array([[7, 9, 7]], np.uint8)
    picture = Image.fromarray(grey if isinstance(key, int) else np.dstack([grey] * 3))
    path = put("a.png", picture, transparency=key)
    assert find_rule([path], None, "alpha")[0].load(path).tolist() == [[0, 1, 0]]


def test_a_mask_without_transparency_is_named(put: Put) -> None:
    sound = put("a.png", with_alpha("RGBA", disc()))
    problems = find_rule([sound, put("b.png", [[0, 1]])], None, "alpha")[1]
    assert len(problems) == 1
    assert "b.png has no alpha channel, which --masks alpha takes for the mask; save it with one" in problems[0]


@pytest.mark.parametrize("grey", [0, 200, 255])
def test_transparency_alone_is_found(put: Put, grey: int) -> None:
    path, empty = put("a.png", with_alpha("RGBA", disc(), grey)), put("b.png", with_alpha("RGBA", 0 * disc(), grey))
    rule, _ = find_rule([path, empty], None)
    np.testing.assert_array_equal(rule.load(path), disc() > 127)
    assert not rule.load(empty).any()
    assert "what is visible has one colour in all masks, so that transparency is the mask" in rule.note


def test_what_is_fully_transparent_is_background_whatever_its_colour(put: Put) -> None:
    """Drawing programs keep white under the parts that nobody painted."""
    pixels = np.full((2, 3, 4), (255, 255, 255, 0), np.uint8)
    pixels[0, 0], pixels[0, 1] = (200, 0, 0, 255), (0, 0, 200, 130)
    path = put("a.png", pixels)
    opaque = put("b.png", [[(200, 0, 0, 255), (0, 0, 0, 255)]])
    rule, _ = find_rule([path, opaque], None)
    assert rule.class_names == ("background", "colour_0000c8", "colour_c80000")
    assert rule.load(path).tolist() == [[2, 1, 0], [0, 0, 0]]
    assert rule.load(opaque).tolist() == [[2, 0]]
    assert "4 fully transparent pixels are background, whatever their colour" in rule.note


def test_transparent_grey_is_background_as_well(put: Put) -> None:
    values = np.array([[1, 2, 9], [9, 9, 9]], np.uint8)
    path = put("a.png", Image.merge("LA", [Image.fromarray(values), Image.fromarray((values != 9) * np.uint8(255))]))
    rule, _ = find_rule([path], None)
    assert rule.class_names == ("background", "class_1", "class_2")
    assert rule.load(path).tolist() == [[1, 2, 0], [0, 0, 0]]


def test_a_constant_alpha_channel_means_nothing(put: Put) -> None:
    for alpha in (0, 255):
        path = put("a.png", np.dstack([np.eye(3) * 255] * 3 + [np.full((3, 3), alpha)]))
        assert find_rule([path], None)[0].load(path).tolist() == np.eye(3).tolist()
