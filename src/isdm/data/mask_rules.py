"""What mask pixels mean, found from all masks of a source at once and stated in one sentence.

only 0 and 255, or 0 and 1             one class, "foreground"
few grey or palette values             class ids in order; 255 beside others is the ignore index
many grey values                       one class with anti-aliased borders, threshold 127
colours                                one class a colour, black is the background
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isdm.data.dataset import IGNORE_INDEX, MAX_CLASSES
from isdm.data.image_files import MaskArray, opened_image
from isdm.data.layouts.source import class_colours
from isdm.errors import DataError

MOST_ID_VALUES = 64
MOST_COLOURS = 64
THRESHOLD = 127
NOISE = 16
"""Grey values this near to 0 and 255 are noise of a lossy compression where there are no others."""

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class MaskRule:
    """How pixels of one source become class ids.

    `table` (256,) uint8 maps grey values to ids; where masks are in colour, `packed_colours` (sorted
    0xRRGGBB) and `colour_ids` map those instead.
    """

    class_names: tuple[str, ...]
    colours: tuple[Colour, ...]
    note: str
    table: NDArray[np.uint8]
    packed_colours: NDArray[np.uint32] | None = None
    colour_ids: NDArray[np.uint8] | None = None

    def load(self, path: Path) -> MaskArray:
        """Decode the mask at `path` into class ids (H, W) uint8."""
        values = read_values(path)
        if self.packed_colours is None or self.colour_ids is None:
            if values.ndim == 3:
                raise DataError(f"{path} is in colour but the other masks are grey; save it like the others.")
            ids: MaskArray = self.table[values]
            return ids
        packed = _packed(values if values.ndim == 3 else np.repeat(values[:, :, None], 3, axis=2))
        place = np.searchsorted(self.packed_colours, packed).clip(max=len(self.packed_colours) - 1)
        assert (self.packed_colours[place] == packed).all(), "colours were collected from all masks"
        coloured: MaskArray = self.colour_ids[place]
        return coloured


def read_values(path: Path) -> NDArray[np.uint8]:
    """Decode a mask file of any mode as grey values (H, W), or (H, W, 3) where it is really in colour.

    A palette mask gives its indices; transparency is left out.
    """
    with opened_image(path) as mask:
        if mask.mode in ("P", "L"):
            return np.asarray(mask)
        if mask.mode in ("1", "LA"):
            return np.asarray(mask.convert("L"))
        if mask.mode.startswith(("I", "F")):
            wide = np.asarray(mask)
            if wide.min() < 0 or wide.max() > MAX_CLASSES:
                raise DataError(
                    f"{path} has mode {mask.mode} and values up to {wide.max()}; class ids go up to "
                    f"{MAX_CLASSES}. Save it with 8 bits."
                )
            return wide.astype(np.uint8)
        colours = np.asarray(mask.convert("RGB"))
    grey = colours[:, :, 0]
    return grey if (colours == grey[:, :, None]).all() else colours


def find_rule(paths: Sequence[Path], declared_names: tuple[str, ...] | None) -> tuple[MaskRule, list[str]]:
    """Find the rule that all masks of a source follow.

    Args:
        paths: the mask files.
        declared_names: class names, background first, where the source declares them.

    Returns:
        The rule, and a line for each mask that cannot be read.
    """
    grey_counts = np.zeros(256, np.int64)
    colours: set[int] = set()
    problems = []
    for path in paths:
        try:
            values = read_values(path)
        except DataError as error:
            problems.append(str(error))
            continue
        if values.ndim == 2:
            grey_counts += np.bincount(values.ravel(), minlength=256)
        else:
            colours.update(np.unique(_packed(values)).tolist())
    if colours:
        grey = np.flatnonzero(grey_counts)
        colours.update(int(value) * 0x010101 for value in grey)
        return _colour_rule(sorted(colours), declared_names, paths[0].parent), problems
    return _grey_rule(grey_counts, declared_names), problems


def _packed(colours: NDArray[np.uint8]) -> NDArray[np.uint32]:
    red, green, blue = (colours[:, :, channel].astype(np.uint32) for channel in range(3))
    return np.asarray((red << 16) | (green << 8) | blue, np.uint32)


def _looks_smoothed(counts: NDArray[np.int64]) -> bool:
    """Whether grey values (256,) are those of a 0-and-255 mask with soft borders or compression noise.

    Either too many values for class ids, or both ends there and everything between them rare or close to an
    end; class ids beside an ignore index of 255 make up most of what is not background.
    """
    values = np.flatnonzero(counts)
    if len(values) > MOST_ID_VALUES:
        return True
    if not (counts[0] and counts[255]):
        return False
    between = counts[1:255]
    near_an_end = between[NOISE:-NOISE].sum() == 0 and between[-NOISE:].sum() > 0
    return bool(near_an_end or (len(values) > 8 and between.sum() < counts[255] / 2))


def _grey_rule(counts: NDArray[np.int64], declared: tuple[str, ...] | None) -> MaskRule:
    values = np.flatnonzero(counts).tolist()
    identity = np.arange(256, dtype=np.uint8)
    if declared is not None and not (len(declared) == 2 and set(values) <= {0, 255}):
        return MaskRule(declared, class_colours(len(declared)), "mask values are the declared class ids", identity)
    binary = declared or ("background", "foreground")
    if set(values) <= {0, 255} or set(values) <= {0, 1}:
        shown = max(values, default=255) or 255
        note = f"mask value 0 is background, {shown} is {binary[1]}"
        return MaskRule(binary, class_colours(2), note, (identity > 0).astype(np.uint8))
    if _looks_smoothed(counts):
        between = int(counts[1:255].sum())
        note = (
            f"masks have {len(values)} grey values: those above {THRESHOLD} are {binary[1]} "
            f"({between:,} pixels between 0 and 255 decided so, {between / counts.sum():.2%})"
        )
        return MaskRule(binary, class_colours(2), note, (identity > THRESHOLD).astype(np.uint8))
    ids = sorted({0, *values} - {IGNORE_INDEX})
    table = np.full(256, IGNORE_INDEX, np.uint8)
    table[ids] = np.arange(len(ids), dtype=np.uint8)
    names = ("background", *(f"class_{value}" for value in ids[1:]))
    ignored = f", {IGNORE_INDEX} is ignored" if IGNORE_INDEX in values else ""
    note = f"mask values {', '.join(map(str, ids))} are the classes {', '.join(names)}{ignored}"
    return MaskRule(names, class_colours(len(ids)), note, table)


def _colour_rule(packed: list[int], declared: tuple[str, ...] | None, folder: Path) -> MaskRule:
    if len(packed) > MOST_COLOURS:
        raise DataError(
            f"The masks in {folder} have {len(packed)} colours, which is too many for classes (at most "
            f"{MOST_COLOURS}); save them as class ids, without smoothing."
        )
    ordered = [0, *(value for value in packed if value != 0)]
    names = declared or ("background", *(f"colour_{value:06x}" for value in ordered[1:]))
    if len(names) != len(ordered):
        raise DataError(
            f"classes.txt names {len(names)} classes but the masks have {len(ordered)} colours (black "
            f"included); name as many, in the order of the colours' hexadecimal codes."
        )
    order = np.argsort(np.array(ordered, np.uint32))
    shown = ", ".join(f"#{value:06x} {name}" for value, name in zip(ordered, names, strict=True))
    colours = tuple((value >> 16, value >> 8 & 255, value & 255) for value in ordered)
    return MaskRule(
        names,
        colours,
        f"mask colours are classes: {shown}",
        np.zeros(256, np.uint8),
        np.array(ordered, np.uint32)[order],
        np.arange(len(ordered), dtype=np.uint8)[order],
    )
