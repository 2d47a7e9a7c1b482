"""From the categories of one or more COCO files to the classes of a dataset."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isdm.config import DataConfig
from isdm.data.annotation_values import BACKGROUND_LABELS, shown
from isdm.data.class_limit import fitting_classes
from isdm.data.coco_json import Category, CocoFile, Key
from isdm.data.dataset import IGNORE_INDEX
from isdm.data.layouts.source import class_colours
from isdm.errors import DataError

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class CocoClasses:
    """Class names, their colours where a file tells them, and what each file's categories become."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...] | None
    ids: dict[Path, dict[Key, int]]
    """For each file, the class id of a category id."""
    notes: list[str]
    has_background: bool = True


def find_classes(files: Sequence[CocoFile], config: DataConfig) -> CocoClasses:
    """Join the categories of all files by their names, in the order of their ids.

    Where there are too many, only those that the user chose get an id.

    Raises:
        DataError: there is no class beside the background, or too many, or isdm's own facts contradict.
        ConfigError: a chosen one of too many is unknown.
    """
    headings = _headings(files)
    declared = _declared(files)
    names = [name for name, _ in declared] or ["background"]
    notes = []
    if declared:
        notes.append("the classes, their order and colours are those that isdm wrote into the file's info")
    for file in files:
        for category in _in_order(file):
            special = category.ignored or category.name in headings or _is_background(category.name, names)
            if not special and category.name not in names:
                names.append(category.name)
    if len(names) < 2:
        raise DataError(f"{files[0].path} has no categories beside the background; add those of its annotations.")
    fitting = fitting_classes(names[1:], config, files[0].path)
    if len(fitting) < len(names) - 1:
        notes.append(f"of {len(names) - 1} categories the {len(fitting)} chosen are classes, all others background")
        names = [names[0], *fitting]
    categories = [category for file in files for category in file.categories.values()]
    if any(_is_background(category.name, names) for category in categories):
        notes.append("the category named background is class 0, like what no annotation covers")
    if any(category.ignored for category in categories):
        notes.append(f"annotations of the category marked isdm_ignore are ignored pixels ({IGNORE_INDEX})")
    if headings:
        notes.append(f"{' and '.join(sorted(headings))} only heads other categories, without annotations: left out")
    colours = [
        dict(declared).get(name, colour) for name, colour in zip(names, class_colours(len(names)), strict=True)
    ]
    ids = {file.path: {key: _class_id(entry, names) for key, entry in file.categories.items()} for file in files}
    has_background = all(_says_background(file) for file in files)
    return CocoClasses(tuple(names), tuple(colours) if declared else None, ids, notes, has_background)


def _says_background(file: CocoFile) -> bool:
    """Whether class 0 is the background: only isdm's own exports say otherwise."""
    own = file.info.get("isdm")
    return not isinstance(own, dict) or own.get("has_background") is not False


def _in_order(file: CocoFile) -> list[Category]:
    keys = sorted(file.categories, key=lambda key: (isinstance(key, str), key))
    return [file.categories[key] for key in keys]


def _is_background(name: str, names: Sequence[str]) -> bool:
    """Whether a category is class 0 without having its name."""
    return name.lower() in BACKGROUND_LABELS and name not in names[1:]


def _class_id(category: Category, names: Sequence[str]) -> int:
    if category.ignored:
        return IGNORE_INDEX
    return names.index(category.name) if category.name in names else 0  # background by another spelling, or a heading


def _headings(files: Sequence[CocoFile]) -> set[str]:
    """Names that Roboflow lists as a category only to group the others under: no file has annotations of them."""
    used = {
        file.categories[annotation.category].name
        for file in files
        for image in file.images.values()
        for annotation in image.annotations
    }
    every = [category for file in files for category in file.categories.values()]
    parents = {category.supercategory for category in every if category.supercategory != category.name}
    return {entry.name for entry in every if entry.supercategory == "none" and entry.name in parents} - used


def _declared(files: Sequence[CocoFile]) -> list[tuple[str, Colour]]:
    """Names and colours of the classes that isdm's exports hold; none where no file has them."""
    found: list[tuple[Path, list[tuple[str, Colour]]]] = []
    for file in files:
        own = file.info.get("isdm")
        if isinstance(own, dict):
            found.append((file.path, _classes_of(own.get("classes"), file.path)))
    for path, classes in found:
        if classes != found[0][1]:
            raise DataError(f"{found[0][0]} and {path} name different classes in info.isdm; export them together.")
    return found[0][1] if found else []


def _classes_of(values: Any, path: Path) -> list[tuple[str, Colour]]:
    classes: list[tuple[str, Colour]] = []
    for number, value in enumerate(values if isinstance(values, list) else [values]):
        entry = value if isinstance(value, dict) else {}
        name, colour = entry.get("name"), entry.get("colour")
        parts = colour if isinstance(colour, list) else []
        is_name = isinstance(name, str) and name.strip() and len(name.splitlines()) == 1
        is_colour = len(parts) == 3 and all(type(part) is int and 0 <= part <= 255 for part in parts)
        if entry.get("id") != number or not is_name or not is_colour:
            raise DataError(
                f"{path}: info.isdm.classes[{number}] is {shown(value)}; it must have the id {number}, a name and a "
                f"colour [red, green, blue]: export it again, or remove info.isdm."
            )
        red, green, blue = parts
        classes.append((str(name), (red, green, blue)))
    if len({name for name, _ in classes}) < max(len(classes), 2):
        raise DataError(f"{path}: info.isdm.classes must name two or more different classes; export it again.")
    return classes
