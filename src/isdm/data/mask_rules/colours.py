"""Rules for masks in colour: one class a colour, with or without a table that says which."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isdm.data.dataset import IGNORE_INDEX, MAX_CLASSES
from isdm.data.image_files import MaskArray
from isdm.data.mask_rules.class_table import packed_colour, unpacked_colour
from isdm.data.mask_rules.counting import OddColours, Totals, nearest, packed, runs, table_colours
from isdm.data.mask_rules.decoding import RawMask, read_raw
from isdm.data.mask_rules.rule import Answer, MaskRule, Question, View, share, transparency_note
from isdm.errors import DataError

MOST_COLOURS = 64
"""Colours beyond so many are not taken for classes unless somebody says so."""
_FREQUENT_SHARE = 0.001
_SOFT_SHARE = 0.25
_BLEND_DISTANCE = 16.0


@dataclass(frozen=True)
class ByColour:
    """Reads a mask through a table of its colours."""

    view: View
    packed_colours: NDArray[np.uint32]
    """(K,) known colours."""
    ids: NDArray[np.uint8]
    """(K,) their class ids."""
    takes_nearest: bool
    transparent_is_background: bool

    def __call__(self, path: Path) -> MaskArray:
        """Class ids (H, W) of the mask at `path`."""
        raw = self.view(path)
        values = raw.values if raw.palette is None else raw.palette[raw.values]
        flat = packed(values).ravel() if values.ndim == 3 else values.ravel().astype(np.uint32) * np.uint32(0x010101)
        colours, lengths = runs(flat)
        found, place = np.unique(colours, return_inverse=True)
        closest, distances = nearest(found, self.packed_colours)
        visible = raw.alpha != 0 if raw.alpha is not None and self.transparent_is_background else None
        of_run = self.ids[closest][place]
        ids: MaskArray = np.repeat(of_run, lengths).reshape(raw.values.shape[:2])
        if distances.any() and not self.takes_nearest:
            odd = np.repeat(distances[place] > 0, lengths).reshape(ids.shape)
            odd &= True if visible is None else visible
            if odd.any():
                colour = int(flat[odd.ravel()][0])
                raise DataError(
                    f"{path} has {int(odd.sum()):,} pixels of unknown colours, such as #{colour:06x}; mend it."
                )
        if visible is not None:
            ids[~visible] = 0
        return ids


def as_colours(path: Path) -> RawMask:
    """The view of a mask as colours; grey values are shades of grey, and a palette's colours count."""
    raw = read_raw(path)
    if raw.kind == "wide":
        raise DataError(f"{path} has 16 bits, but --masks colours needs 8; save it so, or read it otherwise.")
    return raw


def colours_rule(totals: Totals, question: Question) -> Answer:
    """One class a colour: those of the class table, or those found, of which black is the background.

    Raises:
        DataError: there are too many colours, or blends of others, without a table; or not as many as names.
    """
    if question.table is not None and question.table.colours is not None:
        return _declared(totals, question)
    counts, hidden = totals.visible(totals.by_colour)
    most = MAX_CLASSES if question.is_explicit else MOST_COLOURS
    if len(counts) > most or totals.too_many_colours:
        raise _too_many(totals, question, counts, most)
    if not question.is_explicit:
        _refuse_blends(totals, question, counts)
    ordered = [0, *sorted(value for value in counts if value)]
    names = question.names or ("background", *(f"colour_{value:06x}" for value in ordered[1:]))
    if len(names) != len(ordered):
        raise DataError(
            f"classes.txt names {len(names)} classes but the masks have {len(ordered)} colours (black "
            f"included); name as many, in the order of the colours' hexadecimal codes, or give each line its "
            f"colour: name #rrggbb."
        )
    shown = ", ".join(
        f"#{value:06x} {name} ({counts.get(value, 0):,} pixels)" for value, name in zip(ordered, names, strict=True)
    )
    note = f"mask colours are classes: {shown}{transparency_note(totals, hidden)}"
    known = np.array(ordered, np.uint32)
    reader = ByColour(
        question.view,
        known,
        np.arange(len(known), dtype=np.uint8),
        False,
        totals.transparency_means_something,
    )
    return Answer(MaskRule(names, tuple(map(unpacked_colour, ordered)), note, reader))


