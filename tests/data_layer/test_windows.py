"""Windows of large images: every pixel is in a tile, every object in a crop."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from imported import imported, loaded
from isdm.data.windows import crop_window, windows_of

masks = arrays.arrays(
    np.uint8,
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    elements=st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2, 255]),
)
sizes = st.tuples(st.integers(1, 20), st.integers(1, 20))


@given(masks, sizes)
@settings(max_examples=100, deadline=None)
def test_tiles_cover_every_pixel_within_the_image(mask: np.ndarray, size: tuple[int, int]) -> None:
    covered = np.zeros(mask.shape, int)
    for window in windows_of(mask, size, "tile"):
        part = covered[window.slices]
        assert part.shape == (min(size[0], mask.shape[0]), min(size[1], mask.shape[1]))
        part += 1
    assert covered.min() >= 1


@given(masks, sizes)
@settings(max_examples=150, deadline=None)
def test_every_object_lies_in_a_crop_or_is_covered_by_several(mask: np.ndarray, size: tuple[int, int]) -> None:
    windows = windows_of(mask, size, "crop")
    assert windows
    labels, count = ndimage.label((mask > 0) & (mask < 255), structure=np.ones((3, 3)))
    for label in range(1, count + 1):
        seen = np.zeros(mask.shape, bool)
        for window in windows:
            assert mask[window.slices].shape == (min(size[0], mask.shape[0]), min(size[1], mask.shape[1]))
            seen[window.slices] = True
        assert seen[labels == label].all()


def test_one_crop_holds_neighbouring_objects_and_an_empty_image_gives_its_middle() -> None:
    mask = np.zeros((100, 100), np.uint8)
    assert [window.slices for window in windows_of(mask, (20, 40), "crop")] == [(slice(40, 60), slice(30, 70))]
    mask[50:54, 50:54] = mask[50:52, 56:58] = 1
    assert len(windows_of(mask, (20, 20), "crop")) == 1
    mask[5, 5] = 1
    assert len(windows_of(mask, (20, 20), "crop")) == 2


@pytest.mark.parametrize("place", [(2, 10), (90, 95), (40, 60)])
def test_the_largest_crop_moves_to_keep_the_foreground(place: tuple[int, int]) -> None:
    mask = np.zeros((20, 100), np.uint8)
    mask[5:8, slice(*place)] = 1
    window = crop_window(mask, (10, 10))
    assert (window.height, window.width) == (20, 20)
    assert window.left <= place[0]
    assert window.left + 20 >= place[1]
    assert crop_window(np.zeros((20, 100), np.uint8), (10, 10)).left == 40


def test_an_object_larger_than_the_largest_crop_keeps_its_middle() -> None:
    mask = np.zeros((20, 100), np.uint8)
    mask[:, 50:90] = 1
    assert crop_window(mask, (10, 10)).left == 60


@pytest.fixture
def large(tmp_path: Path, put: Callable[..., Path], noise: Callable[..., np.ndarray]) -> Path:
    """Three images of 64x48 with two specks each, far apart."""
    for index in range(3):
        mask = np.zeros((48, 64))
        mask[4:6, 4:6] = mask[40:42, 58:60] = 255
        put(f"source/images/{index}.png", noise(index, 48, 64, 3))
        put(f"source/masks/{index}.png", mask)
    return tmp_path / "source"


def test_crops_of_the_sources_own_pixels_keep_every_defect(large: Path) -> None:
    dataset = imported(large, size=16, window=16, fit="crop", test=1, validation=1)
    pairs = loaded(dataset)
    assert len(pairs) == 6
    assert all((mask == 1).sum() == 4 for _, mask in pairs.values())
    groups = {pair.stem: pair.group for split in dataset.splits for pair in dataset.pairs(split)}
    assert set(groups.values()) == {"0", "1", "2"}, "windows of one image stay together"


def test_tiles_put_together_are_the_image(large: Path, noise: Callable[..., np.ndarray]) -> None:
    pairs = loaded(imported(large, size=16, fit="tile", test=1, validation=1))
    assert len(pairs) == 3 * 12
    whole = np.zeros((48, 64, 3), np.uint8)
    for stem, (image, _) in pairs.items():
        number, top, left = stem.split("_")
        if number == "1":
            whole[int(top[1:]) : int(top[1:]) + 16, int(left[1:]) : int(left[1:]) + 16] = image
    np.testing.assert_array_equal(whole, noise(1, 48, 64, 3))
