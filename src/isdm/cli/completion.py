"""What the shell offers after Tab: folders that a command takes, and names that an option knows."""

from collections.abc import Callable, Iterator
from pathlib import Path

MOST_LOOKED_AT = 2000
"""Folders that are looked at before the shell gets its answer."""


def one_of(*names: str) -> Callable[[str], list[str]]:
    """Complete one of some names."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete


def datasets(incomplete: str) -> list[str]:
    """Complete dataset folders, and the folders on the way to them."""
    return _folders(incomplete, "dataset.json")


def models(incomplete: str) -> list[str]:
    """Complete model folders, and the folders on the way to them."""
    return _folders(incomplete, "isdm.json")


def _folders(incomplete: str, mark: str) -> list[str]:
    head, _, start = incomplete.rpartition("/")
    parent = Path(head or ("/" if incomplete.startswith("/") else "."))
    prefix = incomplete[: len(incomplete) - len(start)]
    found = []
    for folder in _visible(parent):
        if folder.name.startswith(start):
            is_it = (folder / mark).is_file()
            if is_it or any(True for _ in _visible(folder)):
                found.append(prefix + folder.name + ("" if is_it else "/"))
    return found


def _visible(parent: Path) -> Iterator[Path]:
    try:
        entries = sorted(parent.iterdir())[:MOST_LOOKED_AT]
    except OSError:  # no folder, or no right to look into it: nothing to offer
        return
    yield from (entry for entry in entries if entry.is_dir() and not entry.name.startswith("."))
