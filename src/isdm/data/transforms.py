"""Bring images and masks to a size, and images to and from the network's range [-1, 1]."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from isdm.config import Fit
from isdm.data.dataset import IGNORE_INDEX
from isdm.data.image_files import ImageArray, MaskArray


def fit_pair(
    image: ImageArray, mask: MaskArray, size: tuple[int, int] | None, fit: Fit
) -> tuple[ImageArray, MaskArray]:
    """Bring an image (H, W, C) and its mask (H, W) to `size` (height, width).

    Bicubic for the image, nearest neighbour for the mask. `stretch` changes the aspect ratio; `pad` keeps it
    and fills with black pixels that the mask ignores; `crop` keeps it and cuts the middle.
    """
    if size is None or mask.shape == size:
        return image, mask
    return _fit(image, size, fit, Image.Resampling.BICUBIC, 0), _fit(
        mask, size, fit, Image.Resampling.NEAREST, IGNORE_INDEX
    )


def _fit(
    array: NDArray[np.uint8], size: tuple[int, int], fit: Fit, method: Image.Resampling, fill: int
) -> NDArray[np.uint8]:
    height, width = size
    picture = Image.fromarray(array[:, :, 0] if array.shape[2:] == (1,) else array)
    if fit == "stretch":
        fitted = picture.resize((width, height), method)
    elif fit == "crop":
        fitted = ImageOps.fit(picture, (width, height), method)
    else:
        colour = fill if picture.mode == "L" else (fill,) * 3
        fitted = ImageOps.pad(picture, (width, height), method, color=colour)
    result = np.asarray(fitted)
    return result[:, :, None] if array.ndim == 3 and result.ndim == 2 else result


def to_model_range(images: NDArray[np.uint8], bit_depth: int = 8) -> torch.Tensor:
    """Turn images (N, H, W, C) of integers into `x_start` (N, C, H, W) float32 in [-1, 1]."""
    tensor = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float()
    x_start: torch.Tensor = tensor / ((2**bit_depth - 1) / 2) - 1
    return x_start


def from_model_range(x_start: torch.Tensor) -> NDArray[np.uint8]:
    """Turn `x_start` (N, C, H, W) in [-1, 1] into 8-bit images (N, H, W, C), rounded to nearest."""
    scaled = (x_start.float().clamp(-1, 1) + 1) * 127.5
    array: NDArray[Any] = scaled.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return array
