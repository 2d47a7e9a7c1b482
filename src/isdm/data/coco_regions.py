"""COCO's segmentations: polygons, run lengths, compressed run lengths; kept small, drawn when a mask is needed."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isdm.data.annotation_values import shown
from isdm.data.image_files import MaskArray
from isdm.data.shapes import TOLERANCE_PX, BoolArray, check_inside, polygon_pixels
from isdm.errors import DataError

NO_SEGMENTATION = "has no segmentation, at most a box; draw the object's outline or remove the annotation"

MOST_PIXELS = 178_956_970
"""Of a stated image size: Pillow refuses to decode larger images."""

_LONGEST_COUNT = 7
"""Characters of five bits that a run length below 2**32 needs, with its sign."""


class Region(NamedTuple):
    """Pixels of one annotation: polygons, each (P, 2) of x and y, or run lengths in columns for a `size`."""

    polygons: tuple[NDArray[np.float64], ...]
    runs: NDArray[np.uint32] | None = None
    size: tuple[int, int] | None = None


class Drawing(NamedTuple):
    """An annotation ready to be drawn."""

    class_id: int
    kept: bool
    """Whether its class is wanted; what is not must not hide what is."""
    region: Region


def parse_region(segmentation: Any) -> Region:
    """Read the value of `segmentation`.

    Raises:
        DataError: it is no segmentation; the message continues "annotation 3 …" and names no file.
    """
    if segmentation is None or segmentation in ([], {}):
        raise DataError(NO_SEGMENTATION)
    if isinstance(segmentation, dict):
        return _parse_runs(segmentation)
    if not isinstance(segmentation, list) or not all(isinstance(polygon, list) for polygon in segmentation):
        raise DataError(
            f"has the segmentation {shown(segmentation)}; it must be a list of polygons [[x, y, x, y, …], …] or run "
            f"lengths: export it again"
        )
    return Region(tuple(_parse_polygon(polygon) for polygon in segmentation))


def _parse_polygon(values: list[Any]) -> NDArray[np.float64]:
    if not set(map(type, values)) <= {int, float}:
        raise DataError(f"has the polygon {shown(values)}; coordinates must be numbers: redraw or remove it")
    if len(values) < 6 or len(values) % 2:
        raise DataError(
            f"has a polygon of {len(values)} coordinates; at least three points x, y are needed: redraw or remove it"
        )
    try:
        return np.array(values, np.float64).reshape(-1, 2)
    except OverflowError:
        raise DataError(f"has the polygon {shown(values)} far outside any image; redraw or remove it") from None


def _parse_runs(segmentation: dict[str, Any]) -> Region:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(type(value) is int and value > 0 for value in size):
        raise DataError(f"has run lengths of the size {shown(size)}; it must be [height, width]: export it again")
    num_pixels = size[0] * size[1]
    if num_pixels > MOST_PIXELS:
        raise DataError(f"has run lengths of the size {shown(size)}, more than can be decoded safely; cut it up")
    if isinstance(counts, str):
        runs = _decompressed(counts)
    elif isinstance(counts, list) and set(map(type, counts)) <= {int} and all(0 <= c <= num_pixels for c in counts):
        runs = np.array(counts, np.int64)
    else:
        raise DataError(
            f"has the run lengths {shown(counts)}; they must be whole numbers from 0 to the {num_pixels} pixels of "
            f"the image, or a string: export it again"
        )
    if ((runs < 0) | (runs > num_pixels)).any() or runs.sum() != num_pixels:
        raise DataError(
            f"has run lengths that do not add up to the {num_pixels} pixels of {size[1]}x{size[0]}; export it again"
        )
    return Region((), runs.astype(np.uint32), (size[0], size[1]))


def _decompressed(text: str) -> NDArray[np.int64]:
    """Run lengths (R,) from COCO's string: five bits a character from 48 on, from the third as differences."""
    codes = np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(codes & 32 == 0)
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or not len(ends) or ends[-1] != len(codes) - 1:
        raise DataError(f"has the run lengths {shown(text)}, which are no compressed run lengths: export it again")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _LONGEST_COUNT:
        raise DataError(f"has the run lengths {shown(text)}, some beyond any image: export it again")
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    values = np.add.reduceat((codes & 31) << shifts, starts)
    values -= np.where(codes[ends] & 16, np.int64(1) << (5 * lengths), 0)  # the last character carries the sign
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def check_region(region: Region, height: int, width: int) -> None:
    """Refuse a region that is not of an image of this size; the message begins as those of `parse_region`."""
    if region.size is not None and region.size != (height, width):
        raise DataError(
            f"has run lengths for an image of {region.size[1]}x{region.size[0]} but its image is {width}x{height}; "
            f"export it again"
        )
    for points in region.polygons:
        inside = (points >= -TOLERANCE_PX).all() and (points <= np.array([width, height]) + TOLERANCE_PX).all()
        if not inside:  # also where a coordinate is not finite
            try:
                check_inside([(x, y) for x, y in points.tolist()], height, width, "polygon")
            except DataError as error:
                raise DataError(f"is wrong: {error}") from None


def region_pixels(region: Region, height: int, width: int) -> BoolArray:
    """Pixels (H, W) of a checked region; polygons of one annotation are joined."""
    if region.runs is not None:
        values = np.repeat(np.arange(len(region.runs)) % 2 == 1, region.runs)
        return values.reshape(width, height).T
    pixels = np.zeros((height, width), bool)
    for points in region.polygons:
        pixels |= polygon_pixels([(x, y) for x, y in points.tolist()], height, width)
    return pixels


def load_drawings(drawings: tuple[Drawing, ...], height: int, width: int, told_by: str) -> MaskArray:
    """Draw annotations into class ids (H, W) uint8: unwanted classes first, then large before small.

    Raises:
        DataError: a region cannot be drawn; the message starts with `told_by`.
    """
    try:
        pixels = [_cut_out(region_pixels(drawing.region, height, width)) for drawing in drawings]
    except DataError as error:
        raise DataError(f"{told_by}: {error}") from None
    sizes = [np.count_nonzero(part) for _, part in pixels]
    mask = np.zeros((height, width), np.uint8)
    for index in sorted(range(len(drawings)), key=lambda i: (drawings[i].kept, -sizes[i])):
        place, part = pixels[index]
        mask[place][part] = drawings[index].class_id
    return mask


def _cut_out(pixels: BoolArray) -> tuple[tuple[slice, slice], BoolArray]:
    """The rows and columns that a region spans, and a copy of these alone: many regions must fit into memory."""
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    if not len(rows):
        return (slice(0, 0), slice(0, 0)), np.zeros((0, 0), bool)
    place = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return place, pixels[place].copy()
