"""Labelled shapes that annotators draw: checked against the image now, turned into pixels later, one over the other.

A shape is a label and a function that gives its pixels for an image's size. Making one raises a DataError that names
no file where it does not fit the image; drawing it is left for later, so that many can be kept.
"""

import base64
import io
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngImageFile

from isdm.data.annotation_values import shown
from isdm.data.image_files import MaskArray, image_header
from isdm.data.shapes import BoolArray, Points, check_box, check_inside, polygon_pixels
from isdm.errors import DataError

Pixels = Callable[[int, int], BoolArray]
"""Pixels (H, W) of a shape for a height and a width."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A label and the pixels that carry it."""

    label: str
    pixels: Pixels


def draw(
    shapes: Iterable[Shape], ids: Mapping[str, int], height: int, width: int, *, smaller_on_top: bool = False
) -> MaskArray:
    """Draw shapes into a mask of background (H, W), later ones over earlier ones.

    With `smaller_on_top` a shape of fewer pixels lies over one of more, whatever their order: formats that know
    no order mean a small thing on a large one, not hidden behind it.
    """
    mask = np.zeros((height, width), np.uint8)
    smallest = np.full((height, width), height * width, np.int64) if smaller_on_top else None
    for shape in shapes:
        pixels = shape.pixels(height, width)
        if smallest is not None:
            area = np.count_nonzero(pixels)
            pixels = pixels & (area <= smallest)
            smallest[pixels] = area
        mask[pixels] = ids[shape.label]
    return mask


def load_drawn(
    shapes: Sequence[Shape],
    ids: Mapping[str, int],
    size: tuple[int, int],
    told_by: str,
    smaller_on_top: bool = False,
) -> MaskArray:
    """Draw shapes into a mask of `size` (height, width); a `DataError` starts with `told_by`."""
    try:
        return draw(shapes, ids, *size, smaller_on_top=smaller_on_top)
    except DataError as error:
        raise DataError(f"{told_by}: {error}") from None


def polygon(points: Points, height: int, width: int) -> Pixels:
    """A filled polygon; fewer than three points, or one outside the image, is a `DataError`."""
    if len(points) < 3:
        raise DataError(f"the polygon has {len(points)} point(s); it needs at least three: redraw or remove it")
    check_inside(points, height, width, "polygon")
    return partial(_filled, np.array(points, np.float64))


def _filled(points: NDArray[np.float64], height: int, width: int) -> BoolArray:
    return polygon_pixels([(x, y) for x, y in points.tolist()], height, width)


def box(left: float, top: float, right: float, bottom: float, height: int, width: int) -> Pixels:
    """A box whose sides are parallel to the image's, as a polygon."""
    check_inside([(left, top), (right, bottom)], height, width, "box")
    return polygon([(left, top), (right, top), (right, bottom), (left, bottom)], height, width)


def tried(pixels: Pixels, height: int, width: int) -> Pixels:
    """The same pixels, drawn once so that what is wrong with them is found now."""
    pixels(height, width)
    return pixels


def bitmap(text: object, height: int, width: int, left: int = 0, top: int = 0) -> tuple[Pixels, int, int]:
    """A PNG in base64 whose upper left pixel is at (left, top), and its height and width.

    Its pixels are those that are not transparent; without transparency those that are not 0.
    """
    if not isinstance(text, str):
        raise DataError(f"the mask is {shown(text)}; it must be a PNG in base64: export it again")
    with _refused_as_bitmap():
        content = base64.b64decode(text, validate=True)
        bitmap_width, bitmap_height = PngImageFile(io.BytesIO(content)).size
    check_box((left, top, bitmap_width, bitmap_height), height, width)
    return partial(_bitmap_pixels, content, left, top), bitmap_height, bitmap_width


def _bitmap_pixels(content: bytes, left: int, top: int, height: int, width: int) -> BoolArray:
    with _refused_as_bitmap():
        image = PngImageFile(io.BytesIO(content))
        transparent = image.has_transparency_data
        values = np.asarray(image.convert("RGBA").getchannel("A") if transparent else image.convert("L"))
    pixels = np.zeros((height, width), bool)
    pixels[top : top + values.shape[0], left : left + values.shape[1]] = values > 0
    return pixels


# What Pillow's decoder raises on damaged bytes.
_DAMAGE = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError),
    *(RuntimeError, EOFError, struct.error, zlib.error),
)


@contextmanager
def _refused_as_bitmap() -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise DataError(f"the mask is no sound PNG in base64 ({error}); export it again") from None


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of an image, turned as its EXIF data say, without decoding it; errors as of `image_header`."""
    header = image_header(path)
    return header.height, header.width
