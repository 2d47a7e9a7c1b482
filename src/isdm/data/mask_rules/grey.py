"""Rules for masks of one number a pixel: class ids, 0 and 255, soft borders, numbers of objects."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isdm.data.dataset import IGNORE_INDEX
from isdm.data.layouts.source import class_colours
from isdm.data.mask_rules.class_table import Colour
from isdm.data.mask_rules.counting import Counts, Totals
from isdm.data.mask_rules.decoding import LARGEST_VALUE, RawMask, read_raw
from isdm.data.mask_rules.rule import Answer, MaskRule, Question, by_value, share, transparency_note
from isdm.errors import DataError
from isdm.text import listed

MOST_IDS_TO_FIND = 64
"""Values beyond so many are not taken for class ids unless somebody says so."""
NOISE = 16
"""Grey values this near to 0 and 255 are noise of a lossy compression where there are no others."""
SOFT_SHARE = 0.25
"""Values with a smaller share of their pixels in 2x2 blocks fill no areas: they are borders or specks."""
_ENLARGED_SHARE = 0.6
_LITTLE_NOISE = 3
"""Grey values that a compression of high quality is off by at most."""
_AREA_SHARE = 0.02
"""Of all pixels: values near the ends that fill less of them are no classes by themselves."""
MANY_IDS = 8
"""Beyond so many, ids are looked at twice."""
_THRESHOLDED = {"binary": "mask values", "alpha": "alpha values"}


def in_colour_refused(path: Path, reading: str) -> DataError:
    """What a mask in colour gets where numbers are needed."""
    return DataError(
        f"{path} is in colour, but --masks {reading} needs one number a pixel; save it grey or with a palette, or "
        f"give --masks colours."
    )


def numbers(path: Path, reading: str) -> RawMask:
    """The view of a mask as numbers; transparency does not count."""
    raw = read_raw(path)
    if raw.kind == "colour":
        raise in_colour_refused(path, reading)
    return RawMask(raw.kind, raw.values)


def brightness(path: Path) -> RawMask:
    """The view of any mask as grey values of 8 bits: of a colour, also a palette's, the brightest channel counts."""
    raw = read_raw(path)
    values = raw.values if raw.palette is None else raw.palette[raw.values]
    if values.ndim == 3:
        values = values.max(axis=2)
    return RawMask(raw.kind if raw.kind != "palette" else "colour", to_8_bits(values), raw.alpha)


