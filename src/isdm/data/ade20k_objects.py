"""The full ADE20K: thousands of kinds of objects, in masks of three bytes a pixel with a JSON file beside each.

    source/images/ADE/training/urban/street/ADE_train_00016869.jpg    ADE_train_00016869_seg.png    ….json
    source/images/ADE/validation/…

Red // 10 x 256 + green is the number of a pixel's kind (https://github.com/CSAILVision/ADE20K); blue tells objects
of one kind apart and is not needed. The JSON files give each number its names. Parts of objects lie in files of their
own and are not read.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isdm.config import DataConfig
from isdm.data.annotation_values import label_text, shown
from isdm.data.class_limit import fitting_classes
from isdm.data.dataset import Split
from isdm.data.image_files import MaskArray, opened_image
from isdm.data.layouts.source import Source, SourcePair, of_file
from isdm.data.listing import listed_files
from isdm.data.pairs_on_disk import pairs_on_disk
from isdm.data.tree_files import all_different, is_file, is_folder, text_of
from isdm.errors import DataError
from isdm.files import read_json
from isdm.progress import progress

OUTER = "ADE20K_2021_17_01"
PICTURES = "images/ADE"
OTHER = "other"
SPLITS: dict[str, Split] = {"training": "train", "validation": "validation"}

_NUM_KINDS = 255 // 10 * 256 + 256
_UNKNOWN = 255


class _Kinds(NamedTuple):
    """Names of the kinds of objects, the class id of each, and what else was told of them."""

    names: tuple[str, ...]
    ids: NDArray[np.uint8]
    """(_NUM_KINDS,) from a kind's number to its class; `_UNKNOWN` where no file names it."""
    notes: list[str]


def full_form(source: Path) -> Path | None:
    """The folder with images/ADE: the source, or the archive's own folder in it; None where there is none."""
    return next((root for root in (source, source / OUTER) if is_folder(root / PICTURES)), None)


def read_full_form(source: Path, root: Path, config: DataConfig) -> Source:
    """Pair each picture with its mask and find the kinds' names.

    Raises:
        DataError: the kinds are too many and none are chosen.
        ConfigError: a chosen one is unknown.
    """
    folder = root / PICTURES
    files, problems = listed_files(folder, source, {".jpg"})
    found: list[str] = []
    names: dict[int, list[str]] = {}
    shown_by: Counter[int] = Counter()
    with progress("Reading descriptions", total=len(files), unit="files") as bar:
        for file in files:
            bar.advance(1)
            try:
                kinds = dict(_kinds_of(_beside(folder / file)))
            except DataError as error:
                problems.append(str(error))
                continue
            shown_by.update(kinds.keys())
            for number, synonyms in kinds.items():
                names.setdefault(number, synonyms)
            found.append(file)
    classes = _chosen_kinds(names, shown_by, config, folder)
    read = of_file(partial(_load_mask, ids=classes.ids))
    stems = all_different([Path(file).stem for file in found])
    pairs = pairs_on_disk(
        SourcePair.of(folder / file, _mask(folder / file), stem, read, split=SPLITS.get(file.split("/")[0]))
        for file, stem in zip(found, stems, strict=True)
    )
    return Source(classes.names, pairs, notes=classes.notes, problems=problems)


def distinct_names(synonyms: Mapping[int, list[str]]) -> dict[int, str]:
    """A name for each number, in ascending order: its first synonym that no number before has, or that and itself."""
    names, taken = [OTHER], {OTHER}
    for number in sorted(synonyms):
        free = next((word for word in synonyms[number] if word not in taken), None)
        names.append(free or f"{synonyms[number][0]} {number}")
        taken.add(names[-1])
    return dict(zip(sorted(synonyms), all_different(names)[1:], strict=True))


def _beside(picture: Path) -> Path:
    """The JSON file of a picture, once it and the mask are there."""
    description = picture.with_suffix(".json")
    for path, what in ((_mask(picture), "mask"), (description, "description")):
        if not is_file(path):
            raise DataError(f"{picture} has no {what}; expected {path}")
    return description


def _mask(picture: Path) -> Path:
    return picture.with_name(f"{picture.stem}_seg.png")


def _kinds_of(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and names of the objects that a JSON file describes, without their parts."""
    content = read_json(path, _encoding(path))
    annotation = content.get("annotation") if isinstance(content, dict) else None
    objects = annotation.get("object") if isinstance(annotation, dict) else None
    if isinstance(objects, dict):  # a single one
        objects = [objects]
    if not isinstance(objects, list):
        raise DataError(f"{path}: annotation.object is {shown(objects)}; it must list the objects: restore the file")
    for index, value in enumerate(objects):
        try:
            if not _is_part(value):
                yield _number_of(value), _synonyms_of(value)
        except DataError as error:
            raise DataError(f"{path}: annotation.object[{index}]: {error}; restore the file") from None


def _encoding(path: Path) -> str:
    """Some of the published files are not UTF-8."""
    try:
        text_of(path)
    except DataError:  # whatever else keeps it from being read is told when it is read
        return "latin-1"
    return "utf-8-sig"


def _is_part(value: Any) -> bool:
    parts = value.get("parts") if isinstance(value, dict) else None
    return isinstance(parts, dict) and parts.get("part_level") not in (0, "0", None)


def _number_of(value: Any) -> int:
    number = value.get("name_ndx") if isinstance(value, dict) else None
    if type(number) is not int or not 0 < number < _NUM_KINDS:
        raise DataError(f"name_ndx is {shown(number)}; it must be from 1 to {_NUM_KINDS - 1}")
    return number


def _synonyms_of(value: Mapping[str, Any]) -> list[str]:
    words = [word.strip() for word in label_text(value.get("name")).split(",") if word.strip()]
    if not words:
        raise DataError(f"the name is {shown(value.get('name'))}; it must hold a word")
    return words


def _chosen_kinds(names: Mapping[int, list[str]], shown_by: Counter[int], config: DataConfig, folder: Path) -> _Kinds:
    """Those that the user chose, or all where they are few enough; the others are background."""
    name_of = distinct_names(names)
    usual_first = [name_of[number] for number, _ in shown_by.most_common()]
    fitting = frozenset(fitting_classes(usual_first, config, folder))
    kept = [number for number in sorted(name_of) if name_of[number] in fitting]
    ids = np.full(_NUM_KINDS, _UNKNOWN, np.uint8)
    ids[[0, *name_of]] = 0
    ids[kept] = np.arange(1, len(kept) + 1)
    notes = [
        f"red // 10 x 256 + green of a mask is the number of a kind of objects, named by the JSON files; 0 is "
        f'"{OTHER}" and the background; parts of objects are not read'
    ]
    if len(kept) < len(name_of):
        notes.append(f"of {len(name_of)} kinds of objects the {len(kept)} chosen are classes, all others background")
    return _Kinds((OTHER, *(name_of[number] for number in kept)), ids, notes)


def _load_mask(path: Path, ids: NDArray[np.uint8]) -> MaskArray:
    with opened_image(path) as image:
        if image.mode != "RGB":
            raise DataError(f"{path} has mode {image.mode}; a mask of this form has three bytes a pixel (RGB).")
        values = np.asarray(image).astype(np.uint16)
    numbers = values[:, :, 0] // 10 * 256 + values[:, :, 1]
    mask: MaskArray = ids[numbers]
    unknown = numbers[mask == _UNKNOWN]
    if unknown.size:
        raise DataError(
            f"{path} holds the kind of objects {unknown[0]} in {unknown.size} pixel(s), which no JSON file names; "
            f"restore it, or leave the picture out with --skip-bad."
        )
    return mask
