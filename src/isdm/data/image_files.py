"""Image and mask files: decoded and checked when read, whole or absent when written. Nothing here needs torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from isdm.data import image_opening
from isdm.data.image_opening import (
    decode,
    orientation_of,
    refuse_pages,
    refused_by_name,
    undecoded_image,
    upright_size,
)
from isdm.errors import DataError
from isdm.files import write_with

ImageArray = NDArray[np.uint8 | np.uint16]
"""(H, W, C) or (N, H, W, C): uint8, or uint16 for grey images (C = 1) of 16 bits."""
MaskArray = NDArray[np.uint8]
"""(H, W) or (N, H, W) class ids."""

WIDE_MODES = image_opening.WIDE_MODES
GREY_MODES = ("1", "L", "LA", *WIDE_MODES)
ALPHA_MODES = ("LA", "PA", "RGBA")


class ImageHeader(NamedTuple):
    """What an image file says of itself before anything is decoded."""

    width: int
    height: int
    """Both as the EXIF orientation turns the picture."""
    mode: str
    """Pillow's name for the kind of pixels."""
    is_wide: bool
    """Grey, with more than 8 bits."""
    maybe_coloured: bool
    """Stored in colour or with a palette; all pixels may be grey nevertheless."""
    has_alpha: bool = False
    """With an alpha channel or transparent colours, which reading leaves out."""
    is_turned: bool = False
    """The EXIF orientation mirrors or turns the picture."""


def image_header(path: Path) -> ImageHeader:
    """Read what an image file says of itself, without decoding it.

    Raises:
        DataError: `read_picture` would refuse the file, as far as that can be told from its header.
    """
    with undecoded_image(path) as image:
        refuse_pages(image, path)
        _refuse_fractions(image, path)
        width, height = upright_size(image, path)
        return ImageHeader(
            width,
            height,
            image.mode,
            image.mode in WIDE_MODES,
            image.mode not in GREY_MODES,
            image.mode in ALPHA_MODES or "transparency" in image.info,
            orientation_of(image, path) != 1,
        )


def read_image(path: Path, channels: int, bit_depth: int = 8) -> ImageArray:
    """Decode an image of a dataset as (H, W, channels), uint8 or with 16 bits uint16, turned as its EXIF says.

    Raises:
        DataError: the file cannot be read, or has another bit depth.
    """
    image = _decoded(path, "L" if channels == 1 else "RGB")
    bits = 8 * image.dtype.itemsize
    if bits != bit_depth:
        raise DataError(
            f"{path} has {bits} bits a channel but the dataset has {bit_depth}; save it with {bit_depth} bits, or, "
            f"if it is the dataset's own, import that again."
        )
    return image


def read_picture(path: Path) -> ImageArray:
    """Decode any image file: (H, W, 1) uint16 where it is grey of 16 bits, otherwise (H, W, 3) uint8.

    It is turned as its EXIF data say. Transparency is left out: the colours under it are kept.

    Raises:
        DataError: the file cannot be used (see `undecoded_image`), is damaged, or holds several pictures.
    """
    return _decoded(path, "RGB")


def _decoded(path: Path, eight_bit_mode: Literal["L", "RGB"]) -> ImageArray:
    with opened_image(path) as image:
        if image.mode in WIDE_MODES:
            return wide_values(image, path)[:, :, None]
        _refuse_fractions(image, path)
        image.info.pop("transparency", None)  # about which Pillow would warn; it is left out anyway
        with refused_by_name(path):  # a conversion to its own mode would copy it
            array = np.asarray(image if image.mode == eight_bit_mode else image.convert(eight_bit_mode))
    return array[:, :, None] if array.ndim == 2 else array


def _refuse_fractions(image: Image.Image, path: Path) -> None:
    if image.mode == "F":
        raise DataError(f"{path} holds fractions (mode F); save it with whole values of 8 or 16 bits.")


def wide_values(image: Image.Image, path: Path) -> NDArray[np.uint16]:
    """Values (H, W) of an image in one of `WIDE_MODES`; they must fit into 16 bits."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
        raise DataError(
            f"{path} has values from {values.min()} to {values.max()}; 16 bits hold 0 to 65535: save it with 16 bits."
        )
    return values.astype(np.uint16)  # big-endian values become the machine's own


DIGEST_CHARACTERS = 32


def picture_digest(image: ImageArray) -> str:
    """Hash of a decoded picture (H, W, C) in 32 hexadecimal digits: the same for exact duplicates alone."""
    found = sha256(str(image.shape).encode(), usedforsecurity=False)
    found.update(np.ascontiguousarray(image).data)
    return found.hexdigest()[:DIGEST_CHARACTERS]


def read_mask(path: Path) -> MaskArray:
    """Decode a mask file of class ids as (H, W) uint8."""
    with opened_image(path) as mask:
        if mask.mode not in ("P", "L"):
            raise DataError(f"{path} has mode {mask.mode}; a mask must hold one class id a pixel (P or L).")
        return np.asarray(mask)


@contextmanager
def opened_image(path: Path) -> Iterator[Image.Image]:
    """Open and decode a file with one picture, turned as its EXIF data say.

    Raises:
        DataError: whatever keeps it from being read, naming the file.
    """
    with undecoded_image(path) as file:
        refuse_pages(file, path)
        image = decode(file, path)
    yield image


def value_counts(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pixels (256,) of each value of an array (H, W) of bytes; NumPy's own count widens each to eight bytes first."""
    return np.array(Image.fromarray(values).histogram(), np.int64)


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