def to_8_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey values of 16 bits (uint16) scaled to 8, rounded to nearest; those of 8 bits as they are."""
    if values.dtype == np.uint8:
        return values
    scaled: NDArray[np.uint8] = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return scaled


def opacity(path: Path) -> RawMask:
    """The view of a mask as its transparency."""
    raw = read_raw(path)
    if raw.alpha is None:
        raise DataError(
            f"{path} has no alpha channel, which --masks alpha takes for the mask; save it with one, as PNG or TIFF."
        )
    return RawMask("grey", raw.alpha)


def ids_rule(totals: Totals, question: Question) -> Answer:
    """Values are class ids: those declared, or those found; 255, in 16 bits also 65535, is ignored.

    Raises:
        DataError: there is no class beside the background.
    """
    counts, hidden = totals.visible(totals.by_value)
    ignored = dict.fromkeys((IGNORE_INDEX, LARGEST_VALUE), IGNORE_INDEX)
    problems = {
        path: f"{path} holds values up to {largest} in {pixels:,} pixels; class ids go up to {IGNORE_INDEX - 1}: "
        f"save it with 8 bits, or if its values number objects, give --masks instances"
        for path, (pixels, largest) in totals.odd_values.items()
    }
    if question.names is not None:
        names, colours = question.names, _own_colours(question)
        reader = by_value(question, totals, {value: value for value in range(IGNORE_INDEX)} | ignored)
        note = "mask values are the declared class ids"
    else:
        found = sorted({0, *(value for value in counts if value < IGNORE_INDEX)})
        if len(found) < 2:
            raise DataError(
                f"The masks in {question.folder} hold no class id above 0 ({IGNORE_INDEX} is ignored); if their "
                f"other value is the one class, give --masks binary."
            )
        names = ("background", *(f"class_{value}" for value in found[1:]))
        colours = class_colours(len(found))
        reader = by_value(question, totals, {value: place for place, value in enumerate(found)} | ignored)
        note = f"mask values {listed(found)} are the classes {listed(names)}"
        if len(found) > MANY_IDS and not question.is_explicit:
            note += " (if they number objects instead, give --masks instances)"
    lost = sum(counts.get(value, 0) for value in ignored)
    if lost:
        said = [str(value) for value in ignored if value in counts]
        note += f", {' and '.join(said)} {'is' if len(said) == 1 else 'are'} ignored ({share(lost, totals)})"
        if question.names is None and not question.is_explicit and IGNORE_INDEX in counts and _is_spread(found):
            note += (
                f"; the values are spread evenly up to {IGNORE_INDEX}, which may be a class like the others: if it "
                f"is, import again with --masks colours"
            )
    return Answer(MaskRule(names, colours, note + transparency_note(totals, hidden), reader), problems)


def _is_spread(ids: list[int]) -> bool:
    """Whether ids, the first 0, divide the range up to 255 evenly (but for rounding), as classes drawn in grey do."""
    step = IGNORE_INDEX / len(ids)
    return all(abs(value - place * step) <= 1 for place, value in enumerate(ids))


def two_values_rule(totals: Totals, question: Question, shown: list[int]) -> Answer:
    """Whatever is not 0 is the one class; `shown` are the values that occur."""
    names = question.names or ("background", "foreground")
    counts, hidden = totals.visible(totals.by_value)
    reader = by_value(question, totals, {0: 0, **dict.fromkeys(shown, 1)})
    foreground = sum(counts.get(value, 0) for value in shown)
    values = " and ".join(map(str, shown)) or "255"
    note = f"mask value 0 is background, {values} is {names[1]} ({share(foreground, totals)})"
    return Answer(MaskRule(names, _own_colours(question), note + transparency_note(totals, hidden), reader))


def threshold_rule(totals: Totals, question: Question, reading: str, *, found: bool = False) -> Answer:
    """Values of 8 bits above a threshold are the one class; the question's view must give 8 bits.

    Args:
        reading: `binary` or `alpha`.
        found: nobody asked for it.

    Raises:
        DataError: no value of any mask lies above the threshold, though there are others than 0.
    """
    names = question.two_names(reading)
    counts, hidden = totals.visible(totals.by_value)
    above = sum(pixels for value, pixels in counts.items() if value > question.threshold)
    between = sum(pixels for value, pixels in counts.items() if 0 < value < 255)
    largest = max(counts, default=0)
    if not above and largest > 0:
        raise DataError(
            f"No pixel of the masks in {question.folder} is above the threshold {question.threshold}; their largest "
            f"value is {largest}: lower it with --mask-threshold."
        )
    reader = by_value(question, totals, {value: int(value > question.threshold) for value in range(256)})
    start = f"masks have {len(counts)} grey values: those" if found else _THRESHOLDED[reading]
    note = (
        f"{start} above {question.threshold} are {names[1]} ({share(above, totals)}; {between:,} pixels between 0 "
        f"and 255 decided so, {between / max(totals.num_pixels, 1):.2%})"
    )
    if totals.kinds["wide"]:
        note += f"; {totals.kinds['wide']} masks of 16 bits were scaled to 8 first"
    if totals.kinds["colour"]:
        note += f"; of the {totals.kinds['colour']} masks in colour, palettes included, the brightest channel counts"
    return Answer(MaskRule(names, _own_colours(question), note + transparency_note(totals, hidden), reader))


def instances_rule(totals: Totals, question: Question) -> Answer:
    """Whatever is not 0 is an object of the one class.

    Raises:
        DataError: the source declares more classes.
    """
    names = question.two_names("instances")
    reader = by_value(question, totals, {0: 0, **dict.fromkeys(range(1, LARGEST_VALUE + 1), 1)})
    foreground = sum(int(counts[0]) for value, counts in totals.by_value.items() if value)
    note = (
        f"mask value 0 is background, every other number is an object of {names[1]} ({share(foreground, totals)}; "
        f"numbers up to {max(totals.by_value, default=0)})"
    )
    return Answer(MaskRule(names, _own_colours(question), note, reader, values_are_objects=True))


def looks_smoothed(pixels: Counts, solid: Counts) -> bool:
    """Whether grey values (256,) are those of a 0-and-255 mask with soft borders or compression noise.

    They have both ends, and what lies between is no area of its own: it is near the ends alone, or its pixels
    differ from their neighbours, whereas class ids and numbers of objects fill areas. Masks that were enlarged
    without smoothing have small areas between, but little of them beside what is white. Near the ends there may be
    ids too, of which those further from them may be small or thin.

    Args:
        pixels: (256,) pixels of each value.
        solid: (256,) those of them in 2x2 blocks of one value.
    """
    values, middle = np.flatnonzero(pixels), slice(NOISE, 256 - NOISE)
    white = int(pixels[-NOISE:].sum())
    if len(values) <= 2 or not pixels[:NOISE].any() or not white or _has_ids_near_ends(pixels, solid):
        return False
    between = int(pixels[middle].sum())
    if between == 0:
        return bool(pixels[-NOISE:255].any())
    together = int(solid[middle].sum())
    is_little = len(values) > MANY_IDS and between < white / 2
    return together < (_ENLARGED_SHARE if is_little else SOFT_SHARE) * between


def _has_ids_near_ends(pixels: Counts, solid: Counts) -> bool:
    """Whether values (256,) near 0 and 255, these left out, are ids, for they fill areas.

    A compression may shift whole areas too, but leaves many values, near both ends; the little noise of a good one
    fills areas where the mask was enlarged.
    """
    num_values, is_near_white = np.count_nonzero(pixels), bool(pixels[-NOISE:255].any())
    if num_values > MOST_IDS_TO_FIND or (is_near_white and num_values > MANY_IDS):
        return False
    first, least = (_LITTLE_NOISE + 1, _ENLARGED_SHARE) if is_near_white else (1, SOFT_SHARE)
    near = np.r_[first:NOISE, 256 - NOISE : 256 - first]
    areas = near[(pixels[near] > 0) & (solid[near] >= least * pixels[near])]
    return bool(pixels[areas].sum() > _AREA_SHARE * pixels.sum())


def _own_colours(question: Question) -> tuple[Colour, ...]:
    """Colours to show the classes in: the table's own, where it has some."""
    if question.table is None:
        return class_colours(2)
    return question.table.colours or class_colours(len(question.table.names))
