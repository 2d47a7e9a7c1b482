"""Plain folders: images in one, masks of the same names in the other, optionally below split folders.

    source/images/a.jpg  source/masks/a.png        or   source/train/images/…  source/test/masks/…

`classes.txt` in the source (one name a line, background first) names the classes and so declares which ids
may occur; without it the masks' own values tell (see `mask_rules`). A folder `instances` beside the masks
holds instance maps of the same names, one for every image.
"""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import NamedTuple

from isdm.config import DataConfig
from isdm.data.dataset import Split
from isdm.data.layouts.source import Source, SourcePair, image_files
from isdm.data.mask_rules import find_rule
from isdm.errors import DataError

IMAGE_FOLDERS = ("images", "image", "imgs", "img")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "gt")
INSTANCE_FOLDER = "instances"
MASK_ENDINGS = ("", "_mask", "-mask", "_label", "_gt", "_seg", "_segmentation")
GENERIC = True
SPLIT_FOLDERS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


class Root(NamedTuple):
    """One part of the source."""

    images: Path
    masks: Path
    instances: Path | None
    split: Split | None


class Match(NamedTuple):
    """An image and what belongs to it."""

    image: Path
    mask: Path
    instances: Path | None
    stem: str
    split: Split | None


def recognises(source: Path) -> bool:
    """A folder with images/ and masks/, itself or in its split folders."""
    return bool(_roots(source))


def read(source: Path, config: DataConfig) -> Source:
    """Pair images and masks by name and find out what the mask values mean."""
    roots = _roots(source)
    if not roots:
        raise DataError(f"{source} needs a folder images/ and beside it masks/ with files of the same names.")
    matched: list[Match] = []
    problems: list[str] = []
    has_instances = any(root.instances for root in roots)
    for root in roots:
        instance_folder = root.instances or root.masks.with_name(INSTANCE_FOLDER)
        masks, maps = _by_name(root.masks), _by_name(instance_folder)
        for image in image_files(root.images):
            name = image.relative_to(root.images).with_suffix("").as_posix()
            mask, instances = (
                next((files[name + end] for end in MASK_ENDINGS if name + end in files), None)
                for files in (masks, maps)
            )
            if mask is None:
                problems.append(f"{image} has no mask; expected {root.masks / (name + '.png')}")
            elif has_instances and instances is None:
                problems.append(f"{image} has no instance map; expected {instance_folder / (name + '.png')}")
            else:
                matched.append(Match(image, mask, instances, name.replace("/", "_"), root.split))
    if not matched and not problems:
        raise DataError(
            f"{source} holds no images; put them into {roots[0].images} and their masks into {roots[0].masks}."
        )
    rule, unreadable = find_rule([match.mask for match in matched], _declared_names(source))
    times = Counter(match.stem for match in matched)  # the same name in two splits is two pictures
    pairs = [
        SourcePair(
            image,
            mask,
            f"{split}_{stem}" if split and times[stem] > 1 else stem,
            partial(rule.load, mask),
            None,
            split,
            instances,
        )
        for image, mask, instances, stem, split in matched
    ]
    return Source(rule.class_names, pairs, rule.colours, [rule.note], problems=problems + unreadable)


def _roots(source: Path) -> list[Root]:
    """Each part of the source: itself, or its split folders."""
    own = _root(source, None)
    if own is not None:
        return [own]
    roots: list[Root] = []
    for entry in sorted(source.iterdir()):
        split = SPLIT_FOLDERS.get(entry.name.lower())
        root = _root(entry, split) if split is not None and entry.is_dir() else None
        if root is not None:
            roots.append(root)
    return roots


def _root(folder: Path, split: Split | None) -> Root | None:
    by_name = {entry.name.lower(): entry for entry in folder.iterdir() if entry.is_dir()}
    images = next((by_name[name] for name in IMAGE_FOLDERS if name in by_name), None)
    masks = next((by_name[name] for name in MASK_FOLDERS if name in by_name), None)
    if images is None or masks is None:
        return None
    return Root(images, masks, by_name.get(INSTANCE_FOLDER), split)


def _by_name(folder: Path) -> dict[str, Path]:
    """Image files below `folder` by their path in it, without the extension."""
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in image_files(folder)}


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
