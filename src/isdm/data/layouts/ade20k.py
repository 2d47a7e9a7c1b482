"""ADE20K, in the form of its scene parsing challenge (ADEChallengeData2016) or the full one of 2021.

    source/images/training/ADE_train_00000001.jpg    source/annotations/training/ADE_train_00000001.png
    source/images/validation/…                       source/annotations/validation/…

Mask value 0 is "other" and becomes the background; 1 to 150 are the classes. Their names are the first of those
that `objectInfo150.txt` in the source gives, or else the published ones. For the full form see `ade20k_objects`.
"""

import re
from pathlib import Path

from isdm.config import DataConfig
from isdm.data.ade20k_objects import OTHER, SPLITS, distinct_names, full_form, read_full_form
from isdm.data.dataset import MAX_CLASSES, Split
from isdm.data.image_files import read_mask
from isdm.data.label_tables import ADE20K_NAMES
from isdm.data.layouts.source import IMAGE_SUFFIXES, Source, SourcePair, image_files, of_file
from isdm.data.pairs_on_disk import pairs_on_disk
from isdm.data.tree_files import all_different, files_in, first_files, in_either_case, is_folder, text_lines
from isdm.errors import DataError

FOLDER = "ADEChallengeData2016"
IMAGES, MASKS = "images", "annotations"
NAMES_FILE = "objectInfo150.txt"

_NUMBER = re.compile(r"\d{1,9}", re.ASCII)


def recognises(source: Path) -> bool:
    """images/ and annotations/ with training/ or validation/, and the list of names or files called ADE_…

    The full form has images/ADE; that of 2016 is recognised to say why it cannot be read.
    """
    root = _root(source)
    return (
        full_form(source) is not None
        or _form_of_2016(source)
        or (
            root is not None
            and ((root / NAMES_FILE).is_file() or any(_published_names(root / IMAGES / split) for split in SPLITS))
        )
    )


def read(source: Path, config: DataConfig) -> Source:
    """Pair images with masks of the same name in the same split.

    Raises:
        DataError: the tree lacks the folders, or the list of names is malformed; see also `read_full_form`.
    """
    root = _root(source)
    full = full_form(source) if root is None else None
    if full is not None:
        return read_full_form(source, full, config)
    if root is None and _form_of_2016(source):
        raise DataError(
            f"{source} is the full ADE20K of 2016, whose names lie in a MATLAB file; give the full form of 2021, "
            f"which has a .json file beside each picture, or {FOLDER}."
        )
    if root is None:
        raise DataError(f"{source} needs {IMAGES}/training and {MASKS}/training; give the folder that holds both.")
    names, told_by = _class_names(root / NAMES_FILE)
    found: list[tuple[Path, Path, Split]] = []
    problems: list[str] = []
    all_masks: set[Path] = set()
    for folder, split in SPLITS.items():
        images, masks = root / IMAGES / folder, root / MASKS / folder
        all_masks.update(image_files(masks))
        for image in image_files(images):
            mask = in_either_case(masks / image.relative_to(images).with_suffix(".png"))
            if mask.is_file():
                found.append((image, mask, split))
            else:
                problems.append(f"{image} has no mask; expected {mask}")
    stems = all_different([image.stem for image, _, _ in found])
    read = of_file(read_mask)
    pairs = pairs_on_disk(
        SourcePair.of(image, mask, stem, read, split=split)
        for (image, mask, split), stem in zip(found, stems, strict=True)
    )
    notes = [
        f'mask value 0 is "{OTHER}" and the background, 1 to {len(names) - 1} are the classes named by {told_by}',
    ]
    without_image = len(all_masks.difference(mask for _, mask, _ in found))
    if without_image:
        notes.append(f"{without_image} masks without an image were left out")
    return Source(names, pairs, notes=notes, problems=problems)


def _published_names(folder: Path) -> bool:
    return any(path.name.startswith("ADE_") for path in files_in(folder, IMAGE_SUFFIXES))


def _form_of_2016(source: Path) -> bool:
    """Pictures in folders of scenes, each with a text file of its objects."""
    texts = first_files(source / IMAGES, {".txt"}, depth=3)
    return any(path.name.startswith("ADE_") and path.name.endswith("_atr.txt") for path in texts)


def _root(source: Path) -> Path | None:
    """The folder with images/ and annotations/: the source, or the challenge's own folder in it."""
    for root in (source, source / FOLDER):
        if any(is_folder(root / IMAGES / split) and is_folder(root / MASKS / split) for split in SPLITS):
            return root
    return None


def _class_names(path: Path) -> tuple[tuple[str, ...], str]:
    """Names of the mask values from 0 on, and what gives them.

    See `distinct_names` for the choice among synonyms.

    Raises:
        DataError: the file cannot be read, or lacks a column or a line, or a line is malformed.
    """
    if not path.is_file():
        return (OTHER, *ADE20K_NAMES), "the published list"
    synonyms = _synonyms(path)
    if sorted(synonyms) != list(range(1, len(synonyms) + 1)) or not 1 <= len(synonyms) < MAX_CLASSES:
        raise DataError(
            f"{path} has {len(synonyms)} classes; Idx must count them from 1 without a gap, to {MAX_CLASSES - 1} at "
            f"most: put back the published file."
        )
    return (OTHER, *distinct_names(synonyms).values()), path.name


def _synonyms(path: Path) -> dict[int, list[str]]:
    """Names of each class by its number: cells parted by tabs (or commas, and then the names by semicolons)."""
    header, *lines = text_lines(path)
    separator, part = ("\t", ",") if "\t" in header else (",", ";")
    columns = [column.strip() for column in header.split(separator)]
    if "Idx" not in columns or "Name" not in columns:
        raise DataError(f"{path} has the columns {header[:80]!r}; Idx and Name must be among them.")
    found: dict[int, list[str]] = {}
    for place, line in enumerate(lines, start=2):
        if not line:
            continue
        row = dict(zip(columns, (cell.strip() for cell in line.split(separator)), strict=False))
        words = [word.strip() for word in row.get("Name", "").split(part) if word.strip()]
        number = int(row["Idx"]) if _NUMBER.fullmatch(row.get("Idx", "")) else 0
        if not words or number < 1 or number in found:
            raise DataError(f"{path}, line {place} is {line[:80]!r}; it must have an Idx of its own and a Name.")
        found[number] = words
    return found
