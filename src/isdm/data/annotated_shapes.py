"""What the exports of annotation tools have in common: labelled shapes, drawn one over the other.

A shape is a label and a function that gives its pixels for an image's size. Making one checks it against the image
and raises a DataError that names no file; drawing it is left for later, so that many can be kept. The other
functions here read what a stranger's file holds: whatever is wrong with it becomes a DataError.
"""

import base64
import io
import math
import os
import reprlib
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngImageFile

from isdm.data.dataset import MAX_CLASSES, Split
from isdm.data.image_files import MaskArray, image_header
from isdm.data.layouts.folders import SPLIT_FOLDERS
from isdm.data.layouts.source import image_files, inside
from isdm.data.shapes import BoolArray, Points, check_box, check_inside, polygon_pixels
from isdm.errors import DataError
from isdm.files import read_json

BACKGROUND_LABELS = ("background", "_background_")
"""Labels that mean class 0: annotators also draw background, over a shape that reaches too far."""
FILES_ASKED_PER_FOLDER = 3

Pixels = Callable[[int, int], BoolArray]
"""Pixels (H, W) of a shape for a height and a width."""

_brief = reprlib.Repr()
_brief.maxlevel, _brief.maxstring, _brief.maxother = 2, 80, 80


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


def check_size(stated: tuple[Any, Any], size: tuple[int, int], image: Path) -> None:
    """Refuse an annotation for a height and width other than the image's; None stands for unstated."""
    if any(value is not None and value != true for value, true in zip(stated, size, strict=True)):
        raise DataError(
            f"the annotation is for an image of {shown(stated[1])}x{shown(stated[0])} but {image} is "
            f"{size[1]}x{size[0]}; annotate this image, or put back the one that was annotated"
        )


def class_ids(names: Sequence[str], told_by: Path) -> tuple[tuple[str, ...], dict[str, int]]:
    """Class names with the background first, and the id of each name; a name of the background's has id 0.

    Raises:
        DataError: a name occurs twice, or there is none beside the background, or too many.
    """
    foreground = [name for name in names if name.lower() not in BACKGROUND_LABELS]
    twice = [name for name, times in Counter(foreground).items() if times > 1]
    if twice:
        raise DataError(f"{told_by} names the class {shown(twice[0])} twice; each name must be there once.")
    if not 1 <= len(foreground) < MAX_CLASSES:
        raise DataError(
            f"{told_by} has {len(foreground)} classes beside the background; from 1 to {MAX_CLASSES - 1} can be used."
        )
    ids = {name: index for index, name in enumerate(foreground, start=1)}
    ids.update({name: 0 for name in names if name.lower() in BACKGROUND_LABELS})
    return ("background", *foreground), ids


def declared_labels(source: Path, files: Iterable[str]) -> tuple[Path, list[str]] | None:
    """The first of `files` that is in the source, and the labels in it, one a line."""
    path = next((source / name for name in files if is_file(source / name)), None)
    return None if path is None else (path, [line.strip() for line in read_lines(path) if line.strip()])


def read_lines(path: Path) -> list[str]:
    """Lines of a text file in UTF-8."""
    try:
        return path.read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error}); save it as UTF-8.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from None


def read_export(path: Path) -> Any:
    """Read a JSON file that may hold anything."""
    try:
        return read_json(path)
    except RecursionError:
        raise DataError(f"{path} is nested too deeply; export it again.") from None
    except (ValueError, OSError) as error:  # a number of thousands of digits; a file that may not be read
        raise DataError(f"{path} cannot be read ({error}); export it again.") from None


def shown(value: object) -> str:
    """A value of a stranger's file for a message: cut where it is long or deep."""
    return _brief.repr(value)


def number(value: object, name: str = "the coordinate") -> float:
    """A finite number from a JSON value."""
    try:
        result = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise DataError(f"{name} is {shown(value)}; it must be a number: redraw or remove the shape")
    return result


def point_list(value: object) -> list[tuple[float, float]]:
    """Points from a JSON value [[x, y], …]."""
    if not isinstance(value, list) or not all(isinstance(point, list) and len(point) == 2 for point in value):
        raise DataError(f"the points are {shown(value)}; they must be pairs [x, y]: redraw or remove the shape")
    return [(number(x), number(y)) for x, y in value]


def label_text(value: object) -> str:
    """A label from a JSON value: text that can be written to a file."""
    if not isinstance(value, str) or not value.strip() or "\n" in value or value != _encodable(value):
        raise DataError(f"the label is {shown(value)}; it must be one line of text: name the shape's class")
    return value


def _encodable(text: str) -> str:
    return text.encode("utf-8", "ignore").decode("utf-8")


def is_file(path: Path) -> bool:
    """Whether there is such a file, also where the name cannot be one."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def file_inside(source: Path, name: str, told_by: Path) -> Path:
    """The file that `told_by` calls `name` (see `inside`), also where the name cannot be a file's.

    It is given as a path below `source`, also where `name` is absolute.
    """
    try:
        path = inside(source, os.path.normpath(name.replace("\\", "/")) if name.strip() else "", told_by)
        return source / path.resolve().relative_to(source.resolve()) if Path(name).is_absolute() else path
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{told_by} names the file {shown(name)}, which cannot be one ({error}).") from None


def first_files(source: Path, suffixes: Collection[str], depth: int) -> Iterator[Path]:
    """The first few files with one of the suffixes in the source and in its folders down to `depth`."""
    try:
        with os.scandir(source) as scan:  # its entries know without asking again whether they are folders
            entries = sorted(
                (entry for entry in scan if not entry.name.startswith(".")), key=lambda entry: entry.name
            )
        paths = [(Path(entry.path), entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError:
        return
    found = [path for path, is_folder in paths if not is_folder and path.suffix.lower() in suffixes and is_file(path)]
    folders = [path for path, is_folder in paths if is_folder]
    yield from found[:FILES_ASKED_PER_FOLDER]
    for folder in folders if depth else ():
        yield from first_files(folder, suffixes, depth - 1)


def head(path: Path, num_bytes: int = 4096) -> bytes:
    """The first bytes of a file; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(num_bytes)
    except OSError:
        return b""


def split_of(parts: Iterable[str]) -> Split | None:
    """The split that the first of the folders' names tells."""
    return next((SPLIT_FOLDERS[part.lower()] for part in parts if part.lower() in SPLIT_FOLDERS), None)


def unique_stems(images: Sequence[Path], source: Path) -> list[str]:
    """A different stem for each image: its own, or where that is not enough with its folders, suffix or place."""
    forms = []
    for index, image in enumerate(images):
        folders = "_".join(image.relative_to(source).with_suffix("").parts)
        whole = f"{folders}_{image.suffix[1:]}"
        forms.append((image.stem, folders, whole, f"{whole}_{index}"))
    level = [0] * len(images)
    while True:
        stems = [form[chosen] for form, chosen in zip(forms, level, strict=True)]
        times = Counter(stems)
        if len(times) == len(stems):
            return stems
        level = [min(chosen + (times[stem] > 1), 3) for chosen, stem in zip(level, stems, strict=True)]


def left_out_note(source: Path, taken: Collection[Path], why: str) -> list[str]:
    """A note on the source's images that are not among `taken`, if any."""
    count = len(set(image_files(source)).difference(taken))
    return [f"{count} image(s) {why} and were left out"] if count else []
