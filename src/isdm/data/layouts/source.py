"""What a layout finds in a source tree."""

import colorsys
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isdm.data.dataset import Split
from isdm.data.image_files import MaskArray
from isdm.data.unicode_names import stored
from isdm.errors import DataError
from isdm.on_disk import LazySequence

GOLDEN_SECTION = 0.61803398875
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""What folders, lists and files of splits are called."""

# Okabe and Ito's colours, which colour-blind readers can tell apart; black is the background.
_COLOURS = (
    (0, 0, 0),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)


@dataclass(frozen=True, slots=True)
class SourcePair:
    """One image and where its mask comes from; make it with `SourcePair.of`.

    A source may have hundreds of thousands: files are kept as text, which `pairs_on_disk` writes to a file, and
    `read` is one function for all pairs wherever the pair's files say the rest.
    """

    image_file: str
    mask_file: str
    stem: str
    read: "Callable[[SourcePair], MaskArray]"
    """Gives the mask of a pair as class ids (H, W) uint8."""
    group: str | None = None
    """What a split must not part, where the layout knows it."""
    split: Split | None = None
    """The split that the source itself gives, if any."""
    instance_file: str | None = None
    train_only: bool = False
    """A picture without a defect and without a mask file; `mask` is the picture itself."""
    further_files: tuple[str, ...] = ()
    class_ids: frozenset[int] | None = None
    """Classes that the mask shows (background and ignored left out), where the layout knows without decoding it."""
    details: Any = None
    """A value of JSON that `read` needs beside the files; tuples come back from `pairs_on_disk` as lists."""

    @staticmethod
    def of(
        image: Path,
        mask: Path,
        stem: str,
        read: "Callable[[SourcePair], MaskArray]",
        *,
        group: str | None = None,
        split: Split | None = None,
        instances: Path | None = None,
        train_only: bool = False,
        more_files: Iterable[Path] = (),
        class_ids: frozenset[int] | None = None,
        details: Any = None,
    ) -> "SourcePair":
        """A pair of an image and the file that holds its mask: its own, or one that holds many, such as a JSON file.

        Args:
            image: the image.
            mask: see above.
            stem: name of the pair to be.
            read: see the fields; `of_file` and `of_memory` make such functions.
            group: see the fields.
            split: see the fields.
            instances: the instance map's file, where the source has them.
            train_only: see the fields.
            more_files: further files that the mask is read from.
            class_ids: see the fields.
            details: see the fields.
        """
        instance_file = None if instances is None else str(instances)
        further = tuple(map(str, more_files))
        return SourcePair(
            str(image), str(mask), stem, read, group, split, instance_file, train_only, further, class_ids, details
        )

    @property
    def image(self) -> Path:
        """The image."""
        return Path(self.image_file)

    @property
    def mask(self) -> Path:
        """The file that holds the mask."""
        return Path(self.mask_file)

    @property
    def instances(self) -> Path | None:
        """The instance map's file, where the source has them."""
        return None if self.instance_file is None else Path(self.instance_file)

    @property
    def more_files(self) -> tuple[Path, ...]:
        """Further files that the mask is read from."""
        return tuple(map(Path, self.further_files))

    def load_mask(self) -> MaskArray:
        """Decode the mask as class ids (H, W) uint8."""
        return self.read(self)


def of_file(load: Callable[[Path], MaskArray]) -> Callable[[SourcePair], MaskArray]:
    """A pair's `read` where its mask's file says all."""
    return lambda pair: load(pair.mask)


def of_memory(load: Callable[[], MaskArray]) -> Callable[[SourcePair], MaskArray]:
    """A pair's `read` where the layout has read the annotation before."""
    return lambda _: load()


