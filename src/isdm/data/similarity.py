"""How alike two pictures are, whatever the light: the measure behind near-duplicates.

A picture is reduced to a small square, its slowly varying part (the light) is taken away, and what remains is
divided by its own local contrast. Two such squares are compared block by block: every block of one is looked
for in a neighbourhood of the same place in the other by normalised cross-correlation (Lewis 1995), so that a
crop some pixels wide, a slight turn or a shear between the two photographs does no harm. The similarity is the
mean over the blocks of the best correlation found: 1 for the same picture, about 0.2 for unrelated ones.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from isdm.data.image_files import ImageArray

SIDE_PX = 96
"""Height and width of the reduced pictures."""
SMALLEST_PX = 32
"""Pictures with a shorter side hold too little to tell twins from strangers."""
LIGHT_SIGMA_PX = 2.0
"""What varies more slowly than this is light."""
REACH_PX = 8
"""How far a block is looked for in each direction."""
BLOCKS = 4
"""Blocks along each side."""
BLOCK_PX = (SIDE_PX - 2 * REACH_PX) // BLOCKS
WINDOW_PX = BLOCK_PX + 2 * REACH_PX
FLAT = 2.0
"""Contrast in grey levels that counts as none; noise of flat areas is not blown up to a pattern."""
LEAST_NORM = 0.05 * BLOCK_PX
"""Norm below which a block holds nothing to be found."""

_STARTS = [index * BLOCK_PX for index in range(BLOCKS)]

Floats = NDArray[np.float32]


def thumbnail(picture: ImageArray) -> NDArray[np.uint8]:
    """Reduce a picture (H, W, C) of 8 or 16 bits to grey (SIDE_PX, SIDE_PX) uint8, whatever its shape.

    A picture that is too small to be compared gives a flat one, which is like no other.
    """
    if min(picture.shape[:2]) < SMALLEST_PX:
        return np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    grey = picture[:, :, 0].astype(np.float32)
    for channel in range(1, picture.shape[2]):  # several times faster than the mean over so short an axis
        grey += picture[:, :, channel]
    grey /= picture.shape[2]
    if picture.dtype == np.uint16:  # few of the 16 bits may be used
        grey *= 255 / max(float(grey.max()), 1.0)
    small = Image.fromarray(grey).resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
    whole: NDArray[np.uint8] = np.rint(np.asarray(small)).clip(0, 255).astype(np.uint8)
    return whole


def without_light(thumbnails: NDArray[np.uint8], common: Floats | None = None) -> Floats:
    """Thumbnails (..., S, S) without slow changes of brightness and with even local contrast, as float32.

    Args:
        thumbnails: grey pictures.
        common: (S, S) what all pictures of a set show, such as a frame; it is taken away first.
    """
    values = thumbnails.astype(np.float32)
    sigma = (0,) * (values.ndim - 2) + (LIGHT_SIGMA_PX,) * 2
    fine = values - ndimage.gaussian_filter(values, sigma, mode="reflect")
    if common is not None:
        fine -= common
    contrast = np.sqrt(ndimage.gaussian_filter(fine * fine, tuple(2 * s for s in sigma), mode="reflect"))
    even: Floats = (fine / (contrast + FLAT)).astype(np.float32)
    return even


class Windows(NamedTuple):
    """Where blocks are looked for: spectra (BLOCKS**2, …) of the windows, and the norm of each part of them."""

    spectra: NDArray[np.complex64]
    norms: Floats


def prepared_windows(picture: NDArray[np.floating]) -> Windows:
    """Prepare a picture (S, S) of `without_light` to look for others' blocks in it."""
    windows: Floats = np.stack(
        [picture[y : y + WINDOW_PX, x : x + WINDOW_PX].astype(np.float32) for y in _STARTS for x in _STARTS]
    )
    variance = _box_sums(windows * windows) - _box_sums(windows) ** 2 / BLOCK_PX**2
    norms = np.sqrt(np.maximum(variance, LEAST_NORM**2)).astype(np.float32)
    return Windows(np.conj(np.fft.rfft2(windows)), norms)


def similarities(windows: Windows, pictures: NDArray[np.floating]) -> Floats:
    """Similarity of each of the pictures (N, S, S) of `without_light` to the one with these windows: (N,)."""
    parts = [
        pictures[:, REACH_PX + y : REACH_PX + y + BLOCK_PX, REACH_PX + x : REACH_PX + x + BLOCK_PX]
        for y in _STARTS
        for x in _STARTS
    ]
    blocks = np.stack(parts, axis=1).astype(np.float32)  # (N, B, P, P)
    blocks -= blocks.mean(axis=(2, 3), keepdims=True)
    length = np.sqrt((blocks * blocks).sum(axis=(2, 3), keepdims=True))
    blocks /= np.where(length > LEAST_NORM, length, np.inf)
    # The transform of the mirrored correlation: a block's shift by (y, x) stands at (-y, -x), that is from the end.
    product = np.fft.rfft2(blocks, (WINDOW_PX, WINDOW_PX)) * windows.spectra
    found = np.fft.irfft2(product, (WINDOW_PX, WINDOW_PX))
    shifts = -np.arange(2 * REACH_PX + 1)
    correlation = found[:, :, shifts[:, None], shifts] / windows.norms
    return np.asarray(correlation.reshape(*correlation.shape[:2], -1).max(axis=2).mean(axis=1), np.float32)


def _box_sums(values: Floats) -> NDArray[np.float64]:
    """Sums over every BLOCK_PX x BLOCK_PX part of (B, W, W), by integral images."""
    total = np.pad(values.astype(np.float64), ((0, 0), (1, 0), (1, 0))).cumsum(axis=1).cumsum(axis=2)
    size = BLOCK_PX
    sums: NDArray[np.float64] = (
        total[:, size:, size:] - total[:, :-size, size:] - total[:, size:, :-size] + total[:, :-size, :-size]
    )
    return sums
