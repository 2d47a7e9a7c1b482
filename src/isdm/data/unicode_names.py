"""Names in two Unicode forms: a Mac may store "ü" as two characters where an annotation file writes it as one.

Both look the same, so a message about the one that is missing would help nobody. The exact name comes first.
"""

import os
import unicodedata
from collections.abc import Callable, Collection
from functools import cache, lru_cache
from pathlib import Path

_FOLDERS_REMEMBERED = 32
"""An annotation file names its images one by one, and they may be in any of several folders."""


def composed(name: str) -> str:
    """The name in the form that all of its forms share (NFC)."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def spellings(names: Collection[str]) -> Callable[[str], str]:
    """A function that gives a name as it is spelt among `names`, or as it is where it is not there in any form."""

    @cache
    def by_form() -> dict[str, str]:
        return {composed(name): name for name in names if not name.isascii()}

    def spelled(name: str) -> str:
        return name if name.isascii() or name in names else by_form().get(composed(name), name)

    return spelled


def stored(path: Path) -> Path:
    """The path as the disk spells it, or as it is where it is not there in any form."""
    if str(path).isascii() or os.path.lexists(path):
        return path
    folder = stored(path.parent)
    try:
        changed = folder.stat().st_mtime_ns
        return folder / _by_form(folder, changed).get(composed(path.name), path.name)
    except (OSError, ValueError):  # no such folder
        return path


@lru_cache(_FOLDERS_REMEMBERED)
def _by_form(folder: Path, changed: int) -> dict[str, str]:
    """The names in a folder, but plain ones, by the form that they share; `changed` is when it last did."""
    names = (entry.name for entry in folder.iterdir())
    return {composed(name): name for name in names if not name.isascii()}
