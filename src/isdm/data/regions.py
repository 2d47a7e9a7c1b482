"""Connected regions: where no instance map says otherwise, what hangs together in a class is one object."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

EIGHT_NEIGHBOURS = np.ones((3, 3), bool)
"""Pixels that touch at a corner hang together, as a scratch that runs aslant does."""


def connected_regions(inside: NDArray[np.bool_]) -> tuple[NDArray[np.integer], int]:
    """Number the regions of (H, W) from 1, with 0 outside.

    Returns:
        The numbers (H, W) and how many regions there are.
    """
    labels, count = ndimage.label(inside, EIGHT_NEIGHBOURS)
    return labels, int(count)
