"""Pascal VOC, and data of one's own in its form, such as CVAT's "Segmentation mask 1.1".

    source/JPEGImages/a.jpg    source/SegmentationClass/a.png    source/ImageSets/Segmentation/train.txt val.txt …

The source may also be VOCdevkit, or what holds it. Without a list of labels the classes are the 21 that VOC
publishes. `labelmap.txt` (lines `name:r,g,b:parts:actions`) or `class_names.txt` (names alone) give others. A mask
holds the numbers of the labels (with or without a palette), or is in their colours; 255, or the colour
(224, 224, 192), is ignored. The lists of names decide which images count, and train, val and test are splits;
without lists all masks count. SegmentationObject and boxes are not used.
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from isdm.config import DataConfig
from isdm.data.dataset import Split
from isdm.data.image_files import image_header
from isdm.data.layouts.source import SPLIT_NAMES, Source, SourcePair, image_files, inside, of_file
from isdm.data.pairs_on_disk import pairs_on_disk
from isdm.data.tree_files import all_different, is_folder, subfolders, text_lines
from isdm.data.unicode_names import composed
from isdm.data.voc_labels import (
    COLOUR_MODES,
    PUBLISHED,
    LabelMap,
    label_map,
    load_mask,
    read_class_names,
    read_labelmap,
)
from isdm.errors import DataError

IMAGES, MASKS, LISTS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"
DEVKIT = "VOCdevkit"


class Found(NamedTuple):
    """Extensions of the tree's files by their name: the path in their folder, without the extension."""

    root: Path
    images: dict[str, tuple[str, ...]]
    masks: dict[str, str]


class Listed(NamedTuple):
    """A name that counts."""

    name: str
    split: Split | None
    told_by: Path


def recognises(source: Path) -> bool:
    """A folder with JPEGImages/ and SegmentationClass/, itself or in VOCdevkit."""
    return bool(_roots(source))


def read(source: Path, config: DataConfig) -> Source:
    """Pair images with masks by the lists, and read what the masks' values mean."""
    roots = _roots(source)
    if len(roots) != 1:
        found = f"there are {' and '.join(root.name for root in roots)}" if roots else "there is none"
        raise DataError(f"{source} needs one folder with {IMAGES}/ and {MASKS}/, but {found}; give that folder.")
    found_files = _find(roots[0])
    problems: list[str] = []
    notes: list[str] = []
    listed = _listed(found_files, problems, notes)
    files = []
    for entry in listed:
        try:
            image, mask = _partners(found_files, entry)
        except DataError as error:
            problems.append(str(error))
        else:
            files.append((entry, str(image), str(mask)))  # text takes less memory
    labels, label_files = _labels(roots[0], (Path(mask_file) for _, _, mask_file in files))
    stems = all_different([entry.name.replace("/", "_") for entry, _, _ in files])
    read = of_file(partial(load_mask, labels=labels))
    pairs = pairs_on_disk(
        SourcePair.of(Path(image_file), Path(mask_file), stem, read, split=entry.split, more_files=label_files)
        for (entry, image_file, mask_file), stem in zip(files, stems, strict=True)
    )
    return Source(
        labels.class_names,
        pairs,
        labels.colours,
        [_note(labels), *notes],
        problems=problems,
        has_background=labels.has_background,
    )


def _roots(source: Path) -> list[Path]:
    years = [folder for folder in subfolders(source) if folder.name.startswith("VOC")]
    places = [source, *years, *subfolders(source / DEVKIT)]
    return [place for place in places if is_folder(place / IMAGES) and is_folder(place / MASKS)]


def _find(root: Path) -> Found:
    images: dict[str, tuple[str, ...]] = {}
    for path in image_files(root / IMAGES):
        name = _name(path, root / IMAGES)
        images[name] = (*images.get(name, ()), path.suffix)
    masks = {
        _name(path, root / MASKS): path.suffix for path in image_files(root / MASKS) if path.suffix.lower() == ".png"
    }
    return Found(root, images, masks)


def _name(path: Path, folder: Path) -> str:
    """What the lists call a file, whichever Unicode form they and the disk have."""
    return composed(path.relative_to(folder).with_suffix("").as_posix())


