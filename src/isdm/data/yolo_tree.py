"""Where a YOLO dataset's images are and what its classes are called, by data.yaml or by the folders' names.

data.yaml names folders or lists of images for train, val and test, relative to its `path`. Both are often of the
machine where it was written, so a path that leads nowhere is looked for by its last parts in the source, and the
source's own folders are taken where none is found. Nothing outside the source is ever taken.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from isdm.data.annotation_values import declared_labels, label_text, shown
from isdm.data.dataset import Split
from isdm.data.layouts.source import IMAGE_SUFFIXES, SPLIT_NAMES, image_files, inside
from isdm.data.tree_files import is_file, text_lines, text_of
from isdm.errors import DataError
from isdm.yaml_text import YamlTextError, parse_yaml

SETTINGS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
CLASSES = "classes.txt"
IMAGES = "images"
SPLIT_KEYS: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}


class Settings(NamedTuple):
    """What data.yaml says, or classes.txt in its place."""

    file: Path
    names: dict[int, str]
    base: str
    entries: dict[Split, list[str]]


class Listed(NamedTuple):
    """The images of each split, whether lists named them, and what there is to say about them."""

    images: dict[Split | None, list[Path]]
    from_lists: bool
    problems: list[str]
    notes: list[str]


class Place(NamedTuple):
    """A folder or file in the source, and whether the path that was given leads elsewhere."""

    path: Path
    stale: bool


def settings_files(source: Path) -> list[Path]:
    """The source's YAML files, the usual names first."""
    try:
        others = sorted(path.name for path in source.iterdir() if path.suffix.lower() in (".yaml", ".yml"))
    except OSError:
        others = []
    return [source / name for name in dict.fromkeys((*SETTINGS, *others)) if is_file(source / name)]


def read_settings(source: Path) -> Settings:
    """Read the first YAML file with `names` in the source, else classes.txt; raises `DataError`."""
    for file in settings_files(source):
        values = _read_yaml(file)
        if isinstance(values, dict) and "names" in values:
            names = _names(file, values)
            entries = {split: _entries(file, key, values.get(key)) for key, split in SPLIT_KEYS.items()}
            base = values.get("path")
            return Settings(file, names, base if isinstance(base, str) else "", entries)
    declared = declared_labels(source, [CLASSES])
    if declared is None:
        raise DataError(f"{source} needs data.yaml with `names`, or {CLASSES}, to know the classes' names.")
    return Settings(declared[0], dict(enumerate(declared[1])), "", {})


def _read_yaml(file: Path) -> Any:
    try:
        return parse_yaml(text_of(file))
    except YamlTextError as error:
        raise DataError(f"{file} cannot be read as YAML: {error}.") from None


def _names(file: Path, values: Mapping[str, Any]) -> dict[int, str]:
    """`names`: a list, or a mapping from the class's number."""
    names = values["names"]
    pairs = list(enumerate(names)) if isinstance(names, list) else None
    if isinstance(names, dict) and all(re.fullmatch(r"[0-9]{1,6}", str(key)) for key in names):
        pairs = [(int(key), name) for key, name in names.items()]
    if not pairs or not all(isinstance(name, str | int | float) for _, name in pairs):
        raise DataError(f"{file}: names is {shown(names)}; it must be a list of the classes' names.")
    count = values.get("nc")
    if count is not None and count != len(pairs):
        raise DataError(f"{file}: nc is {shown(count)} but names has {len(pairs)}; they must agree.")
    try:
        return {index: label_text(str(name).strip()) for index, name in pairs}
    except DataError as error:
        raise DataError(f"{file}: {error}.") from None


def _entries(file: Path, key: str, value: object) -> list[str]:
    entries = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(entry, str) and entry.strip() for entry in entries):
        raise DataError(f"{file}: {key} is {shown(value)}; it must be a folder or a list of them.")
    return [str(entry) for entry in entries]


def find_images(source: Path, settings: Settings) -> Listed:
    """The images of each split as the settings name them, or where they lead nowhere as the folders are named."""
    places = {
        split: [(entry, _place(source, settings.base, entry)) for entry in entries]
        for split, entries in settings.entries.items()
    }
    named = [place for entries in places.values() for _, place in entries]
    if not any(named):
        notes = [f"the paths in {settings.file.name} lead nowhere in the source; its own folders were taken"]
        return Listed(_by_folder(source, settings.file), False, [], notes if named else [])
    problems: list[str] = []
    stale: list[str] = []
    images: dict[Split | None, list[Path]] = {}
    missing = [split for split, entries in places.items() if split != "train" and _is_missing(entries)]
    for split, entries in places.items():
        for entry, place in () if split in missing else entries:
            if place is None:
                problems.append(
                    f"{settings.file}: the path {shown(entry)} ({split}) is not in {source}; put it there"
                )
                continue
            stale += [entry] if place.stale else []
            if place.path.is_dir():
                found = [_checked(source, image, settings.file, problems) for image in image_files(place.path)]
            else:
                found = list(_in_list(place.path, source, settings, problems, stale))
            images.setdefault(split, []).extend(image for image in found if image is not None)
    from_lists = any(place is not None and place.path.is_file() for place in named)
    notes = []
    if stale:
        notes.append(
            f"{len(stale)} path(s) that {settings.file.name} leads to are from elsewhere, such as {shown(stale[0])}; "
            "what has the same name in the source was taken"
        )
    for split in missing:
        told = ", ".join(shown(entry) for entry, _ in places[split])
        notes.append(f"there is no {split} split: {settings.file.name} names {told}, which is not in the source")
    return _without_doubles(Listed(images, from_lists, problems, notes), settings.file)


