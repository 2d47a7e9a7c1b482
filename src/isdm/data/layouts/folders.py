"""Plain folders: images in one, masks of the same names in the other, optionally below split folders.

    source/images/a.jpg  source/masks/a.png    or  source/train/images/…  source/train/masks/…
                                               or  source/images/train/…  source/masks/train/…

`classes.txt` in the source (one name a line, background first, perhaps with the colour that masks give it: see
`class_table`) names the classes and so declares which ids or colours may occur; without it the masks' own values
tell, or `--masks` says, what they mean (see `mask_rules`). A folder `instances` beside the masks holds instance
maps of the same names, one for every image. With `--masks alpha` the images' own transparency is the mask where
there is no folder of masks; with `--masks instances` the masks are instance maps as well.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from isdm.config import DataConfig, MaskReading
from isdm.data.dataset import Split
from isdm.data.image_files import read_picture
from isdm.data.layouts.source import IMAGE_SUFFIXES, SPLIT_NAMES, Source, SourcePair, of_file
from isdm.data.listing import link_out_of, listed_files
from isdm.data.mask_rules import MaskRule, read_class_table, rule_and_problems
from isdm.data.pairs_on_disk import pairs_on_disk
from isdm.data.partners import Partners, split_name
from isdm.errors import DataError
from isdm.on_disk import LazySequence, RecordsOnDisk, repeated
from isdm.parallel import in_threads

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "img_dir")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "gt", "ann_dir")
INSTANCE_FOLDER = "instances"
MASK_SUFFIXES = IMAGE_SUFFIXES | {".npy"}
GENERIC = True


class Root(NamedTuple):
    """One part of the source."""

    images: Path
    masks: Path | None
    """None where the images' own transparency may be the mask."""
    instances: Path | None
    split: Split | None


class Match(NamedTuple):
    """An image and what belongs to it: files as text, as there may be hundreds of thousands."""

    image: str
    mask: str
    instances: str | None
    stem: str
    split: Split | None


def recognises(source: Path) -> bool:
    """A folder with images/ and masks/, itself or in its split folders; or images/ alone, see --masks alpha."""
    try:
        return bool(_roots(source))
    except DataError:
        return False


def read(source: Path, config: DataConfig) -> Source:
    """Pair images and masks by name and find out what the mask values mean."""
    roots = [root for root in _roots(source) if root.masks is not None or config.masks == "alpha"]
    if not roots:
        raise DataError(
            f"{source} needs a folder images/ and beside it masks/ with files of the same names; images whose "
            f"transparency is the mask need --masks alpha, and another layout its name, --layout."
        )
    lonely: list[Path] = []
    problems: list[str] = []
    has_instances = any(root.instances for root in roots)
    records = RecordsOnDisk(
        match for root in roots for match in _matches(source, root, has_instances, lonely, problems)
    )
    if not len(records) and not problems:
        raise DataError(
            f"{source} holds no images; put them into {roots[0].images} and their masks into {roots[0].masks}."
        )
    matched = LazySequence(len(records), lambda index: Match(*records[index]))
    masks = LazySequence(len(records), lambda index: Path(matched[index].mask))
    rule, bad = _rule(source, masks, config.masks, config.mask_threshold, problems)
    of_bad_masks = (Path(match.image) for match in matched if Path(match.mask) in bad)
    problems += [*bad.values(), *_bad_images(chain(of_bad_masks, lonely))]
    notes = [rule.note]
    if rule.values_are_objects:
        notes.append(
            f"instance maps come from {INSTANCE_FOLDER}/" if has_instances else "their numbers are instance maps"
        )
    pairs = pairs_on_disk(_pairs(matched, rule, bad, values_are_maps=rule.values_are_objects and not has_instances))
    return Source(rule.class_names, pairs, rule.colours, notes, problems=problems)


def _pairs(
    matched: Sequence[Match], rule: MaskRule, bad: Collection[Path], *, values_are_maps: bool
) -> Iterator[SourcePair]:
    """A pair of each match with a sound mask."""
    several = repeated(lambda: (match.stem for match in matched))
    read = of_file(rule.load)
    for image, mask, instances, stem, split in matched:
        if Path(mask) not in bad:
            is_in_two_splits = split and stem in several  # the same name in two splits is two pictures
            name = f"{split}_{stem}" if is_in_two_splits else stem
            maps = mask if values_are_maps else instances
            yield SourcePair(image, mask, name, read, split=split, instance_file=maps)


