"""Sizes and ranges of pixels, against pictures made by hand."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from isdm.config import Fit
from isdm.data.dataset import IGNORE_INDEX
from isdm.data.fitting import fit_pair
from isdm.data.semantic_map import null_map, semantic_map
from isdm.data.transforms import from_model_range, to_model_range

RED, BLUE = (200, 10, 10), (10, 10, 200)


def left_and_right(height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Red of class 1 on the left half, blue of class 2 on the right half."""
    mask = np.ones((height, width), np.uint8)
    mask[:, width // 2 :] = 2
    return np.where(mask[..., None] == 1, RED, BLUE).astype(np.uint8), mask


@pytest.mark.parametrize("channels", [1, 3])
def test_all_256_values_come_back_exactly(channels: int) -> None:
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(channels, axis=3)
    x_start = to_model_range(images)
    assert x_start.dtype == torch.float32
    assert x_start.shape == (1, channels, 16, 16)
    assert (x_start.min(), x_start.max()) == (-1, 1)
    np.testing.assert_array_equal(from_model_range(x_start), images)


def test_all_65536_values_come_back_exactly() -> None:
    images = np.arange(65536, dtype=np.uint16).reshape(1, 256, 256, 1)
    x_start = to_model_range(images, 16)
    assert (x_start.min(), x_start.max()) == (-1, 1)
    back = from_model_range(x_start, 16)
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back, images)


def test_8_bits_in_a_model_of_16_are_a_mistake() -> None:
    with pytest.raises(AssertionError, match="uint8 images are not of 16 bits"):
        to_model_range(np.zeros((1, 2, 2, 1), np.uint8), 16)


def test_channels_and_places_are_kept() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 3), np.uint8)
    x_start = to_model_range(images)
    assert x_start[1, 2, 0, 4] == pytest.approx(images[1, 0, 4, 2] / 127.5 - 1, abs=1e-6)
    np.testing.assert_array_equal(from_model_range(x_start), images)


def test_values_beyond_the_range_are_clamped_and_others_rounded_to_nearest() -> None:
    x_start = torch.tensor([-3.0, 3.0, 0.6 / 127.5 - 1, 0.4 / 127.5 - 1]).reshape(1, 1, 1, 4)
    assert from_model_range(x_start).ravel().tolist() == [0, 255, 1, 0]


def test_without_a_size_nothing_changes() -> None:
    image, mask = left_and_right(5, 7)
    for size in (None, (5, 7)):
        same_image, same_mask = fit_pair(image, mask, size, "stretch")
        np.testing.assert_array_equal(same_image, image)
        np.testing.assert_array_equal(same_mask, mask)


def test_stretching_changes_the_aspect_ratio() -> None:
    image, mask = fit_pair(*left_and_right(4, 8), (8, 8), "stretch")
    assert image.shape == (8, 8, 3)
    np.testing.assert_array_equal(mask, left_and_right(8, 8)[1])
    assert np.abs(image[:, [0, -1]].astype(int) - left_and_right(8, 8)[0][:, [0, -1]]).max() <= 1


def test_padding_fills_with_black_that_the_mask_ignores() -> None:
    image, mask = fit_pair(*left_and_right(4, 8), (8, 8), "pad")
    expected_image, expected_mask = np.zeros((8, 8, 3)), np.full((8, 8), IGNORE_INDEX)
    expected_image[2:6], expected_mask[2:6] = left_and_right(4, 8)
    np.testing.assert_array_equal(mask, expected_mask)
    np.testing.assert_array_equal(image, expected_image)


