"""Bring an image, its mask and its instance map to a size. Nothing here needs torch."""

from typing import Any

import numpy as np
from PIL import Image, ImageOps

from isdm.config import Fit
from isdm.data.dataset import IGNORE_INDEX
from isdm.data.image_files import ImageArray, MaskArray, as_picture
from isdm.data.instances import InstanceArray
from isdm.data.windows import crop_window


def fit_pair(
    image: ImageArray, mask: MaskArray, size: tuple[int, int] | None, fit: Fit
) -> tuple[ImageArray, MaskArray]:
    """Bring an image (H, W, C) and its mask (H, W) to `size` (height, width).

    Bicubic for the image, nearest neighbour for the mask. `stretch` changes the aspect ratio; `pad` keeps it
    and fills with black pixels that the mask ignores; `crop` keeps it and cuts the middle, or so that the
    foreground stays. Of `tile`, the image is one tile and is stretched.
    """
    if size is None or mask.shape == size:
        return image, mask
    if fit == "crop":
        part = crop_window(mask, size).slices
        image, mask = image[part], mask[part]
    fitted_mask = np.asarray(
        _fit(Image.fromarray(np.ascontiguousarray(mask)), size, fit, Image.Resampling.NEAREST, IGNORE_INDEX)
    )
    if image.dtype == np.uint8:
        fitted = np.asarray(_fit(as_picture(np.ascontiguousarray(image)), size, fit, Image.Resampling.BICUBIC, 0))
        return fitted if fitted.ndim == 3 else fitted[:, :, None], fitted_mask
    # Pillow clips whole numbers between its two passes too, where bicubic overshoots; in mode F nothing is lost.
    wide = _fit(Image.fromarray(image[:, :, 0].astype(np.float32)), size, fit, Image.Resampling.BICUBIC, 0)
    limits = np.iinfo(image.dtype)
    return np.rint(np.asarray(wide)).clip(limits.min, limits.max).astype(image.dtype)[:, :, None], fitted_mask


def fit_instances(
    instances: InstanceArray, mask: MaskArray, size: tuple[int, int] | None, fit: Fit, outside: int
) -> InstanceArray:
    """Bring an instance map (H, W) to `size` as `fit_pair` does with its mask; `pad` fills with the id `outside`."""
    if size is None or instances.shape == size:
        return instances
    if fit == "crop":
        instances = instances[crop_window(mask, size).slices]
    picture = Image.fromarray(instances.astype(np.int32))
    return np.asarray(_fit(picture, size, fit, Image.Resampling.NEAREST, outside)).astype(np.uint16)


def _fit(picture: Image.Image, size: tuple[int, int], fit: Fit, method: Image.Resampling, fill: int) -> Image.Image:
    height, width = size
    if fit != "pad":
        return picture.resize((width, height), method)
    colour: Any = (fill,) * 3 if picture.mode == "RGB" else fill
    return ImageOps.pad(picture, (width, height), method, color=colour)