def _rule(
    source: Path, masks: Sequence[Path], reading: MaskReading, threshold: int, problems: list[str]
) -> tuple[MaskRule, dict[Path, str]]:
    """The masks' rule; where there is none, what else is wrong is told with that."""
    try:
        return rule_and_problems(masks, read_class_table(source / "classes.txt"), reading, threshold)
    except DataError as error:
        lines = [*str(error).splitlines(), *problems]
        if len(lines) == 1:
            raise
        shown = "\n".join(f"  {line}" for line in lines)
        raise DataError(f"{len(lines)} problem(s) in the source; nothing was written:\n{shown}") from None


def _bad_images(images: Iterable[Path]) -> list[str]:
    """What is wrong with images that are left out for their masks: nobody else will open them."""
    return [line for line in in_threads(_image_problem, images) if line is not None]


def _image_problem(image: Path) -> str | None:
    try:
        read_picture(image)
    except DataError as error:
        return str(error)
    return None


def _matches(
    source: Path, root: Root, has_instances: bool, lonely: list[Path], problems: list[str]
) -> Iterator[Match]:
    """Images of one part of the source with their masks and instance maps; notes those without, and what is wrong."""
    images, wrong_images = listed_files(root.images, source)
    problems += wrong_images
    several = repeated(lambda: (split_name(file)[0] for file in images))
    instance_folder = root.instances or (root.masks or root.images).with_name(INSTANCE_FOLDER)
    masks = None if root.masks is None else Partners(root.masks, source, MASK_SUFFIXES, several)
    maps = Partners(instance_folder, source, IMAGE_SUFFIXES, several)
    for file in images:
        name, _ = split_name(file)
        image = root.images / file
        mask = str(image) if masks is None else masks.take(name)
        instances = maps.take(name)
        if masks is not None and mask is None:
            problems += [f"{image} {line}" for line in masks.lacks(name, "mask")]
        elif has_instances and instances is None:
            problems += [f"{image} {line}" for line in maps.lacks(name, "instance map")]
        if mask is None or (has_instances and instances is None):
            lonely.append(image)
        else:
            split, below = (root.split, name) if root.split else _split_and_name(name)
            yield Match(str(image), mask, instances, below.replace("/", "_"), split)
    for partners in (masks, maps):
        if partners is not None:
            problems += [*partners.problems, *partners.left()]


def _split_and_name(name: str) -> tuple[Split | None, str]:
    """The split that the first folder of a name tells, and the rest of the name; else none and the whole name."""
    first, _, below = name.partition("/")
    split = SPLIT_NAMES.get(first.lower()) if below else None
    return (split, below) if split else (None, name)


def _roots(source: Path) -> list[Root]:
    """Each part of the source: itself, or its split folders.

    Raises:
        DataError: a folder cannot be listed, or is a link that leads out of the source.
    """
    own = _root(source, source, None)
    if own is not None and own.masks is not None:
        return [own]
    roots: list[Root] = []
    for name, entry in _folders(source, source).items():
        split = SPLIT_NAMES.get(name)
        root = _root(entry, source, split) if split is not None else None
        if root is not None:
            roots.append(root)
    return roots or ([own] if own is not None else [])


def _root(folder: Path, source: Path, split: Split | None) -> Root | None:
    by_name = _folders(folder, source)
    images = next((by_name[name] for name in IMAGE_FOLDERS if name in by_name), None)
    masks = next((by_name[name] for name in MASK_FOLDERS if name in by_name), None)
    return None if images is None else Root(images, masks, by_name.get(INSTANCE_FOLDER), split)


def _folders(folder: Path, source: Path) -> dict[str, Path]:
    """The folders in a folder by their names in small letters."""
    known: Callable[[str], bool] = {*IMAGE_FOLDERS, *MASK_FOLDERS, INSTANCE_FOLDER, *SPLIT_NAMES}.__contains__
    try:
        found = {entry.name.lower(): entry for entry in sorted(folder.iterdir()) if entry.is_dir()}
    except OSError as error:
        raise DataError(f"{folder} cannot be listed ({error.strerror}); give yourself the right.") from None
    for name, entry in found.items():
        led_out = link_out_of(entry, source) if known(name) else None
        if led_out is not None:
            raise DataError(f"{led_out}.")
    return found
