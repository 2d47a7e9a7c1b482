"""Sizes and ranges of pixels, against pictures made by hand."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from isdm.config import Fit
from isdm.data.dataset import IGNORE_INDEX
from isdm.data.semantic_map import null_map, semantic_map
from isdm.data.transforms import fit_pair, from_model_range, to_model_range

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
