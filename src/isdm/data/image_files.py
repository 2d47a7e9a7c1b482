"""Image and mask files: decoded and checked when read, whole or absent when written. Nothing here needs torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from isdm.errors import DataError
from isdm.files import write_with

ImageArray = NDArray[np.uint8]
"""(H, W, C) or (N, H, W, C)."""
MaskArray = NDArray[np.uint8]
"""(H, W) or (N, H, W) class ids."""


def read_image(path: Path, channels: int) -> ImageArray:
    """Decode an image file as (H, W, channels) uint8, turned as its EXIF says."""
    with opened_image(path) as image:
        turned = ImageOps.exif_transpose(image)
        if turned.mode in ("I", "F", "I;16", "I;16B", "I;16L"):
            raise DataError(f"{path} has more than 8 bits a channel; convert it to 8 bits first.")
        array = np.asarray(turned.convert("L" if channels == 1 else "RGB"))
    return array[:, :, None] if channels == 1 else array


def read_mask(path: Path) -> MaskArray:
    """Decode a mask file of class ids as (H, W) uint8."""
    with opened_image(path) as mask:
        if mask.mode not in ("P", "L"):
            raise DataError(f"{path} has mode {mask.mode}; a mask must hold one class id a pixel (P or L).")
        return np.asarray(mask)


@contextmanager
def opened_image(path: Path) -> Iterator[Image.Image]:
    """Open and decode an image; what Pillow cannot read becomes a `DataError` that names the file."""
    try:
        image = Image.open(path)
        image.load()
        image.getexif()  # damaged orientation data is found here and not by a later caller
    except FileNotFoundError:
        raise DataError(f"{path} is missing.") from None
    except Image.DecompressionBombError as error:
        raise DataError(f"{path} is too large to be decoded safely ({error}).") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path} cannot be read as an image ({error}); replace or remove it.") from None
    with image:
        yield image


def size_text(array: NDArray[Any]) -> str:
    """Size of an image or mask as people write it: width x height."""
    return f"{array.shape[1]}x{array.shape[0]}"


def write_png(path: Path, image: Image.Image) -> None:
    """Write a picture as a PNG file, whole or not at all."""
    write_with(path, lambda aside: image.save(aside, format="PNG"))
