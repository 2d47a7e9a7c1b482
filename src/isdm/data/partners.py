"""Masks and instance maps by the names of the images that they belong to."""

from collections.abc import Collection
from functools import cache
from pathlib import Path

from isdm.data.listing import listed_files
from isdm.data.unicode_names import spellings

MASK_ENDINGS = ("", "_mask", "-mask", "_label", "_gt", "_seg", "_segmentation")


class Partners:
    """The files below a folder, to be taken one by one by the images that they belong to.

    A file belongs to the image whose path (below the images' own folder, without extension) it has, perhaps with one
    of `MASK_ENDINGS`, in whatever Unicode form. Of each file only its name is in memory: there may be hundreds of
    thousands.

    Args:
        folder: where to look; without it there are none.
        within: the source; links must not lead out of it.
        suffixes: extensions in small letters, with their dot.
        asked_again: names of images that will be asked for more than once.
    """

    def __init__(self, folder: Path, within: Path, suffixes: Collection[str], asked_again: Collection[str]) -> None:
        self._folder = folder
        self._suffixes: dict[str, tuple[str, ...]] = {}
        self._spelled = spellings(self._suffixes)
        self._asked_again = asked_again
        self._answers: dict[str, str | None] = {}
        self._in_doubt: set[str] = set()
        files, self.problems = listed_files(folder, within, suffixes)
        files.reverse()
        alone = cache(lambda suffix: (suffix,))  # one for all
        while files:
            name, suffix = split_name(files.pop())
            self._suffixes[name] = (*self._suffixes[name], suffix) if name in self._suffixes else alone(suffix)

    def take(self, image: str) -> str | None:
        """The path of the file that belongs to an image; None where there is none, or two, which is a problem."""
        if image in self._answers:
            return self._answers[image]
        found = self._taken(image)
        if image in self._asked_again:
            self._answers[image] = found
        return found

    def lacks(self, image: str, what: str) -> list[str]:
        """A line on an image for which nothing was found, unless it was told already that two files were."""
        told = image in self._in_doubt
        return [] if told else [f"has no {what}; expected {self._folder / f'{image}.png'}"]

    def left(self) -> list[str]:
        """A line for each file that no image has taken."""
        return [
            f"{self._folder / (name + suffix)} has no image; expected one that is called {name!r}, or remove it"
            for name, suffixes in self._suffixes.items()
            for suffix in suffixes
        ]

    def _taken(self, image: str) -> str | None:
        names = (self._spelled(image + end) for end in MASK_ENDINGS)
        name = next((name for name in names if name in self._suffixes), None)
        if name is None:
            return None
        files = [self._folder / (name + suffix) for suffix in self._suffixes.pop(name)]
        if len(files) == 1:
            return str(files[0])
        self._in_doubt.add(image)
        self.problems.append(f"{' and '.join(map(str, files))} both belong to the image {image!r}; keep one of them")
        return None


def split_name(file: str) -> tuple[str, str]:
    """A file's path without its extension, and that with its dot."""
    name, dot, extension = file.rpartition(".")
    return name, dot + extension