def test_cropping_cuts_the_middle() -> None:
    image, mask = fit_pair(*left_and_right(4, 12), (4, 4), "crop")
    expected_image, expected_mask = left_and_right(4, 4)
    np.testing.assert_array_equal(mask, expected_mask)
    np.testing.assert_array_equal(image, expected_image)


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(6, 10), (13, 4), (1, 1)])
def test_sizes_channels_and_class_ids_are_as_asked(fit: Fit, channels: int, size: tuple[int, int]) -> None:
    image, mask = left_and_right(9, 7)
    small_image, small_mask = fit_pair(image[:, :, :channels], mask, size, fit)
    assert small_image.shape == (*size, channels)
    assert small_mask.shape == size
    assert small_image.dtype == small_mask.dtype == np.uint8
    assert set(np.unique(small_mask)) <= {1, 2, IGNORE_INDEX}, "nearest neighbour invents no class"


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_image_and_mask_move_together(fit: Fit) -> None:
    """A bright square stays under its mask, within the blur of one pixel's resampling."""
    mask = np.zeros((24, 36), np.uint8)
    mask[8:16, 12:20] = 1
    image, fitted_mask = fit_pair(mask[..., None] * 255, mask, (48, 48), fit)
    centre_of_image = np.argwhere(image[:, :, 0] > 127).mean(axis=0)
    centre_of_mask = np.argwhere(fitted_mask == 1).mean(axis=0)
    np.testing.assert_allclose(centre_of_image, centre_of_mask, atol=0.75)


def test_the_semantic_map_is_one_hot_and_zero_where_ignored() -> None:
    mask = torch.tensor([[[0, 2], [1, IGNORE_INDEX]]])
    expected = torch.tensor([[[[1, 0], [0, 0]], [[0, 0], [1, 0]], [[0, 1], [0, 0]]]])
    result = semantic_map(mask, 3)
    assert result.dtype == torch.float32
    assert torch.equal(result, expected.float())


def test_the_null_map_is_zero_which_is_not_class_zero() -> None:
    background = semantic_map(torch.zeros(1, 2, 2), 3)
    assert torch.equal(null_map(background), torch.zeros(1, 3, 2, 2))
    assert not torch.equal(null_map(background), background)


WIDE_EDGE = np.repeat(np.repeat([[0, 65535]], 8, axis=1), 12, axis=0).astype(np.uint16)[:, :, None]
"""Black left, white right: bicubic overshoots on both sides of the edge."""


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("size", [(18, 24), (24, 18), (5, 7), (1, 1)])
def test_16_bits_are_resampled_like_8_and_never_overflow(fit: Fit, size: tuple[int, int]) -> None:
    mask = np.zeros(WIDE_EDGE.shape[:2], np.uint8)
    wide, wide_mask = fit_pair(WIDE_EDGE, mask, size, fit)
    narrow, narrow_mask = fit_pair((WIDE_EDGE // 257).astype(np.uint8), mask, size, fit)
    assert (wide.dtype, wide.shape) == (np.uint16, (*size, 1))
    assert np.abs(wide / 257 - narrow).max() <= 1
    np.testing.assert_array_equal(wide_mask, narrow_mask)


@pytest.mark.parametrize("size", [(18, 24), (24, 18), (5, 7)])
def test_16_bits_are_resampled_as_another_library_does(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).choice([0, 40_000, 65_535], (12, 16, 1)).astype(np.uint16)
    wide, _ = fit_pair(image, np.zeros((12, 16), np.uint8), size, "stretch")
    tensor = torch.from_numpy(image[None, :, :, 0].astype(np.float64))[None]
    expected = torch.nn.functional.interpolate(tensor, size, mode="bicubic", antialias=True)[0, 0]
    assert expected.max() > 65535.5 or size == (5, 7), "edges overshoot"
    assert np.abs(wide[:, :, 0] - expected.clamp(0, 65535).round().numpy()).max() <= 1


def test_16_bits_are_finer_than_8() -> None:
    """A ramp of 300 steps within one step of 8 bits stays a ramp."""
    ramp = (30_000 + np.arange(300) % 257).astype(np.uint16)[None, :, None].repeat(4, axis=0)
    fitted, _ = fit_pair(ramp, np.zeros((4, 300), np.uint8), (4, 150), "stretch")
    assert len(np.unique(fitted)) > 100