def _is_missing(entries: Sequence[tuple[str, Place | None]]) -> bool:
    """Whether a split is named that is not there at all: templates name all three, whichever were exported."""
    return bool(entries) and all(place is None for _, place in entries)


def _place(source: Path, base: str, entry: str) -> Place | None:
    """Where a path leads in the source; by its last parts where it does not lead there itself."""
    text = entry.strip().replace("\\", "/")
    inner = re.sub(r"^(\.\./)+", "", text)  # Roboflow writes ../train/images for train/images
    parts = [part for part in text.split("/") if part not in ("", ".", "..")]
    candidates = [
        Place(Path(base.replace("\\", "/"), text), False),
        Place(Path(text), bool(base)),
        Place(Path(inner), bool(base)),
        *(Place(Path(*parts[start:]), True) for start in range(len(parts))),
    ]
    for candidate, stale in candidates:
        path = _existing(source, candidate)
        if path is not None:
            return Place(path, stale)
    return None


def _existing(source: Path, candidate: Path) -> Path | None:
    """A folder or file in the source, given relative to it or absolutely."""
    try:
        path = inside(source, candidate.as_posix(), source)
        return path if path.exists() else None
    except (DataError, OSError, ValueError, RuntimeError):
        return None


def _checked(source: Path, image: Path, told_by: Path, problems: list[str]) -> Path | None:
    """The image, unless a link leads out of the source."""
    try:
        return inside(source, image.relative_to(source).as_posix(), told_by)
    except DataError as error:
        problems.append(str(error))
        return None


def _in_list(
    file: Path, source: Path, settings: Settings, problems: list[str], stale: list[str]
) -> Iterator[Path | None]:
    """Images that a text file lists, one a line, relative to itself or as the settings' paths are."""
    try:
        lines = text_lines(file)
    except DataError as error:
        problems.append(str(error))
        return
    folder = file.parent.relative_to(source).as_posix()
    for index, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        beside = _existing(source, Path(folder, line.strip().replace("\\", "/")))
        place = Place(beside, False) if beside is not None else _place(source, settings.base, line)
        if place is None or not place.path.is_file() or place.path.suffix.lower() not in IMAGE_SUFFIXES:
            problems.append(
                f"{file}, line {index}: {shown(line)} is no image in {source}; correct or remove the line"
            )
            continue
        stale += [line.strip()] if place.stale else []
        yield place.path


def _by_folder(source: Path, told_by: Path) -> dict[Split | None, list[Path]]:
    """Images by the source's folders: images/train or train/images, else images/."""
    folders: list[tuple[Split | None, Path]] = []
    for parent, inner in ((source / IMAGES, ""), (source, IMAGES)):
        for folder in sorted(parent.iterdir()) if parent.is_dir() else ():
            split = SPLIT_NAMES.get(folder.name.lower())
            if split is not None and (folder / inner).is_dir():
                folders.append((split, folder / inner))
    images: dict[Split | None, list[Path]] = {}
    for split, folder in folders or [(None, source / IMAGES)]:
        images.setdefault(split, []).extend(image_files(folder))
    return images


def _without_doubles(listed: Listed, told_by: Path) -> Listed:
    """No image twice: no splits where two are the same images, and a line for an image in two others."""
    images = {split: list(dict.fromkeys(found)) for split, found in listed.images.items()}
    if any(one and set(one) == set(other) for one, other in combinations(images.values(), 2)):
        note = f"{told_by.name} names the same images for two splits, so its splits were not kept"
        together = list(dict.fromkeys(image for found in images.values() for image in found))
        return listed._replace(images={None: together}, notes=[*listed.notes, note])
    problems = list(listed.problems)
    seen: dict[Path, Split | None] = {}
    for split, found in images.items():
        for image in found:
            if image in seen:
                problems.append(f"{told_by}: {image} is in the splits {seen[image]} and {split}; name it in one")
        images[split] = [image for image in found if image not in seen]
        seen.update(dict.fromkeys(images[split], split))
    return listed._replace(images=images, problems=problems)
