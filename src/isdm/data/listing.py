"""Which files of a folder are images, and what keeps others from being seen."""

import os
import stat
from collections.abc import Collection
from pathlib import Path

from isdm.data.layouts.source import IMAGE_SUFFIXES, suffix_of


def listed_files(
    folder: Path, within: Path, suffixes: Collection[str] = IMAGE_SUFFIXES
) -> tuple[list[str], list[str]]:
    """List the files below a folder with one of some extensions, folder by folder; hidden ones are left out.

    Links to files are followed, links to folders are not: they may lead in circles.

    Args:
        folder: where to look; nothing is found where it does not exist.
        within: the source; links must not lead out of it.
        suffixes: extensions in small letters, with their dot.

    Returns:
        The files' paths below the folder with "/" between their parts, as text, since there may be hundreds of
        thousands; and a line for each folder, link or other thing among them that cannot be used.
    """
    files: list[str] = []
    problems: list[str] = []
    if not os.path.lexists(folder):
        return files, problems
    limit = os.path.realpath(within)

    def unreadable(error: OSError) -> None:
        problems.append(f"{error.filename} cannot be listed ({error.strerror}); give yourself the right")

    for root, folder_names, file_names in os.walk(folder, onerror=unreadable):
        place = Path(root).relative_to(folder).as_posix()
        start = "" if place == "." else f"{place}/"
        folder_names[:] = [name for name in folder_names if not name.startswith(".")]
        for name in folder_names:
            path = Path(root, name)
            if path.is_symlink():
                problems.append(f"{path} is a link to a folder, which is not followed; put the folder itself there")
        for name in file_names:
            if name.startswith(".") or suffix_of(name) not in suffixes:
                continue
            problem = _refusal(Path(f"{root}/{name}"), limit)
            if problem is None:
                files.append(start + name)
            else:
                problems.append(problem)
    files.sort(key=lambda file: file.replace("/", "\0"))
    return files, problems


def link_out_of(path: Path, within: Path) -> str | None:
    """A line for a link that leads out of the folder `within`; None for anything else."""
    if not path.is_symlink():
        return None
    return led_out(path, os.path.realpath(within))


def _refusal(path: Path, limit: str) -> str | None:
    """What is wrong with something that has an image's name; one call of the system where it is a file."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            return None
        if stat.S_ISLNK(mode):
            out = led_out(path, limit)
            if out is not None:
                return out
            mode = path.stat().st_mode
    except FileNotFoundError:
        return f"{path} is a link to {path.readlink()}, which is missing; restore it, or remove the link"
    except OSError as error:  # a link to itself, or no right to follow it
        return f"{path} cannot be followed ({error.strerror}); put the file itself there, or remove it"
    return None if stat.S_ISREG(mode) else f"{path} is no file; remove it, or give it another extension"


def led_out(path: Path, limit: str) -> str | None:
    """A line for a path that links take out of the real folder `limit`; None for one that stays."""
    target = os.path.realpath(path)
    if target == limit or target.startswith(limit.rstrip(os.sep) + os.sep):
        return None
    return f"{path} is a link to {target}, which lies outside {limit}; put the file itself there"
