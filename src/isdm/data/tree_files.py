"""Looking around in a stranger's folder: what is there, without ever failing on what is odd there."""

import codecs
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePath

from isdm.data.dataset import Split
from isdm.data.layouts.source import SPLIT_NAMES, image_files
from isdm.errors import DataError
from isdm.on_disk import repeated

FILES_ASKED_PER_FOLDER = 3


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


def text_of(path: Path) -> str:
    """What a text file in UTF-8 holds.

    Raises:
        DataError: the file cannot be read, or is no UTF-8.
    """
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error}); save it as UTF-8.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); make it readable.") from None


def text_lines(path: Path) -> list[str]:
    """Lines of a text file in UTF-8, stripped, with the empty ones; errors as of `text_of`."""
    return [line.strip() for line in text_of(path).split("\n")]


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


def is_file(path: Path) -> bool:
    """Whether there is such a file, also where the name cannot be one."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def first_files(source: Path, suffixes: Collection[str], depth: int) -> Iterator[Path]:
    """The first few files with one of the suffixes in the source and in its folders down to `depth`."""
    names: list[str] = []
    folders: list[str] = []
    try:
        with os.scandir(source) as scan:  # its entries know without asking again whether they are folders
            for entry in scan:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif PurePath(entry.name).suffix.lower() in suffixes:
                    names.append(entry.name)
    except OSError:
        return
    yield from islice((path for name in sorted(names) if is_file(path := source / name)), FILES_ASKED_PER_FOLDER)
    for name in sorted(folders) if depth else ():
        yield from first_files(source / name, suffixes, depth - 1)


def files_in(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Files in a folder with one of the suffixes (in small letters), sorted; hidden ones are left out."""
    try:
        with os.scandir(folder) as scan:
            names = [entry.name for entry in scan if not entry.name.startswith(".")]
    except OSError:
        return []
    return [folder / name for name in sorted(names) if Path(name).suffix.lower() in suffixes]


def in_either_case(path: Path) -> Path:
    """The path, or the same with its suffix in capital letters where only that is there."""
    capital = path.with_suffix(path.suffix.upper())
    return capital if not is_file(path) and is_file(capital) else path


def head(path: Path, num_bytes: int = 4096) -> bytes:
    """The first bytes of a file, without a byte order mark; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(num_bytes).removeprefix(codecs.BOM_UTF8)
    except OSError:
        return b""


def split_of(parts: Iterable[str]) -> Split | None:
    """The split that the first of the folders' names tells."""
    return next((SPLIT_NAMES[part.lower()] for part in parts if part.lower() in SPLIT_NAMES), None)


def unique_stems(images: Sequence[Path], source: Path) -> list[str]:
    """A different stem for each image: its own, or where that is not enough with its folders, suffix or place."""
    stems = [image.stem for image in images]
    chosen = bytearray(len(stems))
    while taken_twice := repeated(lambda: stems):
        for index, stem in enumerate(stems):
            if stem in taken_twice:
                chosen[index] = min(chosen[index] + 1, 3)
                stems[index] = _longer_stem(images[index], source, index, chosen[index])
    return stems


def _longer_stem(image: Path, source: Path, index: int, level: int) -> str:
    """A stem with the image's folders, from level 2 on with its suffix, at 3 with its place."""
    folders = "_".join(image.relative_to(source).with_suffix("").parts)
    whole = f"{folders}_{image.suffix[1:]}"
    return (folders, whole, f"{whole}_{index}")[level - 1]


def told_before(told: Callable[[], Iterable[tuple[str, str]]]) -> Iterator[str | None]:
    """Where each file was told of before, None for the first time.

    Args:
        told: gives the files and where they are told of, the same each time; it is called several times.
    """
    several = repeated(lambda: (file for file, _ in told()))
    first: dict[str, str] = {}
    for file, where in told():
        yield first.get(file)
        if file in several:
            first.setdefault(file, where)


def left_out_note(source: Path, taken: Iterable[Path | str], why: str) -> list[str]:
    """A note on the source's images that are not among the files `taken`, if any."""
    used = {str(path) for path in taken}
    count = sum(str(path) not in used for path in image_files(source))
    return [f"{count} image(s) {why} and were left out"] if count else []
