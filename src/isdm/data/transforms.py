"""Bring images and masks to a size, and images to and from the network's range [-1, 1]."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from isdm.config import Fit
from isdm.data.dataset import IGNORE_INDEX
from isdm.data.image_files import ImageArray, MaskArray, as_picture
from isdm.data.instances import InstanceArray


def fit_pair(
    image: ImageArray, mask: MaskArray, size: tuple[int, int] | None, fit: Fit
) -> tuple[ImageArray, MaskArray]:
    """Bring an image (H, W, C) and its mask (H, W) to `size` (height, width).

    Bicubic for the image, nearest neighbour for the mask. `stretch` changes the aspect ratio; `pad` keeps it
    and fills with black pixels that the mask ignores; `crop` keeps it and cuts the middle.
    """
    if size is None or mask.shape == size:
        return image, mask
    fitted_mask = np.asarray(_fit(Image.fromarray(mask), size, fit, Image.Resampling.NEAREST, IGNORE_INDEX))
    if image.dtype == np.uint8:
        fitted = np.asarray(_fit(as_picture(image), size, fit, Image.Resampling.BICUBIC, 0))
        return fitted if fitted.ndim == 3 else fitted[:, :, None], fitted_mask
    # Pillow clips whole numbers between its two passes too, where bicubic overshoots; in mode F nothing is lost.
    wide = _fit(Image.fromarray(image[:, :, 0].astype(np.float32)), size, fit, Image.Resampling.BICUBIC, 0)
    limits = np.iinfo(image.dtype)
    return np.rint(np.asarray(wide)).clip(limits.min, limits.max).astype(image.dtype)[:, :, None], fitted_mask


def fit_instances(instances: InstanceArray, size: tuple[int, int] | None, fit: Fit, outside: int) -> InstanceArray:
    """Bring an instance map (H, W) to `size` as `fit_pair` does with its mask; `pad` fills with the id `outside`."""
    if size is None or instances.shape == size:
        return instances
    picture = Image.fromarray(instances.astype(np.int32))
    return np.asarray(_fit(picture, size, fit, Image.Resampling.NEAREST, outside)).astype(np.uint16)


def _fit(picture: Image.Image, size: tuple[int, int], fit: Fit, method: Image.Resampling, fill: int) -> Image.Image:
    height, width = size
    if fit == "stretch":
        return picture.resize((width, height), method)
    if fit == "crop":
        return ImageOps.fit(picture, (width, height), method)
    colour = (fill,) * 3 if picture.mode == "RGB" else fill
    return ImageOps.pad(picture, (width, height), method, color=colour)


def to_model_range(images: ImageArray, bit_depth: int = 8) -> torch.Tensor:
    """Turn images (N, H, W, C) uint8, or with 16 bits uint16, into `x_start` (N, C, H, W) float32 in [-1, 1]."""
    assert 8 * images.dtype.itemsize == bit_depth, f"{images.dtype} images are not of {bit_depth} bits"
    tensor = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float()
    x_start: torch.Tensor = tensor / ((2**bit_depth - 1) / 2) - 1
    return x_start


def from_model_range(x_start: torch.Tensor, bit_depth: int = 8) -> ImageArray:
    """Turn `x_start` (N, C, H, W) in [-1, 1] into images (N, H, W, C), uint8 or uint16, rounded to nearest."""
    scaled = (x_start.float().clamp(-1, 1) + 1) * ((2**bit_depth - 1) / 2)
    values: NDArray[Any] = scaled.round().to(torch.int32).permute(0, 2, 3, 1).cpu().numpy()
    return values.astype(np.uint8 if bit_depth == 8 else np.uint16)