def _listed(files: Found, problems: list[str], notes: list[str]) -> list[Listed]:
    """The names that count, with their splits; without lists those of all masks."""
    lists = sorted(path for path in (files.root / LISTS).glob("*.txt") if not path.name.startswith("."))
    if not lists:
        notes.append(f"there are no lists in {LISTS}, so all masks count")
        listed = [Listed(name, None, files.root / MASKS) for name in files.masks]
    else:
        listed = _from_lists(lists, problems)
        listed = _without_unlabelled_test(listed, files, notes)
        unlisted = len(files.masks.keys() - {entry.name for entry in listed})
        if unlisted:
            notes.append(f"{unlisted} masks that no list in {LISTS} names were left out")
    without_mask = len(files.images.keys() - files.masks.keys() - {entry.name for entry in listed})
    if without_mask:
        notes.append(f"{without_mask} images without a mask, such as those for detection, were left out")
    return listed


def _from_lists(lists: list[Path], problems: list[str]) -> list[Listed]:
    """Each name once, in the lists' order; a name in two splits' lists is a problem."""
    found: dict[str, list[Listed]] = {}
    for path in lists:
        split = SPLIT_NAMES.get(path.stem.lower())
        for line in text_lines(path):
            name = composed(
                line[1:-1] if len(line) > 2 and line[0] == line[-1] == '"' else line
            )  # CVAT quotes blanks
            if name:
                found.setdefault(name, []).append(Listed(name, split, path))
    listed = []
    for name, entries in found.items():
        in_splits = [entry for entry in entries if entry.split is not None]
        if len({entry.split for entry in in_splits}) > 1:
            places = " and ".join(dict.fromkeys(str(entry.told_by) for entry in in_splits))
            problems.append(f"{name[:80]!r} is listed in {places}; an image has one split: remove it from the others")
        else:
            listed.append((in_splits or entries)[0])
    return listed


def _without_unlabelled_test(listed: list[Listed], files: Found, notes: list[str]) -> list[Listed]:
    """VOC publishes no masks of its test images: a test list without any mask is no mistake."""
    test = [entry for entry in listed if entry.split == "test"]
    if not test or any(entry.name in files.masks for entry in test):
        return listed
    notes.append(f"the {len(test)} test images were left out: none has a mask, VOC publishes none for them")
    return [entry for entry in listed if entry.split != "test"]


def _partners(files: Found, entry: Listed) -> tuple[Path, Path]:
    """Image and mask of a name.

    Raises:
        DataError: one is missing, or lies outside its folder, or there are two images.
    """
    images, masks = files.root / IMAGES, files.root / MASKS
    inside(images, entry.name, entry.told_by)
    found = [inside(images, f"{entry.name}{suffix}", entry.told_by) for suffix in files.images.get(entry.name, ())]
    mask = None
    if entry.name in files.masks:
        mask = inside(masks, f"{entry.name}{files.masks[entry.name]}", entry.told_by)
    if not found:
        raise DataError(f"{entry.told_by} names {entry.name!r} but there is no {images / entry.name}.jpg; add it")
    if len(found) > 1:
        raise DataError(f"{found[0]} and {found[1]} have one name; it must be one image's: rename or remove one")
    if mask is None:
        raise DataError(f"{found[0]} has no mask; expected {masks / entry.name}.png, as {entry.told_by} names it")
    return found[0], mask


def _labels(root: Path, masks: Iterable[Path]) -> tuple[LabelMap, tuple[Path, ...]]:
    """The labels of the tree's list, or VOC's, and the files they are from.

    The first mask that can be read tells whether masks are in colour.
    """
    in_colour = False
    for mask in masks:
        try:
            in_colour = image_header(mask).mode in COLOUR_MODES
        except DataError:
            continue  # whoever decodes it will say what is wrong
        break
    for name, reader in (("labelmap.txt", read_labelmap), ("class_names.txt", read_class_names)):
        path = root / name
        if path.is_file():
            return label_map(reader(path), str(path), in_colour=in_colour), (path,)
    return label_map(PUBLISHED, "Pascal VOC's list", in_colour=in_colour), ()


def _note(labels: LabelMap) -> str:
    classes = f"the {len(labels.class_names)} classes are those of {Path(labels.told_by).name}"
    ignored = [label.name for label in labels.labels if label.name not in labels.class_names]
    void = f"; {', '.join(ignored)} is void" if ignored else ""
    if not labels.in_colour:
        first = "" if labels.has_background else "; no label is background, so 0 is a class like the others"
        return f"mask values are the labels' numbers, 255 is ignored, and {classes}{void}{first}"
    is_own = labels.class_names[0] in {label.name for label in labels.labels}
    added = "" if is_own else "; black, for which it has no label, is background"
    return f"mask colours are the labels', #e0e0c0 is ignored, and {classes}{void}{added}"
