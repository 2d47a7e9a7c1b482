"""Shapes as pixels, compared with pycocotools, Pillow and a definition pixel by pixel."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from isdm.data.shapes import (
    ellipse_pixels,
    line_pixels,
    polygon_pixels,
    run_pixels,
    turned_box_pixels,
)
from isdm.errors import DataError

HEIGHT, WIDTH = 40, 60
CENTRES_X = np.arange(WIDTH)[None, :] + 0.5
CENTRES_Y = np.arange(HEIGHT)[:, None] + 0.5

inner_points = st.lists(st.tuples(st.floats(0, WIDTH), st.floats(0, HEIGHT)), min_size=3, max_size=8)


@given(inner_points)
@settings(max_examples=50, deadline=None)
def test_polygons_are_those_of_pycocotools(points: list[tuple[float, float]]) -> None:
    flat = [value for point in points for value in point]
    expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([flat], HEIGHT, WIDTH)))
    np.testing.assert_array_equal(polygon_pixels(points, HEIGHT, WIDTH), expected)


def test_a_polygon_differs_from_pillows_at_its_border_alone() -> None:
    points = [(5.0, 3.0), (50.0, 10.0), (40.0, 35.0), (12.0, 30.0)]
    picture = Image.new("1", (WIDTH, HEIGHT))
    ImageDraw.Draw(picture).polygon(points, fill=1)
    other = np.asarray(picture)
    ours = polygon_pixels(points, HEIGHT, WIDTH)
    assert (ours != other).sum() < 150  # the border is about 140 pixels long
    inner = coco_mask.decode(coco_mask.frPyObjects([[8, 6, 46, 12, 38, 32, 14, 28]], HEIGHT, WIDTH)[0]).astype(bool)
    assert inner.sum() > 600
    assert ours[inner].all()
    assert other[inner].all()


def test_a_box_of_whole_pixels_is_exactly_these() -> None:
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[3:9, 10:25] = True
    np.testing.assert_array_equal(turned_box_pixels(17.5, 6, 15, 6, 0, HEIGHT, WIDTH), expected)
    np.testing.assert_array_equal(turned_box_pixels(17.5, 6, 6, 15, 90, HEIGHT, WIDTH), expected)


@pytest.mark.parametrize("x", [-1.5, WIDTH + 1.5, math.nan, math.inf])
def test_a_point_outside_the_image_is_refused(x: float) -> None:
    with pytest.raises(DataError, match=r"the polygon has the point \("):
        polygon_pixels([(x, 3.0), (20.0, 3.0), (20.0, 9.0)], HEIGHT, WIDTH)
    with pytest.raises(DataError, match=r"the line has the point \("):
        line_pixels([(x, 3.0), (20.0, 3.0)], 2, HEIGHT, WIDTH)
    with pytest.raises(DataError, match=r"the ellipse has the point \("):
        ellipse_pixels(x, 3.0, 2, 2, 0, HEIGHT, WIDTH)


def test_a_point_just_outside_is_allowed() -> None:
    assert polygon_pixels([(-1, -1), (WIDTH + 1, -1), (WIDTH + 1, HEIGHT + 1), (-1, HEIGHT + 1)], HEIGHT, WIDTH).all()


@pytest.mark.parametrize("points", [[], [(1.0, 1.0), (5.0, 5.0)]])
def test_a_polygon_needs_three_points(points: list[tuple[float, float]]) -> None:
    with pytest.raises(DataError, match=r"it needs at least three: redraw or remove it"):
        polygon_pixels(points, HEIGHT, WIDTH)


@given(st.floats(0, WIDTH), st.floats(0, HEIGHT), st.floats(0.1, 80), st.floats(0.1, 80), st.floats(-400, 400))
@settings(max_examples=100, deadline=None)
def test_an_ellipse_has_the_pixels_whose_centres_it_covers(
    x: float, y: float, radius_x: float, radius_y: float, turn: float
) -> None:
    ours = ellipse_pixels(x, y, radius_x, radius_y, turn, HEIGHT, WIDTH)
    # The distances to both foci together are at most twice the longer half axis.
    longer, shorter = max(radius_x, radius_y), min(radius_x, radius_y)
    angle = math.radians(turn + (0 if radius_x >= radius_y else 90))
    focus = math.sqrt(longer**2 - shorter**2)
    away = [
        np.hypot(CENTRES_X - x - sign * focus * math.cos(angle), CENTRES_Y - y - sign * focus * math.sin(angle))
        for sign in (-1, 1)
    ]
    margin = 2 * longer - away[0] - away[1]
    clear = np.abs(margin) > 1e-6
    np.testing.assert_array_equal(ours[clear], (margin >= 0)[clear])


def test_an_ellipse_agrees_with_its_points_and_turns_clockwise() -> None:
    ours = ellipse_pixels(30, 20, 18, 6, 30, HEIGHT, WIDTH)
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    along, across, turn = 18 * np.cos(angles), 6 * np.sin(angles), np.pi / 6
    x, y = 30 + along * np.cos(turn) - across * np.sin(turn), 20 + along * np.sin(turn) + across * np.cos(turn)
    from_points = polygon_pixels(list(zip(x.tolist(), y.tolist(), strict=True)), HEIGHT, WIDTH)
    assert (ours ^ from_points).sum() < 0.1 * ours.sum()
    assert ours[28, 44], "down to the right"
    assert not ours[12, 44]


@given(st.floats(0, WIDTH), st.floats(0, HEIGHT), st.floats(0.1, 80), st.floats(0.1, 80), st.floats(-400, 400))
@settings(max_examples=100, deadline=None)
def test_a_turned_box_has_the_pixels_whose_centres_it_covers(
    x: float, y: float, box_width: float, box_height: float, turn: float
) -> None:
    ours = turned_box_pixels(x, y, box_width, box_height, turn, HEIGHT, WIDTH)
    along = complex(math.cos(math.radians(turn)), math.sin(math.radians(turn)))
    own = ((CENTRES_X - x) + 1j * (CENTRES_Y - y)) * along.conjugate()  # turned back
    margin = np.minimum(box_width / 2 - np.abs(own.real), box_height / 2 - np.abs(own.imag))
    clear = np.abs(margin) > 1e-6
    np.testing.assert_array_equal(ours[clear], (margin >= 0)[clear])


@given(st.lists(st.tuples(st.floats(0, WIDTH), st.floats(0, HEIGHT)), min_size=1, max_size=4), st.floats(0.5, 30))
@settings(max_examples=100, deadline=None)
def test_a_line_has_the_pixels_near_to_it(points: list[tuple[float, float]], line_width: float) -> None:
    ours = line_pixels(points, line_width, HEIGHT, WIDTH)
    path = points if len(points) > 1 else points * 2
    nearest = np.full((HEIGHT, WIDTH), np.inf)
    for (x, y), (next_x, next_y) in pairwise(path):
        length2 = (next_x - x) ** 2 + (next_y - y) ** 2
        share = ((CENTRES_X - x) * (next_x - x) + (CENTRES_Y - y) * (next_y - y)) / length2 if length2 else 0.0
        share = np.clip(share, 0, 1)
        away = np.hypot(CENTRES_X - x - share * (next_x - x), CENTRES_Y - y - share * (next_y - y))
        nearest = np.minimum(nearest, away)
    clear = np.abs(nearest - line_width / 2) > 1e-6
    np.testing.assert_array_equal(ours[clear], (nearest <= line_width / 2)[clear])


def test_a_line_is_about_pillows() -> None:
    picture = Image.new("1", (WIDTH, HEIGHT))
    ImageDraw.Draw(picture).line([(10, 20), (50, 20)], fill=1, width=10)
    ours = line_pixels([(10, 20), (50, 20)], 10, HEIGHT, WIDTH)
    assert ours[15:25, 10:50].all()
    assert not ours[:15].any()
    assert not ours[25:].any()
    assert (ours & np.asarray(picture)).sum() >= 0.9 * np.asarray(picture).sum()


def test_what_hangs_over_the_border_is_cut_off() -> None:
    corner = ellipse_pixels(0, 0, 10, 10, 0, HEIGHT, WIDTH)
    assert corner[:7, :7].all()
    assert corner.sum() == pytest.approx(math.pi * 100 / 4, rel=0.05)
    assert turned_box_pixels(WIDTH, HEIGHT, 1e300, 1e300, 17, HEIGHT, WIDTH).all()
    assert ellipse_pixels(5, 5, 1e308, 1e308, 17, HEIGHT, WIDTH).all()


@pytest.mark.parametrize("size", [0.0, -1.0, math.nan, math.inf])
def test_sizes_must_be_above_0(size: float) -> None:
    with pytest.raises(DataError, match="the ellipse has the sizes and rotation"):
        ellipse_pixels(5, 5, 3, size, 0, HEIGHT, WIDTH)
    with pytest.raises(DataError, match="the box has the sizes and rotation"):
        turned_box_pixels(5, 5, size, 3, 0, HEIGHT, WIDTH)
    with pytest.raises(DataError, match="the line has the sizes and rotation"):
        line_pixels([(5, 5)], size, HEIGHT, WIDTH)


def test_a_rotation_must_be_a_number() -> None:
    with pytest.raises(DataError, match="the ellipse has the sizes and rotation 3, 3, nan"):
        ellipse_pixels(5, 5, 3, 3, math.nan, HEIGHT, WIDTH)


def test_a_line_needs_a_point() -> None:
    with pytest.raises(DataError, match="the line has no point"):
        line_pixels([], 3, HEIGHT, WIDTH)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_runs_go_row_by_row_and_begin_with_unset_pixels(seed: int) -> None:
    values = np.random.default_rng(seed).random((7, 11)) < 0.5
    # pycocotools counts column by column, so its runs of the transposed values are those of rows.
    counts = []
    previous, run = False, 0
    for value in values.ravel().tolist():
        if value != previous:
            counts.append(run)
            previous, run = value, 0
        run += 1
    counts.append(run)
    encoded = coco_mask.frPyObjects({"counts": counts, "size": [11, 7]}, 11, 7)
    np.testing.assert_array_equal(coco_mask.decode(encoded).T, values)
    ours = run_pixels(counts, (5, 20, 11, 7), HEIGHT, WIDTH)
    np.testing.assert_array_equal(ours[20:27, 5:16], values)
    assert ours.sum() == values.sum()


@pytest.mark.parametrize("counts", [[], [5], [3, 4], [13, -1], [6, 7]])
def test_runs_that_do_not_fill_their_box_are_refused(counts: list[int]) -> None:
    with pytest.raises(DataError, match=r"the mask's runs add up to .* but its box of 3x4 has 12"):
        run_pixels(counts, (0, 0, 3, 4), HEIGHT, WIDTH)


@pytest.mark.parametrize("box", [(-1, 0, 3, 4), (0, 0, 61, 4), (58, 0, 3, 4), (0, 37, 3, 4), (0, 0, 0, 4)])
def test_a_box_outside_the_image_is_refused(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(DataError, match=r"does not lie in the image of 60x40; export it again"):
        run_pixels([12], box, HEIGHT, WIDTH)
