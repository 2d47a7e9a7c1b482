"""Looking around in a stranger's folder: what is there, without ever failing on what is odd there."""

from collections.abc import Sequence
from pathlib import Path

from isdm.data.layouts.source import inside
from isdm.errors import DataError


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; no where one may not look."""
    try:
        return path.is_dir()
    except OSError:
        return False


def subfolders(folder: Path) -> list[Path]:
    """Folders in a folder, sorted; hidden ones are left out, and none are in what is no folder."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith(".") and is_folder(entry))
    except OSError:
        return []


def text_lines(path: Path) -> list[str]:
    """Lines of a text file in UTF-8, stripped, with the empty ones.

    Raises:
        DataError: the file cannot be read, or is no UTF-8.
    """
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error}); save it as UTF-8.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); make it readable.") from None
    return [line.strip() for line in text.split("\n")]


def check_inside(folder: Path, name: str, told_by: Path) -> None:
    """Refuse a name that leads out of `folder` (see `inside`), or that cannot be a file's.

    Raises:
        DataError: it is refused.
    """
    try:
        inside(folder, name, told_by)
    except (OSError, ValueError, RuntimeError) as error:  # such as a link that leads to itself
        raise DataError(f"{told_by} names the file {name[:80]!r}, which cannot be one ({error}).") from None


def all_different(texts: Sequence[str]) -> list[str]:
    """The texts, a number added to each that was there before: a, a_2, a_3, …"""
    given, taken, result = set(texts), set[str](), []
    for text in texts:
        chosen, number = text, 1
        while chosen in taken or (number > 1 and chosen in given):
            number += 1
            chosen = f"{text}_{number}"
        taken.add(chosen)
        result.append(chosen)
    return result