def _declared(totals: Totals, question: Question) -> Answer:
    table = question.table
    assert table is not None
    assert table.colours is not None
    known = table_colours(table)
    ids = np.arange(len(known), dtype=np.uint8)
    if table.ignored is not None:
        ids[-1] = IGNORE_INDEX
    counts, hidden = totals.visible(totals.by_colour)
    shown = ", ".join(
        f"#{value:06x} {name} ({counts.get(value, 0):,} pixels)"
        for value, name in zip(known.tolist(), (*table.names, "ignored"), strict=False)
    )
    note = f"mask colours are the classes of classes.txt: {shown}"
    bad = {path: odd for path, odd in totals.odd_colours.items() if odd.solid is not None or not question.is_explicit}
    snapped = [odd for path, odd in totals.odd_colours.items() if path not in bad]
    if snapped:
        note += (
            f"; {share(sum(odd.pixels for odd in snapped), totals)}, have other colours and took the nearest, at "
            f"most {max(odd.distance for odd in snapped):.0f} of 255 away"
        )
    note += transparency_note(totals, hidden)
    reader = ByColour(question.view, known, ids, question.is_explicit, totals.transparency_means_something)
    problems = {path: _odd_text(path, odd, question.is_explicit) for path, odd in bad.items()}
    return Answer(MaskRule(table.names, table.colours, note, reader), problems)


def _odd_text(path: Path, odd: OddColours, is_explicit: bool) -> str:
    if is_explicit and odd.solid is not None:
        return (
            f"{path} has {odd.solid_pixels:,} pixels of #{odd.solid:06x}, which fills areas but is not in "
            f"classes.txt; add it there, or mend the mask."
        )
    others = f" and {odd.num_colours - 1} other colours" if odd.num_colours > 1 else ""
    return (
        f"{path} has {odd.pixels:,} pixels of #{odd.most:06x}{others}, not in classes.txt; add what is missing, or "
        f"if borders were smoothed, give --masks colours to take the nearest colour."
    )


def _too_many(totals: Totals, question: Question, counts: dict[int, int], most: int) -> DataError:
    frequent = sorted(
        (
            value
            for value, pixels in counts.items()
            if pixels > _FREQUENT_SHARE * totals.num_pixels and not _is_soft(totals, value)
        ),
        key=lambda value: -counts[value],
    )
    covered = sum(counts[value] for value in frequent) / max(totals.num_pixels, 1)
    number = f"more than {len(counts):,}" if totals.too_many_colours else f"{len(counts):,}"
    start = f"The masks in {question.folder} have {number} colours, which is too many for classes (at most {most})"
    if 2 <= len(frequent) <= MOST_COLOURS and covered > 1 / 2:
        return DataError(
            f"{start}, but {covered:.1%} of their pixels have one of {_listed(frequent)}: borders were smoothed. "
            f"Save them without smoothing, or list the classes in classes.txt with their colours (name #rrggbb) and "
            f"give --masks colours, which takes the nearest."
        )
    return DataError(f"{start}; save them as class ids, without smoothing.")


def _refuse_blends(totals: Totals, question: Question, counts: dict[int, int]) -> None:
    """Refuse colours that lie between two others and fill no area: smoothed borders, not classes."""
    blends = [
        value for value, pixels in counts.items() if _is_soft(totals, value) and _is_between(value, pixels, counts)
    ]
    if blends:
        pixels = sum(counts[value] for value in blends)
        clear = [value for value in counts if value not in blends]
        raise DataError(
            f"The masks in {question.folder} have {len(blends)} colours in {share(pixels, totals)}, that lie between "
            f"others and fill no area, such as {_listed(blends)}: borders were smoothed. List the classes in "
            f"classes.txt with their colours ({_listed(clear)}) and give --masks colours, which takes the nearest; "
            f"without the list, --masks colours makes each of them a class."
        )


def _is_soft(totals: Totals, value: int) -> bool:
    """Whether most pixels of a colour have neighbours of others."""
    sums = totals.by_colour.get(value)
    return sums is not None and bool(sums[1] < _SOFT_SHARE * sums[0])


def _is_between(value: int, pixels: int, counts: dict[int, int]) -> bool:
    colour = np.array(unpacked_colour(value), float)
    ends = [np.array(unpacked_colour(other), float) for other, others in counts.items() if others > pixels]
    for index, start in enumerate(ends):
        for end in ends[:index]:
            way = end - start
            along = float((colour - start) @ way / (way @ way))
            if 0 < along < 1 and np.linalg.norm(start + along * way - colour) <= _BLEND_DISTANCE:
                return True
    return False


def _listed(values: list[int]) -> str:
    shown = ", ".join(f"#{value:06x}" for value in values[:8])
    return shown + (f" and {len(values) - 8} more" if len(values) > 8 else "")


def table_explains(totals: Totals, question: Question) -> bool:
    """Whether the class table has colours and the masks, though not in colour, have only those."""
    table = question.table
    if table is None or table.colours is None:
        return False
    known = {packed_colour(colour) for colour in table.colours} | set(
        [packed_colour(table.ignored)] if table.ignored is not None else []
    )
    return set(totals.visible(totals.by_colour)[0]) <= known and totals.kinds["wide"] == 0
