"""Rules for masks of one plane a class: RGB(A) and multi-page TIFF files, and NumPy arrays (H, W, C)."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isdm.data.dataset import IGNORE_INDEX, MAX_CLASSES
from isdm.data.image_files import WIDE_MODES, MaskArray
from isdm.data.image_opening import decode, pages, undecoded_image
from isdm.data.layouts.source import class_colours
from isdm.data.mask_rules.counting import Tally, Totals, counted
from isdm.data.mask_rules.decoding import RawMask, holds_planes, read_array, read_raw
from isdm.data.mask_rules.rule import Answer, MaskRule, Question, share
from isdm.errors import DataError
from isdm.text import listed

_PLANE_MODES = ("1", "L", *WIDE_MODES, "F")
_FULL = (1, 255, 65535)
"""What a plane may hold beside 0."""


@dataclass(frozen=True)
class ByPlane:
    """Reads a mask of planes; `ids` (planes + 1,) are the classes of what is in none and in each."""

    ids: NDArray[np.uint8]

    def __call__(self, path: Path) -> MaskArray:
        """Class ids (H, W) of the mask at `path`."""
        folded, num_planes = fold(path)
        if num_planes != len(self.ids) - 1:
            raise DataError(_number_text(path, num_planes, len(self.ids) - 1))
        ids: MaskArray = self.ids[folded]
        return ids


def planes_or_raw(path: Path) -> RawMask | Tally:
    """Decode a mask, or where its form says that it has planes, count these."""
    return plane_tally(path) if holds_planes(path) else read_raw(path)


def plane_tally(path: Path) -> Tally:
    """Count the pixels (0) in no plane and (1, 2, …) in each plane of a mask."""
    folded, num_planes = fold(path)
    values, pixels = counted(folded)
    return Tally("planes", False, values, np.stack([pixels, pixels, 0 * pixels]), None, num_planes=num_planes)


def fold(path: Path) -> tuple[MaskArray, int]:
    """Decode planes one by one: the number (H, W), from 1, of the plane each pixel is in; and how many there are.

    Raises:
        DataError: planes hold other values than 0 and one more, differ in size, or share pixels.
    """
    folded: MaskArray | None = None
    number, shared = 0, np.zeros(1, np.bool_)
    for number, plane in enumerate(_planes(path), start=1):
        if number >= MAX_CLASSES:
            raise DataError(f"{path} has more than {MAX_CLASSES - 1} planes; there can be {MAX_CLASSES} classes.")
        inside = _inside(plane, number, path)
        if folded is None:
            folded = np.zeros(inside.shape, np.uint8)
        if inside.shape != folded.shape:
            raise DataError(f"{path} has planes of different sizes; all of one mask must agree: save it again.")
        shared = shared | (inside & (folded > 0))
        folded[inside] = number
    assert folded is not None
    if shared.any():
        raise DataError(
            f"{path} has {int(shared.sum()):,} pixels in several of its {number} planes; each may be in one (an "
            f"alpha channel counts as a plane): save it so."
        )
    return folded, number


def one_hot_rule(totals: Totals, question: Question) -> Answer:
    """Each plane is a class.

    Raises:
        DataError: the source declares neither as many classes as planes nor one more.
    """
    usual = Counter(totals.num_planes.values()).most_common(1)[0][0]
    problems = {path: _number_text(path, n, usual) for path, n in totals.num_planes.items() if n != usual}
    names, unset = question.names, {path: pixels for path, pixels in totals.unset.items() if path not in problems}
    if names is None:
        first_is_background = usual > 1 and not unset
        count = usual if first_is_background else usual + 1
        names = ("background", *(f"class_{index}" for index in range(1, count))) if count > 2 else ()
        names = names or ("background", "foreground")
    elif len(names) in (usual, usual + 1):
        first_is_background = len(names) == usual
    else:
        raise DataError(
            f"classes.txt names {len(names)} classes but the masks in {question.folder} have {usual} planes; name "
            f"{usual}, or {usual + 1} with the background, which then is what is in no plane."
        )
    if first_is_background:
        problems |= {
            path: f"{path} has {pixels:,} pixels in no plane; classes.txt names a class for each of {usual} planes, "
            f"so every pixel must be in one: mend it, or name the background as well."
            for path, pixels in unset.items()
        }
        ids = np.array([IGNORE_INDEX, *range(usual)], np.uint8)
        why = "every pixel is in exactly one" if question.names is None else "there is a class for each"
        note = f"{usual} planes are the classes {listed(names)} ({why}; {totals.num_pixels:,} pixels)"
    else:
        ids = np.arange(usual + 1, dtype=np.uint8)
        background = sum(unset.values())
        note = (
            f"{usual} planes are the classes {listed(names[1:])}; what is in none is {names[0]} "
            f"({share(background, totals)})"
        )
    table = question.table
    colours = (table.colours if table is not None else None) or class_colours(len(names))
    return Answer(MaskRule(names, colours, note, ByPlane(ids)), problems)


def _planes(path: Path) -> Iterator[NDArray[Any]]:
    if path.suffix.lower() == ".npy":
        array = read_array(path)
        yield from (array[:, :, index] for index in range(array.shape[2])) if array.ndim == 3 else [array]
        return
    with undecoded_image(path) as image:
        numbers = pages(image, path)
        if len(numbers) > 1 and image.format != "TIFF":
            raise DataError(f"{path} is an animation; planes come as channels, or as pages of a TIFF: save them so.")
        for number in numbers:
            if len(numbers) > 1:
                image.seek(number)
            page = decode(image, path)
            if len(numbers) > 1 and page.mode not in _PLANE_MODES:
                raise DataError(f"{path} has pages in mode {page.mode}; a page must be one grey plane: save it so.")
            if page.mode in ("P", "PA"):
                raise DataError(f"{path} has a palette, not planes; save a channel or page for each class.")
            values = np.asarray(page)
            yield from [values] if values.ndim == 2 else (values[:, :, index] for index in range(values.shape[2]))


def _inside(plane: NDArray[Any], number: int, path: Path) -> NDArray[np.bool_]:
    """Which pixels a plane marks: those that are not 0, and these must all be 1, 255 or 65535."""
    inside: NDArray[np.bool_] = np.asarray(plane) != 0
    top = plane.max()
    odd = int((inside & (plane != top)).sum())
    if inside.any() and (odd or top not in _FULL):
        odd = odd or int(inside.sum())
        raise DataError(
            f"{path} has {odd:,} pixels in plane {number} that are neither 0 nor full (1, 255 or 65535); planes of "
            f"--masks one-hot hold only these: save it without smoothing."
        )
    return inside


def _number_text(path: Path, number: int, usual: int) -> str:
    return f"{path} has {number} planes but most masks have {usual}; all must have as many: save it like the others."
