"""Connected regions of a mask."""

import numpy as np

from isdm.data.regions import connected_regions


def test_pixels_that_touch_at_a_corner_are_one_region() -> None:
    labels, count = connected_regions(np.eye(5, dtype=bool))
    assert count == 1
    np.testing.assert_array_equal(labels, np.eye(5))


def test_regions_are_numbered_from_one_and_the_rest_is_zero() -> None:
    inside = np.zeros((4, 6), bool)
    inside[0, 0] = inside[3, 2:4] = inside[0:2, 5] = True
    labels, count = connected_regions(inside)
    assert count == 3
    assert sorted(np.unique(labels)) == [0, 1, 2, 3]
    np.testing.assert_array_equal(labels > 0, inside)


def test_nothing_has_no_region() -> None:
    labels, count = connected_regions(np.zeros((3, 3), bool))
    assert count == 0
    assert not labels.any()
