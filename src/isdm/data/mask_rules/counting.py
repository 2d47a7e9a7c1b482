"""What masks hold, in numbers: pixels of each value in one mask, and their sums over all masks of a source."""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isdm.data.dataset import IGNORE_INDEX
from isdm.data.image_files import value_counts
from isdm.data.mask_rules.class_table import ClassTable, packed_colour
from isdm.data.mask_rules.decoding import LARGEST_VALUE, Kind, RawMask

Counts = NDArray[np.int64]
MOST_TOLD_APART = 2**17
"""Colours that are counted one by one over all masks."""
SNAP_ALWAYS = 24.0
"""Colours this near to one of the table are that one, changed by a lossy compression, even where they fill areas."""

_SOLID_SHARE = 0.5
_SOLID_PIXELS = 16


class OddColours(NamedTuple):
    """Pixels of one mask in colours that the class table lacks."""

    pixels: int
    num_colours: int
    most: int
    """The colour with most of these pixels."""
    solid: int | None
    """The colour, if any, that fills areas instead of blending two others along a border."""
    solid_pixels: int
    distance: float
    """How far a colour is, at most, from the nearest of the table, in steps of 256."""


class Tally(NamedTuple):
    """What one mask holds."""

    kind: Kind
    is_coloured: bool
    """`values` are packed colours, 0xRRGGBB, instead of numbers."""
    values: NDArray[np.uint32]
    """Ascending."""
    counts: Counts
    """(3, len(values)): pixels; those within 2x2 blocks of one value; those that are fully transparent."""
    alpha: Counts | None
    """(256,) pixels of each transparency, where the file has some."""
    palette: NDArray[np.uint32] | None = None
    """Packed colours of `values`, where the file has a palette."""
    odd: OddColours | None = None
    num_planes: int = 0


def counted(values: NDArray[Any]) -> tuple[NDArray[np.uint32], Counts]:
    """The different values of an array of whole numbers, ascending, and how many pixels have each."""
    flat = values.ravel()
    if flat.size == 0:
        return np.zeros(0, np.uint32), np.zeros(0, np.int64)
    if flat.dtype == np.uint8:
        histogram = value_counts(flat[None])
        found = np.flatnonzero(histogram)
        return found.astype(np.uint32), histogram[found]
    run_values, lengths = runs(flat)
    found, place = np.unique(run_values, return_inverse=True)
    return found.astype(np.uint32), np.bincount(place, weights=lengths).astype(np.int64)


