"""The class table of plain folders, `classes.txt`: a name a line, and perhaps the colour that masks give the class.

    background            background #000000          background 0 0 0
    scratch               scratch    #e69f00          scratch    230 159 0
                                                      ignored    255 255 255

The first line is class 0. Pixels of the colour called `ignored` belong to no class.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from isdm.data.dataset import MAX_CLASSES
from isdm.errors import DataError

Colour = tuple[int, int, int]
IGNORED = "ignored"

_HEXADECIMAL = re.compile(r"^(?P<name>.*[^\s,;:])[\s,;:]+#(?P<code>[0-9a-fA-F]{6})$")
_DECIMAL = re.compile(r"^(?P<name>.*[^\s,;:])[\s,;:]+(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})$")


@dataclass(frozen=True)
class ClassTable:
    """Classes that a source declares; the position is the id."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...] | None = None
    """One for each name, where the table has them."""
    ignored: Colour | None = None


def packed_colour(colour: Colour) -> int:
    """A colour as one number: 0xRRGGBB."""
    red, green, blue = colour
    return red << 16 | green << 8 | blue


def unpacked_colour(value: int) -> Colour:
    """The colour that `packed_colour` made the number of."""
    return value >> 16, value >> 8 & 255, value & 255


def read_class_table(path: Path) -> ClassTable | None:
    """Read `classes.txt`; None where there is none.

    Raises:
        DataError: it is no text, names less than two classes or one twice, or colours are missing or wrong.
    """
    if not path.is_file():
        return None
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error}); save it as UTF-8.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); give yourself the right to.") from None
    parts = [_parted(line, path) for line in lines]
    colours = dict(parts) if all(colour is not None for _, colour in parts) else {}
    ignored = colours.get(IGNORED)
    names = tuple(name for name, _ in parts if ignored is None or name != IGNORED)
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(f"{path} must name at least two different classes, one a line, background first.")
    if len(names) > MAX_CLASSES:
        raise DataError(f"{path} names {len(names)} classes; there can be {MAX_CLASSES}: merge some.")
    if not colours:
        without = next((name for name, colour in parts if colour is None), None)
        if any(colour is not None for _, colour in parts):
            raise DataError(f"{path} gives some classes a colour but {without!r} none; give all one, or none.")
        return ClassTable(names)
    of_names = tuple(colour for name, colour in parts if name in names and colour is not None)
    every = [*of_names, *([ignored] if ignored else [])]
    if len(set(every)) < len(every):
        twice = next(colour for colour in every if every.count(colour) > 1)
        raise DataError(f"{path} gives two classes the colour #{packed_colour(twice):06x}; give each its own.")
    return ClassTable(names, of_names, ignored)


def _parted(line: str, path: Path) -> tuple[str, Colour | None]:
    match = _HEXADECIMAL.match(line)
    if match is not None:
        return match["name"], unpacked_colour(int(match["code"], 16))
    match = _DECIMAL.match(line)
    if match is None:
        return line, None
    red, green, blue = (int(value) for value in match.groups()[1:])
    if max(red, green, blue) > 255:
        raise DataError(f"{path}: the colour in {line!r} goes beyond 255; colours are three numbers from 0 to 255.")
    return match["name"], (red, green, blue)