@dataclass(frozen=True)
class Source:
    """A source tree: class names (id is the position, 0 the background), pairs, and the rules used.

    Only the pairs may grow with the source, and `pairs_on_disk` keeps them out of memory: masks are decoded one at a
    time by their pair's `load_mask`, which several threads may call at once.
    """

    class_names: tuple[str, ...]
    pairs: Sequence[SourcePair]
    colours: tuple[tuple[int, int, int], ...] | None = None
    notes: list[str] = field(default_factory=list)
    """Sentences that say how masks were read; shown to the user and kept in dataset.json."""
    used_bits: int | None = None
    """Bits that the values of 16-bit images use, where the layout knows it."""
    problems: list[str] = field(default_factory=list)
    """What is wrong with the tree, one line each: file, value, rule, remedy. Whatever they name is not in `pairs`.

    Any makes the import fail after all problems are listed, unless the user wants to skip them.
    """
    has_background: bool = True
    """Whether class 0 means "nothing of interest"; if not (road, sky, …), it is a class like the others."""


def class_colours(count: int) -> tuple[tuple[int, int, int], ...]:
    """Colours for `count` classes: distinct to everybody first, then as far apart in hue as their number allows."""
    more = (_far_hue(index) for index in range(count - len(_COLOURS)))
    return (*_COLOURS[:count], *more)


def _far_hue(index: int) -> tuple[int, int, int]:
    """Bright and full colours whose hues advance by the golden section: neighbours differ, and none comes twice."""
    value, saturation = ((0.95, 0.75), (0.7, 0.9), (0.9, 0.45))[index % 3]
    red, green, blue = colorsys.hsv_to_rgb(index * GOLDEN_SECTION % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def inside(folder: Path, name: str, told_by: Path) -> Path:
    """The file that `told_by` (an annotation file) calls `name`, as a path below `folder`; it need not exist.

    Where it is there in another Unicode form, that is given.

    Raises:
        DataError: `name` is empty, no name at all, or leads out of `folder`, by itself or by a link.
    """
    try:
        path = folder / os.path.normpath(name.replace("\\", "/"))
        below = path.resolve().relative_to(folder.resolve()) if name.strip() else None
        if below is not None and (found := stored(path)) != path:  # looked for only where it cannot lead out
            path, below = found, found.resolve().relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # outside; too long; no text; links in a circle
        below = None
    if below is None:
        raise DataError(
            f"{told_by} names the file {name[:80]!r}, which lies outside {folder} or cannot be a file; put it there "
            f"and name it so."
        )
    return folder / below if Path(name).is_absolute() else path


def image_files(folder: Path) -> Sequence[Path]:
    """Image files below `folder`, sorted by path; hidden files are left out.

    A path is made when it is asked for: as text, hundreds of thousands take less memory. A link to nothing is among
    them, so that it is missed by name when it is opened.

    Raises:
        DataError: a folder among them cannot be listed.
    """

    def unreadable(error: OSError) -> None:
        raise DataError(f"{error.filename} cannot be listed ({error.strerror}); give yourself the right.") from None

    files = [
        path
        for root, folder_names, file_names in os.walk(folder, onerror=unreadable if folder.is_dir() else None)
        for path in _images_among(root, folder_names, file_names)
    ]
    files.sort(key=lambda path: path.replace(os.sep, "\0"))  # folder by folder
    return LazySequence(len(files), lambda index: Path(files[index]))


def _images_among(root: str, folder_names: list[str], file_names: list[str]) -> list[str]:
    """Paths of the images in a folder; hidden folders are taken out of `folder_names`."""
    folder_names[:] = [name for name in folder_names if not name.startswith(".")]
    names = [name for name in file_names if not name.startswith(".") and suffix_of(name) in IMAGE_SUFFIXES]
    return [path for name in names if _is_there(Path(path := f"{root}/{name}"))]


def _is_there(path: Path) -> bool:
    """A file, or a link to nothing."""
    return path.is_file() or (path.is_symlink() and not path.exists())


def suffix_of(name: str) -> str:
    """Extension of a file's name in small letters, with its dot, as `Path.suffix` has it."""
    start, dot, extension = name.rpartition(".")
    return f".{extension.lower()}" if start and dot and extension else ""
