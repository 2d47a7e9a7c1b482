"""How bright pictures are, and how much that differs from one to the next: what a short training misses first."""

import numpy as np
from numpy.typing import NDArray


def light(images: NDArray[np.uint8 | np.uint16]) -> dict[str, float]:
    """Brightness of images (N, H, W, C) of whole numbers, as shares of their range.

    Returns:
        `mean` over all pixels, and `spread`: the standard deviation of the images' own means.
    """
    means = np.array([image.mean() for image in images]) / np.iinfo(images.dtype).max
    return {"mean": float(means.mean()), "spread": float(means.std())}
