"""Pictures at a size to look at, and masks laid over them.

A mask is a tint that lets the image be seen through it, with a contour of full colour around it and a dark or
light seam around that, so that it stands out from any image. The background has no tint. A class of a few pixels
in a large image still gets a pixel in its small picture.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from isdm.data.dataset import IGNORE_INDEX, DatasetInfo
from isdm.data.image_files import ImageArray, MaskArray, as_shown

PICTURE_PX = 240
"""Longer side of a small picture."""

_TINT, _SEAM = 0.35, 0.55
_NEIGHBOURS = np.ones((3, 3), bool)
IGNORED_GREY = (127, 127, 127)


def small_image(image: ImageArray, longer_px: int = PICTURE_PX) -> Image.Image:
    """An image (H, W, C) in 8 bits and RGB, its longer side `longer_px`; few pixels are shown as squares."""
    picture = as_shown(image).convert("RGB")
    scale = longer_px / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.NEAREST if scale >= 3 else Image.Resampling.LANCZOS)


def small_mask(mask: MaskArray, size: tuple[int, int]) -> MaskArray:
    """A mask (H, W) at another size (width, height), without losing any foreground class.

    Nearest neighbours give the pixels; a class that they miss gets the pixel that holds most of it.
    """
    small = np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    for lost in np.setdiff1d(mask, small):
        if 0 < lost < IGNORE_INDEX:
            share = Image.fromarray((mask == lost).astype(np.float32)).resize(size, Image.Resampling.BOX)
            small.flat[int(np.asarray(share).argmax())] = lost
    return small


def overlay(picture: Image.Image, mask: MaskArray, info: DatasetInfo) -> Image.Image:
    """Lay a mask (H, W) of the picture's size over it."""
    pixels = np.asarray(picture, np.float64)
    palette = _palette(info)
    covered = mask > 0
    pixels = np.where(covered[:, :, None], (1 - _TINT) * pixels + _TINT * palette[mask], pixels)
    # Each contour lies outside its region, where the background is, and between regions inside each.
    nearest = ndimage.distance_transform_edt(~covered, return_distances=False, return_indices=True)
    owner = palette[mask[tuple(nearest)]] if covered.any() else palette[mask]
    contour = ndimage.binary_dilation(covered, _NEIGHBOURS) & ~covered
    seam = ndimage.binary_dilation(covered, _NEIGHBOURS, iterations=2) & ~covered & ~contour
    between = covered & (ndimage.grey_dilation(mask, footprint=_NEIGHBOURS) != mask)
    tone = np.where(_luminance(owner) > 110, 0.0, 255.0)[:, :, None]
    pixels = np.where(seam[:, :, None], (1 - _SEAM) * pixels + _SEAM * tone, pixels)
    pixels = np.where((contour | between)[:, :, None], owner, pixels)
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def _palette(info: DatasetInfo) -> NDArray[np.float64]:
    """(256, 3) colours of the class ids."""
    palette = np.full((256, 3), IGNORED_GREY, np.float64)
    for entry in info.classes:
        palette[entry.id] = np.clip(entry.colour, 0, 255)
    return palette


def _luminance(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Perceived lightness (...,) of colours (..., 3), 0 to 255."""
    weighted: NDArray[np.float64] = colours @ np.array([0.299, 0.587, 0.114])
    return weighted
