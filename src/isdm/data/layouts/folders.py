"""Plain folders: images in one, masks of the same names in the other, optionally below split folders.

    source/images/a.jpg  source/masks/a.png        or   source/train/images/…  source/test/masks/…

`classes.txt` in the source (one name a line, background first) names the classes and so declares which ids
may occur; without it the masks' own values tell (see `mask_rules`).
"""

from collections import Counter
from functools import partial
from pathlib import Path

from isdm.data.dataset import Split
from isdm.data.layouts.source import Source, SourcePair, image_files
from isdm.data.mask_rules import find_rule
from isdm.errors import DataError

IMAGE_FOLDERS = ("images", "image", "imgs", "img")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "gt")
MASK_ENDINGS = ("", "_mask", "-mask", "_label", "_gt", "_seg", "_segmentation")
SPLIT_FOLDERS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}

Root = tuple[Path, Path, Split | None]


def recognises(source: Path) -> bool:
    """A folder with images/ and masks/, itself or in its split folders."""
    return bool(_roots(source))


def read(source: Path) -> Source:
    """Pair images and masks by name and find out what the mask values mean."""
    roots = _roots(source)
    if not roots:
        raise DataError(f"{source} needs a folder images/ and beside it masks/ with files of the same names.")
    matched: list[tuple[Path, Path, str, Split | None]] = []
    problems: list[str] = []
    for image_folder, mask_folder, split in roots:
        masks = {path.relative_to(mask_folder).with_suffix("").as_posix(): path for path in image_files(mask_folder)}
        for image in image_files(image_folder):
            name = image.relative_to(image_folder).with_suffix("").as_posix()
            mask = next((masks[name + end] for end in MASK_ENDINGS if name + end in masks), None)
            if mask is None:
                problems.append(f"{image} has no mask; expected {mask_folder / (name + '.png')}")
            else:
                matched.append((image, mask, name.replace("/", "_"), split))
    if not matched and not problems:
        raise DataError(f"{source} holds no images; put them into {roots[0][0]} and their masks into {roots[0][1]}.")
    rule, unreadable = find_rule([mask for _, mask, _, _ in matched], _declared_names(source))
    times = Counter(stem for _, _, stem, _ in matched)  # the same name in two splits is two pictures
    pairs = [
        SourcePair(
            image,
            mask,
            f"{split}_{stem}" if split and times[stem] > 1 else stem,
            partial(rule.load, mask),
            None,
            split,
        )
        for image, mask, stem, split in matched
    ]
    return Source(rule.class_names, pairs, rule.colours, [rule.note], problems=problems + unreadable)


def _roots(source: Path) -> list[Root]:
    """Image folder, mask folder and split of each part of the source."""
    own = _image_and_mask_folder(source)
    if own is not None:
        return [(*own, None)]
    roots: list[Root] = []
    for entry in sorted(source.iterdir()):
        split = SPLIT_FOLDERS.get(entry.name.lower())
        folders = _image_and_mask_folder(entry) if split is not None and entry.is_dir() else None
        if folders is not None:
            roots.append((*folders, split))
    return roots


def _image_and_mask_folder(folder: Path) -> tuple[Path, Path] | None:
    by_name = {entry.name.lower(): entry for entry in folder.iterdir() if entry.is_dir()}
    images = next((by_name[name] for name in IMAGE_FOLDERS if name in by_name), None)
    masks = next((by_name[name] for name in MASK_FOLDERS if name in by_name), None)
    return (images, masks) if images is not None and masks is not None else None


def _declared_names(source: Path) -> tuple[str, ...] | None:
    path = source / "classes.txt"
    if not path.is_file():
        return None
    try:
        names = tuple(line.strip() for line in path.read_text("utf-8").splitlines() if line.strip())
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error}); save it as UTF-8.") from None
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(f"{path} must name at least two different classes, one a line, background first.")
    return names
