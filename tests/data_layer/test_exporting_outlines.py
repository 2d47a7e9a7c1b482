"""Outlines and objects of masks, filled again by pycocotools and counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from scipy import ndimage

from exported import blobs
from isdm.data.exporting.objects import mask_objects
from isdm.data.exporting.outlines import outlines
from isdm.data.shapes import polygon_pixels


def drawn(picture: str) -> np.ndarray:
    """Pixels from text, set where it has an `x`."""
    return np.array([[letter == "x" for letter in row] for row in picture.split()])


def filled(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    (encoded,) = coco_mask.frPyObjects([points.ravel().astype(float).tolist()], *shape)
    return coco_mask.decode(encoded).astype(bool)


def even_odd(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """By the definition: a ray from the centre of a pixel inside crosses an odd number of edges."""
    inside = np.zeros(shape, bool)
    for (x, y), (next_x, next_y) in zip(points, np.roll(points, -1, axis=0), strict=True):
        assert x == next_x or y == next_y
        for row in range(min(y, next_y), max(y, next_y)):
            inside[row, :x] ^= True
    return inside


def check(pixels: np.ndarray) -> None:
    found = outlines(pixels)
    parts, count = ndimage.label(pixels, np.ones((3, 3)))
    assert len(found) == count
    owners = []
    for points in found:
        part = filled(points, pixels.shape)
        np.testing.assert_array_equal(part, even_odd(points, pixels.shape))
        (owner,) = np.unique(parts[part])
        np.testing.assert_array_equal(part, parts == owner)
        np.testing.assert_array_equal(part, polygon_pixels(list(map(tuple, points.tolist())), *pixels.shape))
        owners.append(owner)
    assert len(set(owners)) == count


@pytest.mark.parametrize(
    "picture",
    [
        "x",
        "xx x.",
        ".x x.",  # two pixels that touch at a corner
        "x. .x",
        "xxx x.x xxx",  # a hole
        "xxx x.x xx.",  # a hole that touches the outside at a corner
        "xxxxx x.x.x xxxxx",  # two holes side by side
        "xxx x.x xxx x.x xxx",  # two holes one above the other
        "xxxx x..x x.xx xxxx",
        "xxxx x.xx xx.x xxxx",  # two holes that touch at a corner
        "xxxx xx.x x.xx xxxx",
        "xxxxx x...x x.x.x x...x xxxxx",  # an island in a hole
        "xxxxx x...x x.xxx x...x xxxxx",
        ".x.x. x.x.x .x.x. x.x.x",  # a chess board
        "x.x.x ..... x.x.x",
        "..... .....",
    ],
)
def test_outlines_of_small_pictures(picture: str) -> None:
    check(drawn(picture))


@given(st.integers(0, 2**32 - 1), st.integers(1, 14), st.integers(1, 14), st.sampled_from([0.3, 0.5, 0.7, 0.9, 1.0]))
def test_outlines_of_random_pixels(seed: int, height: int, width: int, share: float) -> None:
    check(np.random.default_rng(seed).random((height, width)) < share)


def test_a_rectangle_has_four_points() -> None:
    pixels = np.zeros((5, 9), bool)
    pixels[1:4, 2:7] = True
    (points,) = outlines(pixels)
    assert sorted(map(tuple, points.tolist())) == [(2, 1), (2, 4), (7, 1), (7, 4)]


def test_a_cut_runs_through_the_object() -> None:
    """Tools that paint outlines thick, as OpenCV does, must not paint it elsewhere."""
    (points,) = outlines(drawn("xxxx xxxx xx.x xxxx"))
    at_cut = [(x, y) for x, y in points.tolist() if x == 2]
    assert sorted(set(at_cut)) == [(2, 0), (2, 2), (2, 3)]


def test_a_column_of_many_holes() -> None:
    pixels = np.ones((4001, 3), bool)
    pixels[1::2, 1] = False
    (points,) = outlines(pixels)
    np.testing.assert_array_equal(filled(points, pixels.shape), pixels)


def test_objects_hang_together_at_corners_too() -> None:
    mask = np.array([[1, 0, 2, 2], [0, 1, 0, 1], [0, 0, 0, 255]], np.uint8)
    found = [(entry.class_id, entry.instance, entry.positions.tolist()) for entry in mask_objects(mask, None, 3)]
    assert found == [(1, None, [0, 4]), (1, None, [10]), (2, None, [6, 9])]


def test_objects_of_instance_maps() -> None:
    mask = np.array([[1, 1, 1, 0], [2, 1, 1, 255]], np.uint8)
    instances = np.array([[9, 4, 9, 0], [9, 4, 65535, 7]], np.uint16)
    found = [(entry.class_id, entry.instance, entry.positions.tolist()) for entry in mask_objects(mask, instances, 3)]
    assert found == [(1, 4, [2, 3]), (1, 9, [0, 4]), (1, 65535, [5]), (2, 9, [1])]


def test_objects_of_one_class_make_up_its_pixels() -> None:
    mask = blobs(0)
    again = np.zeros(mask.size, np.uint8)
    for entry in mask_objects(mask, None, 4):
        assert (again[entry.positions] == 0).all()
        assert (np.diff(entry.positions) > 0).all()
        again[entry.positions] = entry.class_id
    np.testing.assert_array_equal(again.reshape(mask.shape, order="F"), np.where(mask == 255, 0, mask))