def runs(flat: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Values of an array (N,) with N > 0, each once in a row, and how often it is repeated there."""
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    return flat[starts], np.diff(starts, append=flat.size)


def packed(colours: NDArray[Any]) -> NDArray[np.uint32]:
    """Colours (H, W, 3) as numbers (H, W): 0xRRGGBB."""
    value = colours[:, :, 0].astype(np.uint32)
    for channel in (1, 2):
        value <<= 8
        value |= colours[:, :, channel]
    return value


def tally(raw: RawMask, table: ClassTable | None = None) -> Tally:
    """Count a mask; where the class table has colours, also what is in others."""
    is_coloured = raw.values.ndim == 3
    values = packed(raw.values) if is_coloured else raw.values
    found, pixels = counted(values)
    counts = np.zeros((3, len(found)), np.int64)
    counts[:2] = pixels
    if len(found) > 2:  # two values are no blends
        same = (values[1:, 1:] == values[:-1, :-1]) & (values[1:, :-1] == values[:-1, :-1])
        same &= values[:-1, 1:] == values[:-1, :-1]
        counts[1] = _aligned(found, *counted(values[:-1, :-1][same]))
    alpha = None
    if raw.alpha is not None:
        alpha = np.zeros(256, np.int64)
        levels, at_level = counted(raw.alpha)
        alpha[levels] = at_level
        if alpha[0]:
            counts[2] = _aligned(found, *counted(values[raw.alpha == 0]))
    palette = None
    if raw.palette is not None and not is_coloured:
        palette = packed(raw.palette[None])[0][found]
    counts_only = Tally(raw.kind, is_coloured, found, counts, alpha, palette)
    return counts_only._replace(odd=_odd(counts_only, table)) if table and table.colours else counts_only


def colours_of(one: Tally) -> NDArray[np.uint32]:
    """The packed colours that a mask's values are or have."""
    if one.palette is not None:
        return one.palette
    return one.values if one.is_coloured else np.minimum(one.values, 255) * np.uint32(0x010101)


def nearest(colours: NDArray[np.uint32], table: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each packed colour the place (N,) of the nearest in a table, the first of several, and how far it is."""
    place = np.zeros(len(colours), np.int64)
    least = np.full(len(colours), np.iinfo(np.int64).max)
    channels = [(colours >> shift & 255).astype(np.int64) for shift in (16, 8, 0)]
    for index, entry in enumerate(table.tolist()):
        squares = sum((channel - (entry >> s & 255)) ** 2 for channel, s in zip(channels, (16, 8, 0), strict=True))
        closer = squares < least
        place[closer], least[closer] = index, np.asarray(squares)[closer]
    return place, np.sqrt(least)


def table_colours(table: ClassTable) -> NDArray[np.uint32]:
    """Packed colours of a table in the order of its ids, the ignored one last."""
    every = [*(table.colours or ()), *([table.ignored] if table.ignored else [])]
    return np.array([packed_colour(colour) for colour in every], np.uint32)


def _aligned(values: NDArray[np.uint32], found: NDArray[np.uint32], counts: Counts) -> Counts:
    """Counts of `found`, which are among the ascending `values`, for all of these."""
    aligned = np.zeros(len(values), np.int64)
    aligned[np.searchsorted(values, found)] = counts
    return aligned


def _odd(one: Tally, table: ClassTable) -> OddColours | None:
    """What is left beside the table's colours; fully transparent pixels may have any."""
    known, colours = table_colours(table), colours_of(one)
    pixels = one.counts[0] - one.counts[2]
    odd = ~np.isin(colours, known) & (pixels > 0)
    if not odd.any():
        return None
    colours, pixels, together = colours[odd], pixels[odd], one.counts[1][odd]
    solid = (together >= _SOLID_SHARE * pixels) & (pixels >= _SOLID_PIXELS)
    _, distances = nearest(colours, known)
    solid &= distances > SNAP_ALWAYS
    largest = int(np.argmax(pixels * solid))
    return OddColours(
        int(pixels.sum()),
        len(colours),
        int(colours[np.argmax(pixels)]),
        int(colours[largest]) if solid.any() else None,
        int(pixels[largest]) if solid.any() else 0,
        float(distances.max()),
    )


class Totals:
    """Sums over the masks of a source; they do not grow with the number of masks, but for what is odd."""

    def __init__(self) -> None:
        self.num_pixels = 0
        self.kinds: Counter[Kind] = Counter()
        self.first_of: dict[Kind, Path] = {}
        self.by_value: dict[int, Counts] = {}
        """Pixels, pixels in 2x2 blocks and transparent pixels (3,) of each grey value, index or id."""
        self.by_colour: dict[int, Counts] = {}
        """The same of each packed colour that a mask or its palette has."""
        self.too_many_colours = False
        self.alpha = np.zeros(256, np.int64)
        self.alpha_alone = True
        """What is not transparent has one colour in all masks, so that the transparency alone is the mask."""
        self.transparency_means_something = False
        """Some mask that is no palette has fully transparent pixels beside others."""
        self.palette_clash: tuple[int, Path, Path] | None = None
        """An index that has one colour in the first file and another in the second."""
        self.odd_colours: dict[Path, OddColours] = {}
        self.odd_values: dict[Path, tuple[int, int]] = {}
        """Masks with values from 256 to 65534: how many pixels, and the largest of these values."""
        self.unset: dict[Path, int] = {}
        """Masks of planes with pixels that are in no plane, and how many."""
        self.num_planes: dict[Path, int] = {}
        self._visible_colour: int | None = None
        self._palette: dict[int, tuple[int, Path]] = {}
        self._numbered: set[int] | None = set()

    def add(self, path: Path, one: Tally) -> None:
        """Add what the mask at `path` holds."""
        self.num_pixels += int(one.counts[0].sum())
        self.kinds[one.kind] += 1
        self.first_of.setdefault(one.kind, path)
        if one.odd is not None:
            self.odd_colours[path] = one.odd
        if one.num_planes:
            self.num_planes[path] = one.num_planes
            if one.values[0] == 0:
                self.unset[path] = int(one.counts[0, 0])
        self._add_transparency(one)
        self._add_colours(one)
        if not one.is_coloured:
            _add(self.by_value, one.values, one.counts)
            self._add_numbers(path, one)
        if one.palette is not None:
            self._add_palette(path, one.values, one.palette)

    @property
    def looks_numbered(self) -> bool:
        """Whether every mask uses the ids 1, 2, 3, … without a gap, some more than others: objects."""
        return self._numbered is not None and len(self._numbered) > 1 and max(self._numbered) > 8

    @property
    def black_index(self) -> int:
        """The palette index that is black where the index 0 is not, or else 0."""
        if self._palette.get(0, (1,))[0] == 0:
            return 0
        return next((index for index, (colour, _) in sorted(self._palette.items()) if colour == 0), 0)

    @property
    def palette_is_grey(self) -> bool:
        """Whether every palette index, if there are any, is the shade of grey of its own number."""
        return all(colour == index * 0x010101 for index, (colour, _) in self._palette.items())

    def visible(self, sums: dict[int, Counts]) -> tuple[dict[int, int], int]:
        """Pixels of each value, and how many were something else before they became 0 by being transparent."""
        if not self.transparency_means_something:
            return {value: int(counts[0]) for value, counts in sums.items()}, 0
        shown = {value: int(counts[0] - counts[2]) for value, counts in sums.items()}
        shown[0] = shown.get(0, 0) + sum(int(counts[2]) for counts in sums.values())
        hidden = sum(int(counts[2]) for value, counts in sums.items() if value)
        return {value: pixels for value, pixels in shown.items() if pixels}, hidden

    def _add_transparency(self, one: Tally) -> None:
        if one.alpha is None:
            self.alpha_alone = False
            return
        self.alpha += one.alpha
        visible = colours_of(one)[one.counts[0] > one.counts[2]]
        if len(visible):
            self._visible_colour = int(visible[0]) if self._visible_colour is None else self._visible_colour
        self.alpha_alone &= one.palette is None and bool((visible == self._visible_colour).all())
        if one.palette is None and 0 < one.alpha[0] < one.alpha.sum():
            self.transparency_means_something = True

    def _add_colours(self, one: Tally) -> None:
        colours = colours_of(one)
        if len(self.by_colour) + len(colours) > MOST_TOLD_APART:
            known = np.isin(colours, np.array(list(self.by_colour), np.uint32))
            self.too_many_colours |= not known.all()
            _add(self.by_colour, colours[known], one.counts[:, known])
        else:
            _add(self.by_colour, colours, one.counts)

    def _add_numbers(self, path: Path, one: Tally) -> None:
        odd = (one.values > IGNORE_INDEX) & (one.values < LARGEST_VALUE)
        if odd.any():
            self.odd_values[path] = int(one.counts[0][odd].sum()), int(one.values[odd].max())
        ids = one.values[(one.values > 0) & (one.values < IGNORE_INDEX)]
        if len(ids) and self._numbered is not None:
            self._numbered = self._numbered | {len(ids)} if ids[-1] == len(ids) else None

    def _add_palette(self, path: Path, indices: NDArray[np.uint32], colours: NDArray[np.uint32]) -> None:
        for index, colour in zip(indices.tolist(), colours.tolist(), strict=True):
            first, where = self._palette.setdefault(index, (colour, path))
            if first != colour and self.palette_clash is None:
                self.palette_clash = index, where, path


def _add(sums: dict[int, Counts], values: NDArray[np.uint32], counts: Counts) -> None:
    for value, column in zip(values.tolist(), counts.T, strict=True):
        if value in sums:
            sums[value] += column
        else:
            sums[value] = column.copy()
