"""How like a mask is to the training masks, whatever its place and side."""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from isdm.data.dataset import IGNORE_INDEX
from isdm.data.image_files import MaskArray

NEW_BELOW = 0.9
"""A mask is new if its IoU with every training mask stays below, under mirroring and shifts."""
_AT_ONCE = 16
"""Masks that are compared at a time."""


def most_alike(mask: MaskArray, masks: MaskArray, first_foreground: int) -> float:
    """The greatest IoU of the foreground of a mask (H, W) with that of masks (N, H, W), each shifted and mirrored.

    Both mirror images and their combination count. A class is only compared with itself: the intersection is summed
    over the classes. Shifts do not wrap around. Masks whose areas are too far apart are not looked at: the ratio of
    the areas bounds the IoU.
    """
    known = (mask >= first_foreground) & (mask != IGNORE_INDEX)
    area = int(known.sum())
    areas = ((masks >= first_foreground) & (masks != IGNORE_INDEX)).sum(axis=(1, 2))
    if area == 0:
        return float((areas == 0).any())
    bounds = np.minimum(areas, area) / np.maximum(np.maximum(areas, area), 1)
    candidates = np.flatnonzero(bounds >= NEW_BELOW)
    if not len(candidates):
        return float(bounds.max(initial=0.0)) * 0.999  # below the bound, which is all that is known
    parts = np.array_split(candidates, -(-len(candidates) // _AT_ONCE))
    return max(_most_alike(mask, np.unique(mask[known]), masks[part], areas[part]) for part in parts)


def _most_alike(mask: MaskArray, classes: MaskArray, masks: MaskArray, areas: NDArray[np.int64]) -> float:
    """The greatest IoU with masks (N, H, W) of foreground `areas` (N,), over mirror images and shifts."""
    area = int(np.isin(mask, classes).sum())
    size = [fft.next_fast_len(2 * side, real=True) for side in mask.shape]
    spectra = [fft.rfft2(masks == class_id, size) for class_id in classes]
    best = 0.0
    for view in (mask, mask[::-1], mask[:, ::-1], mask[::-1, ::-1]):
        product: NDArray[np.complex128] = sum(  # type: ignore[assignment]
            spectrum * np.conj(fft.rfft2(view == class_id, size))
            for spectrum, class_id in zip(spectra, classes, strict=True)
        )
        shared = np.rint(fft.irfft2(product, size).max(axis=(1, 2)))
        best = max(best, float((shared / (areas + area - shared)).max()))
    return best
