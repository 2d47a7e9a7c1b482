"""Strangers' text made harmless: names of files, classes and groups may hold anything.

A terminal acts on escape sequences, a spreadsheet on a cell that begins like a formula, and marks of the writing's
direction make a name look like another. Pages escape for HTML besides.
"""

import difflib
from collections.abc import Iterable, Sequence

MOST_NAMES = 12
"""Names that a message lists before it only counts."""
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def printable(text: str) -> str:
    """Text on one line: line breaks, control characters and marks that turn the writing become escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def printable_lines(text: str) -> str:
    """The same for a message of several lines, whose line breaks stay."""
    return "\n".join(printable(line) for line in text.split("\n"))


def spreadsheet_cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe before it says that it is text."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def from_spreadsheet_cell(cell: str) -> str:
    """What `spreadsheet_cell` made the cell of."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA_STARTS) else cell


def listed(names: Iterable[object], most: int = MOST_NAMES) -> str:
    """Names on one line: `a, b, c`, or of many the first ones `… and 187 others`."""
    texts = [str(name) for name in names]
    if len(texts) <= most + 1:
        return ", ".join(texts)
    return f"{', '.join(texts[:most])} and {len(texts) - most} others"


def nearest(wanted: str, known: Sequence[str]) -> str:
    """Known names for someone who named another: all of them, or of many those most like it first."""
    alike = difflib.get_close_matches(wanted, known, n=5) if len(known) > MOST_NAMES + 1 else []
    return listed([*alike, *(name for name in known if name not in alike)])
