"""How alike two pictures are, whatever the light: the measure behind near-duplicates.

A picture is reduced to a small square, its slowly varying part (the light) is taken away, and what remains is
divided by its own local contrast. Two such squares are compared block by block: every block of one is looked
for in a neighbourhood of the same place in the other by normalised cross-correlation (Lewis 1995), so that a
crop some pixels wide, a slight turn or a shear between the two photographs does no harm. The similarity is the
mean over the blocks of the best correlation found: 1 for the same picture, about 0.2 for unrelated ones.
"""

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from isdm.data.image_files import ImageArray, as_picture

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
SHIFTS = 2 * REACH_PX + 1
FLAT = 2.0
"""Contrast in grey levels that counts as none; noise of flat areas is not blown up to a pattern."""
LEAST_NORM = 0.05 * BLOCK_PX
"""Norm below which a block holds nothing to be found."""

_PACKED_ONE = 2048
"""What stands for 1 in packed pictures. A lone bright pixel reaches 10: a hundredth of its contrast is its own."""
_MEAN_OF_CHANNELS = (1 / 3, 1 / 3, 1 / 3, 0.0)
_PLACES = [(y * BLOCK_PX, x * BLOCK_PX) for y in range(BLOCKS) for x in range(BLOCKS)]

Floats = NDArray[np.float32]


def thumbnail(picture: ImageArray) -> NDArray[np.uint8]:
    """Reduce a picture (H, W, C) of 8 or 16 bits to grey (SIDE_PX, SIDE_PX) uint8, whatever its shape.

    A picture that is too small to be compared gives a flat one, which is like no other.
    """
    if min(picture.shape[:2]) < SMALLEST_PX:
        return np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    small = _grey(picture).resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
    whole: NDArray[np.uint8] = np.rint(np.asarray(small)).clip(0, 255).astype(np.uint8)
    return whole


def _grey(picture: ImageArray) -> Image.Image:
    """A picture (H, W, C) in grey of about 0 to 255: the mean of its channels."""
    if picture.dtype == np.uint16:  # few of the 16 bits may be used
        values = picture[:, :, 0].astype(np.float32)
        return Image.fromarray(values * np.float32(255 / max(float(values.max()), 1.0)))
    shown = as_picture(np.ascontiguousarray(picture))
    return shown if shown.mode == "L" else shown.convert("L", _MEAN_OF_CHANNELS)


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


def packed(pictures: Floats) -> NDArray[np.int16]:
    """Pictures of `without_light` in half the memory, to within 1/4096; half floats would be slow to read again."""
    values: NDArray[np.int16] = np.rint(pictures * np.float32(_PACKED_ONE)).astype(np.int16)
    return values


def unpacked(values: NDArray[np.int16]) -> Floats:
    """What was `packed`."""
    pictures: Floats = values.astype(np.float32)
    pictures /= np.float32(_PACKED_ONE)
    return pictures


class Windows(NamedTuple):
    """Where blocks are looked for in a picture, and the norm of what lies there.

    Attributes:
        rows: (BLOCKS**2, WINDOW_PX, BLOCK_PX, SHIFTS) each row of the windows at each shift to the side. The part at
            a shift downwards is BLOCK_PX rows of it, one behind the other: parts that overlap are held once
            and not copied out one by one.
        norms: (BLOCKS**2, SHIFTS, SHIFTS) norms of the parts without their means, by shift downwards and to the side.
    """

    rows: Floats
    norms: Floats


def prepared_windows(picture: Floats) -> Windows:
    """Prepare a picture (S, S) of `without_light` to look for others' blocks in it."""
    shifted = sliding_window_view(picture, SHIFTS, axis=1)
    rows = np.empty((BLOCKS**2, WINDOW_PX, BLOCK_PX, SHIFTS), np.float32)
    sums = np.empty((2, BLOCKS**2, SHIFTS, SHIFTS))
    of_values, of_squares = _box_sums(picture), _box_sums(np.square(picture))
    for place, (y, x) in enumerate(_PLACES):
        rows[place] = shifted[y : y + WINDOW_PX, x : x + BLOCK_PX]
        part = slice(y, y + SHIFTS), slice(x, x + SHIFTS)
        sums[0, place], sums[1, place] = of_values[part], of_squares[part]
    variance = sums[1] - sums[0] ** 2 / BLOCK_PX**2
    return Windows(rows, np.sqrt(np.maximum(variance, LEAST_NORM**2)).astype(np.float32))


def similarities(windows: Windows, pictures: Floats) -> Floats:
    """Similarity of each of the pictures (N, S, S) of `without_light` to the one with these windows: (N,).

    A matrix product finds the correlations of a block at all shifts to the side: four times as fast as a Fourier
    transform of so small windows.
    """
    inner = pictures[:, REACH_PX:-REACH_PX, REACH_PX:-REACH_PX]
    places = inner.reshape(-1, BLOCKS, BLOCK_PX, BLOCKS, BLOCK_PX).transpose(1, 3, 0, 2, 4)
    blocks = np.ascontiguousarray(places).reshape(BLOCKS**2, len(pictures), BLOCK_PX**2)
    blocks -= blocks.mean(axis=2, keepdims=True)
    length = np.linalg.norm(blocks, axis=2, keepdims=True)
    blocks /= np.where(length > LEAST_NORM, length, np.inf)
    correlation = blocks[:, None] @ _parts(windows)
    correlation /= windows.norms[:, :, None]
    best = correlation.max(axis=1).max(axis=2)
    return np.asarray(best.mean(axis=0), np.float32)


def _parts(windows: Windows) -> Floats:
    """A view (BLOCKS**2, SHIFTS, BLOCK_PX**2, SHIFTS) of all parts of the windows, one column each."""
    rows = windows.rows
    return as_strided(rows, (BLOCKS**2, SHIFTS, BLOCK_PX**2, SHIFTS), rows.strides, writeable=False)


def _box_sums(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Sums over every BLOCK_PX x BLOCK_PX part of (S, S), by an integral image."""
    total = np.pad(values.astype(np.float64), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    size = BLOCK_PX
    sums: NDArray[np.float64] = (
        total[size:, size:] - total[:-size, size:] - total[size:, :-size] + total[:-size, :-size]
    )
    return sums
