"""What the masks of a Pascal VOC tree mean: its list of labels, and pixels decoded by it.

The label of the list's line i (comments not counted) is the value i in masks that hold numbers, and the line's
colour in masks in colour. Value 255, and the colour that VOC gives it, are void: ignored pixels.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isdm.data.dataset import IGNORE_INDEX, MAX_CLASSES
from isdm.data.image_files import MaskArray, opened_image
from isdm.data.label_tables import VOC_NAMES, Colour, voc_colour
from isdm.data.tree_files import text_lines
from isdm.errors import DataError

BACKGROUND_NAMES = ("background", "_background_")
BLACK: Colour = (0, 0, 0)
VOID_COLOUR = voc_colour(IGNORE_INDEX)
NUMBER_MODES = ("P", "L")
COLOUR_MODES = ("RGB", "RGBA")
MOST_SHOWN = 3

_COLOUR = re.compile(r"(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})", re.ASCII)


class Label(NamedTuple):
    """A line of the list."""

    name: str
    colour: Colour | None = None
    """None where the list says none: it is VOC's own then."""


PUBLISHED = tuple(Label(name, voc_colour(index)) for index, name in enumerate(VOC_NAMES))


@dataclass(frozen=True)
class LabelMap:
    """How pixels become class ids; the same for all masks of a tree."""

    told_by: str
    labels: tuple[Label, ...]
    in_colour: bool
    """Whether masks are in colour, or hold numbers."""
    class_names: tuple[str, ...]
    colours: tuple[Colour, ...]
    has_background: bool
    id_of_value: NDArray[np.uint8]
    """(256,) class id of each number; only those of labels and 255 may occur."""
    packed_colours: NDArray[np.uint32]
    """Known colours 0xRRGGBB, sorted; `id_of_colour` has their class ids."""
    id_of_colour: NDArray[np.uint8]


def read_labelmap(path: Path) -> tuple[Label, ...]:
    """Read lines `name:r,g,b:parts:actions`; what is after the colour is not used, and `#` starts a comment.

    Raises:
        DataError: the file cannot be read, or a line's name is empty or its colour none.
    """
    labels = []
    for number, line in enumerate(text_lines(path), start=1):
        if not line or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        colour = rest.partition(":")[0].strip()
        match = _COLOUR.fullmatch(colour)
        red, green, blue = (int(part) for part in match.groups()) if match else (0, 0, 0)
        if not name.strip() or (colour and match is None) or max(red, green, blue) > 255:
            raise DataError(f"{path}, line {number} is {line[:80]!r}; it must be name:red,green,blue:: (0 to 255).")
        labels.append(Label(name.strip(), (red, green, blue) if match else None))
    return tuple(labels)


def read_class_names(path: Path) -> tuple[Label, ...]:
    """Read names, one a line, without colours; errors as of `read_labelmap`."""
    return tuple(Label(line) for line in text_lines(path) if line)


def label_map(labels: Sequence[Label], told_by: str, *, in_colour: bool) -> LabelMap:
    """Number the labels as classes: the background first, then the others in their order.

    The background is the label of that name, or else the black one. Where there is none, masks in colour get one,
    black, which is what annotation tools leave where nothing was drawn; in masks of numbers the first label
    is a class like the others. A label of the void colour is no class but ignored.

    Raises:
        DataError: a name or, with masks in colour, a colour occurs twice, or there are too few or many labels.
    """
    shown = [label.colour or voc_colour(index) for index, label in enumerate(labels)]
    _refuse_twice([label.name for label in labels], "the name", told_by)
    if in_colour:
        _refuse_twice([_hexadecimal(colour) for colour in shown], "the colour", told_by)
    kept = [index for index, label in enumerate(labels) if label.colour != VOID_COLOUR]
    named = [index for index in kept if labels[index].name.lower() in BACKGROUND_NAMES]
    background = (named or [index for index in kept if shown[index] == BLACK])[:1]
    order = [*background, *(index for index in kept if index not in background)]
    names, colours = [labels[index].name for index in order], [shown[index] for index in order]
    added = in_colour and not background
    if added:
        names, colours = ["background", *names], [BLACK, *colours]
    if not 2 <= len(names) <= MAX_CLASSES or len(labels) > IGNORE_INDEX:
        raise DataError(
            f"{told_by} has {len(labels)} labels; from 2 to {MAX_CLASSES} can be used, background included."
        )
    id_of_value = np.full(256, IGNORE_INDEX, np.uint8)
    id_of_value[order] = np.arange(len(order))
    id_of_colour = {_packed_colour(VOID_COLOUR): IGNORE_INDEX}
    id_of_colour |= {_packed_colour(colour): index for index, colour in enumerate(colours)}
    known = sorted(id_of_colour)
    return LabelMap(
        told_by,
        tuple(labels),
        in_colour,
        tuple(names),
        tuple(colours),
        bool(background) or added,
        id_of_value,
        np.array(known, np.uint32),
        np.array([id_of_colour[colour] for colour in known], np.uint8),
    )


