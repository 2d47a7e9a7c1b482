"""Image and mask files: decoded and checked when read, whole or absent when written. Nothing here needs torch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from isdm.errors import DataError
from isdm.files import write_with

ImageArray = NDArray[np.uint8 | np.uint16]
"""(H, W, C) or (N, H, W, C): uint8, or uint16 for grey images (C = 1) of 16 bits."""
MaskArray = NDArray[np.uint8]
"""(H, W) or (N, H, W) class ids."""

WIDE_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")
"""Pillow's modes of grey images with more than 8 bits."""

_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_WHITE_IS_ZERO = 258, 262, 0


def read_image(path: Path, channels: int, bit_depth: int = 8) -> ImageArray:
    """Decode an image of a dataset as (H, W, channels), uint8 or with 16 bits uint16, turned as its EXIF says.

    Raises:
        DataError: the file cannot be read, or has another bit depth.
    """
    image = _decoded(path, "L" if channels == 1 else "RGB")
    bits = 8 * image.dtype.itemsize
    if bits != bit_depth:
        raise DataError(
            f"{path} has {bits} bits a channel but the dataset has {bit_depth}; import the dataset again."
        )
    return image


def read_picture(path: Path) -> ImageArray:
    """Decode any image file: (H, W, 1) uint16 where it is grey of 16 bits, otherwise (H, W, 3) uint8."""
    return _decoded(path, "RGB")


def _decoded(path: Path, eight_bit_mode: Literal["L", "RGB"]) -> ImageArray:
    with opened_image(path) as image:
        turned = ImageOps.exif_transpose(image)
        if turned.mode in WIDE_MODES:
            return wide_values(turned, path)[:, :, None]
        if turned.mode == "F":
            raise DataError(f"{path} holds fractions (mode F); save it with whole values of 8 or 16 bits.")
        array = np.asarray(turned.convert(eight_bit_mode))
    return array[:, :, None] if array.ndim == 2 else array


def wide_values(image: Image.Image, path: Path) -> NDArray[np.uint16]:
    """Values (H, W) of an image in one of `WIDE_MODES`; they must fit into 16 bits."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
        raise DataError(
            f"{path} has values from {values.min()} to {values.max()}; 16 bits hold 0 to 65535: save it with 16 bits."
        )
    return values.astype(np.uint16)  # big-endian values become the machine's own


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
        _refuse_what_pillow_changes(image, path)
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


def _refuse_what_pillow_changes(image: Image.Image, path: Path) -> None:
    """Refuse files of 16 bits that Pillow would decode to other values without a word."""
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    if image.mode in (*WIDE_MODES, "F"):
        if tags.get(_TIFF_PHOTOMETRIC) == _TIFF_WHITE_IS_ZERO:
            raise DataError(f"{path} stores more than 8 bits with white as zero; save it with black as zero.")
        return
    bits = max(tags.get(_TIFF_BITS, (8,)))
    stored = [str(part[3]) for part in getattr(image, "tile", ())] if image.format == "PNG" else []
    if any(kind.endswith(";16B") for kind in stored):
        bits = 16
    if bits > 8:
        kind = "grey with transparency" if stored == ["LA;16B"] else "colour"
        raise DataError(
            f"{path} has {bits} bits a channel in {kind}; only grey images can have more than 8: save it as "
            f"16-bit grey, or with 8 bits a channel."
        )


def size_text(array: NDArray[Any]) -> str:
    """Size of an image or mask as people write it: width x height."""
    return f"{array.shape[1]}x{array.shape[0]}"


def as_picture(image: ImageArray) -> Image.Image:
    """An image (H, W, C) with all its bits, as Pillow takes it."""
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def as_shown(image: ImageArray) -> Image.Image:
    """An image (H, W, C) as screens show it: in 8 bits."""
    return as_picture(image if image.dtype == np.uint8 else np.rint(image / 257).astype(np.uint8))


def write_png(path: Path, image: Image.Image) -> None:
    """Write a picture as a PNG file, whole or not at all."""
    write_with(path, lambda aside: image.save(aside, format="PNG"))
