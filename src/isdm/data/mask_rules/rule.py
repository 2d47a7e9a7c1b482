"""The rule itself: classes, a sentence that says what was done, and how a mask file becomes class ids."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isdm.data.dataset import IGNORE_INDEX
from isdm.data.image_files import MaskArray, value_counts
from isdm.data.mask_rules.class_table import ClassTable, Colour
from isdm.data.mask_rules.counting import Totals
from isdm.data.mask_rules.decoding import RawMask
from isdm.errors import DataError

FOREGROUND = ("background", "foreground")

View = Callable[[Path], RawMask]
"""Decodes a mask file, and takes from it what a reading looks at."""


@dataclass(frozen=True)
class MaskRule:
    """How mask files of one source become class ids. Threads may share it."""

    class_names: tuple[str, ...]
    colours: tuple[Colour, ...]
    note: str
    """What was decided, and how many pixels it concerns."""
    read: Callable[[Path], MaskArray]
    values_are_objects: bool = False
    """The mask files are instance maps at the same time."""

    def load(self, path: Path) -> MaskArray:
        """Decode the mask at `path` into class ids (H, W) uint8.

        Raises:
            DataError: the file cannot be read, or does not follow the rule.
        """
        return self.read(path)


@dataclass(frozen=True)
class Question:
    """What a rule is to be found for."""

    folder: Path
    """Where the masks are, for messages."""
    table: ClassTable | None
    """Classes that the source declares."""
    threshold: int
    view: View
    is_explicit: bool
    """Somebody said how masks are to be read, so that nothing is guessed."""

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names that the source declares."""
        return self.table.names if self.table is not None else None

    def two_names(self, reading: str) -> tuple[str, ...]:
        """The names of a background and one class.

        Raises:
            DataError: the source declares others.
        """
        names = self.names or FOREGROUND
        if len(names) != 2:
            raise DataError(
                f"classes.txt names {len(names)} classes but --masks {reading} makes two, background and foreground; "
                f"name two, or read the masks otherwise."
            )
        return names


@dataclass
class Answer:
    """A rule, and what is wrong with the masks that do not follow it."""

    rule: MaskRule
    problems: dict[Path, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ByValue:
    """Reads a mask through a table of its values."""

    view: View
    ids: NDArray[np.uint8]
    """(65536,) class ids."""
    known: NDArray[np.bool_]
    """(65536,) values that have one."""
    transparent_is_background: bool = False

    def __call__(self, path: Path) -> MaskArray:
        """Class ids (H, W) of the mask at `path`."""
        raw = self.view(path)
        values = raw.values
        if values.ndim == 3:
            raise DataError(f"{path} is in colour but the other masks are grey; save it like the others.")
        if not self._knows_all(values):
            odd = values[~self.known[values]]
            raise DataError(
                f"{path} holds the value {odd.max()} in {odd.size:,} pixels, which is no class id; mend it."
            )
        ids = _looked_up(self.ids, values)
        if self.transparent_is_background and raw.alpha is not None and raw.kind != "palette":
            return np.where(raw.alpha == 0, self.ids[0], ids)
        return ids

    def _knows_all(self, values: NDArray[Any]) -> bool:
        if values.dtype != np.uint8:
            return bool(self.known[values].all())
        return not value_counts(values)[~self.known[:256]].any()


def _looked_up(table: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """What a table (65536,) of bytes has for each value; for those of 8 bits in half of NumPy's time."""
    if values.dtype != np.uint8:
        return np.asarray(table[values])
    if np.array_equal(table[:256], np.arange(256)):
        return values
    found = values.tobytes().translate(table[:256].tobytes())
    return np.frombuffer(found, table.dtype).reshape(values.shape)


def by_value(question: Question, totals: Totals, ids: dict[int, int]) -> ByValue:
    """A reader that gives each value its id; what has none is refused."""
    of_value, known = np.full(2**16, IGNORE_INDEX, np.uint8), np.zeros(2**16, np.bool_)
    if totals.transparency_means_something:
        known[list(totals.by_value)] = True  # what is transparent may have any value
    for value, class_id in ids.items():
        of_value[value], known[value] = class_id, True
    return ByValue(question.view, of_value, known, totals.transparency_means_something)


def share(pixels: int, totals: Totals) -> str:
    """Pixels of all pixels, as people write it."""
    return f"{pixels:,} of {totals.num_pixels:,} pixels, {pixels / max(totals.num_pixels, 1):.2%}"


def transparency_note(totals: Totals, hidden: int) -> str:
    """What is said of fully transparent pixels, where they are background and have been something else."""
    if not (totals.transparency_means_something and hidden):
        return ""
    return f"; {hidden:,} fully transparent pixels are background, whatever their colour"