def load_mask(path: Path, labels: LabelMap) -> MaskArray:
    """Decode a mask as class ids (H, W) uint8.

    Raises:
        DataError: the file cannot be read, is in colour where the others are not or the other way round, has a
            number or colour of no label, or a palette that shows numbers in other labels' colours.
    """
    with opened_image(path) as mask:
        if mask.mode not in (COLOUR_MODES if labels.in_colour else NUMBER_MODES):
            needed = "be in colour (RGB)" if labels.in_colour else "hold one number a pixel (P or L)"
            raise DataError(f"{path} has mode {mask.mode} but must {needed} like the other masks; save it so.")
        if labels.in_colour:
            return _from_colours(np.asarray(mask.convert("RGB")), path, labels)
        values = np.asarray(mask)
        palette = mask.getpalette("RGB") if mask.mode == "P" else None
    found = [value for value in np.unique(values).tolist() if value != IGNORE_INDEX]
    unknown = [value for value in found if value >= len(labels.labels)]
    if unknown:
        raise DataError(
            f"{path} holds the value {', '.join(map(str, unknown[:MOST_SHOWN]))}; {labels.told_by} has labels for 0 "
            f"to {len(labels.labels) - 1}, and {IGNORE_INDEX} is void: correct the mask, or add the label."
        )
    if palette is not None:
        _check_palette(palette, found, path, labels)
    ids: MaskArray = labels.id_of_value[values]
    return ids


def _from_colours(colours: NDArray[np.uint8], path: Path, labels: LabelMap) -> MaskArray:
    red, green, blue = (colours[:, :, channel].astype(np.uint32) for channel in range(3))
    packed = (red << 16) | (green << 8) | blue
    place = np.searchsorted(labels.packed_colours, packed).clip(max=len(labels.packed_colours) - 1)
    wrong = labels.packed_colours[place] != packed
    if wrong.any():
        found, counts = np.unique(packed[wrong], return_counts=True)
        worst = found[np.argsort(-counts, kind="stable")[:MOST_SHOWN]].tolist()
        raise DataError(
            f"{path} has {len(found)} unknown colour(s), such as {', '.join(f'#{value:06x}' for value in worst)}; "
            f"{labels.told_by} must have a label for each: add it, or correct the mask."
        )
    ids: MaskArray = labels.id_of_colour[place]
    return ids


def _check_palette(palette: Sequence[int], values: Sequence[int], path: Path, labels: LabelMap) -> None:
    """Refuse numbers shown in a colour other than their label's: one of both is meant, and nobody can tell which.

    A palette of greys says nothing. Nor do labels without a colour.
    """
    colour_of = {value: tuple(palette[3 * value : 3 * value + 3]) for value in values}
    if all(colour == (value, value, value) for value, colour in colour_of.items()):
        return
    for value, colour in colour_of.items():
        label = labels.labels[value]
        if label.colour is not None and colour != label.colour:
            has = f"in {_hexadecimal(colour)}" if colour else "in no colour"
            raise DataError(
                f"{path} shows the value {value} {has}, but {labels.told_by} has {label.name!r} there with "
                f"{_hexadecimal(label.colour)}; save the mask in colour (RGB) if colours count, or as grey (L) if "
                f"numbers do."
            )


def _refuse_twice(values: Sequence[str], what: str, told_by: str) -> None:
    twice = [value for value, times in Counter(values).items() if times > 1]
    if twice:
        raise DataError(f"{told_by} has {what} {twice[0][:80]!r} twice; labels must differ: correct or remove one.")


def _packed_colour(colour: Colour) -> int:
    red, green, blue = colour
    return red << 16 | green << 8 | blue


def _hexadecimal(colour: Sequence[int]) -> str:
    return "#" + "".join(f"{value:02x}" for value in colour)
