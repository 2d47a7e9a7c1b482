"""COCO detection and segmentation annotations: JSON files that outline the objects of many images.

    annotations/instances_train2017.json …    train2017/ … or images/train2017/ …     the COCO download
    annotations/instances_default.json        images/                                 CVAT
    train/_annotations.coco.json              the images beside it; valid/, test/     Roboflow
    one JSON file                             the images beside it or in images/

Categories become the classes 1, 2, … in the order of their ids; what no annotation covers is background. A
validation or test split without any annotation is left out. The `info` of isdm's own exports brings back all
classes with their order and colours, and ignored pixels.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from isdm.config import DataConfig
from isdm.data.coco_classes import CocoClasses, find_classes
from isdm.data.coco_json import CocoFile, CocoImage, Outlines, read_coco
from isdm.data.coco_regions import Drawing, load_drawings
from isdm.data.dataset import IGNORE_INDEX, Split
from isdm.data.image_files import MaskArray
from isdm.data.layouts.source import IMAGE_SUFFIXES, SPLIT_NAMES, Source, SourcePair, inside
from isdm.data.pairs_on_disk import pairs_on_disk
from isdm.data.photographs import photograph_of
from isdm.data.recipes import kept_categories
from isdm.data.tree_files import files_in, head, is_file, unique_stems
from isdm.data.unlabelled import unlabelled_splits
from isdm.errors import DataError
from isdm.on_disk import LazySequence, repeated

ANNOTATION_FOLDERS = ("annotations", "annotation")
MOST_FILES = 16
"""A folder with more JSON files has one for each image: another format."""
HEAD_BYTES = 65_536

_USUAL_NAME = re.compile(r"instances_.+|(.*[._])?annotations\.coco|.+\.coco")
_OTHER_TASKS = re.compile(r"(captions|panoptic|image_info|person_keypoints)(_|$)")
_LISTS = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')
_KEYS = re.compile(rb'"(file_name|image_id|category_id|supercategory)"\s*:')
_SPLIT_WORDS: dict[str, Split] = {**SPLIT_NAMES, "trainval": "train"}


@dataclass(frozen=True, slots=True)
class _Entry:
    """An image that was found, and the file that tells of it."""

    path_text: str
    """As text, for there may be hundreds of thousands."""
    image: CocoImage
    file: CocoFile
    split: Split | None

    @property
    def path(self) -> Path:
        """The image."""
        return Path(self.path_text)


class _Details(NamedTuple):
    """What drawing an image's mask needs."""

    file_name: str
    height: int
    width: int
    drawn: Sequence[tuple[int, int]]
    """Of each annotation its class id and its place among the file's outlines."""


def recognises(source: Path) -> bool:
    """A folder with a JSON file that is named or begins as COCO's do."""
    return bool(annotation_files(source))


def read(source: Path, config: DataConfig) -> Source:
    """Read all annotation files and find their images.

    Raises:
        DataError: there is no annotation file, or their classes cannot be used.
    """
    paths = annotation_files(source)
    if not paths:
        raise DataError(
            f"{source} holds no COCO annotations; expected a JSON file with images, annotations and categories, in "
            f"annotations/ or beside the images."
        )
    files, problems = _read_files(source, paths)
    if not files:
        raise DataError(problems[0])
    classes = find_classes(files, config)
    entries = _find_images(source, files, problems)
    entries, split_notes = _usable_splits(entries)
    unlisted = _unlisted(entries)
    without, left_out = unlabelled_splits(((entry.split, _is_annotated(entry)) for entry in entries), "an annotation")
    entries = [entry for entry in entries if entry.split not in without]
    kept = kept_categories(config)
    stems = unique_stems(LazySequence(len(entries), lambda index: entries[index].path), source)
    load = partial(_load, {str(file.path): file.outlines for file in files}, classes, kept)
    pairs = pairs_on_disk(_pair(entry, stem, classes, load) for entry, stem in zip(entries, stems, strict=True))
    told = ", ".join(file.path.relative_to(source).as_posix() for file in files)
    beneath = "" if kept is None else ", objects of classes that are left out beneath all others"
    notes = [
        f"objects are the polygons and run lengths of {told}, filled as pycocotools does; crowds count as objects",
        f"where objects overlap, a smaller one lies on top of a larger one{beneath}",
        *classes.notes,
        *split_notes,
        *left_out,
        *_empty(entries),
        *unlisted,
    ]
    return Source(
        classes.names, pairs, classes.colours, notes, problems=problems, has_background=classes.has_background
    )


def annotation_files(source: Path) -> list[Path]:
    """COCO's JSON files in the source, in its folder of annotations and in the folders of its splits."""
    places = [source]
    for folder in filter(Path.is_dir, _entries(source)):
        name = folder.name.lower()
        if name in ANNOTATION_FOLDERS:
            places.append(folder)
        elif name in SPLIT_NAMES or is_file(folder / "_annotations.coco.json"):
            places += [folder, *(folder / inner for inner in ANNOTATION_FOLDERS)]
    return [path for place in places for path in _annotation_files_in(place)]


def _annotation_files_in(folder: Path) -> list[Path]:
    files = [path for path in _entries(folder) if path.suffix.lower() == ".json" and is_file(path)]
    usual = [path for path in files if _USUAL_NAME.fullmatch(path.stem.lower())]
    if usual:
        return usual
    if len(files) > MOST_FILES:
        return []
    return [path for path in files if not _OTHER_TASKS.match(path.stem.lower()) and _looks_like_coco(path)]


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, hidden things left out, sorted; nothing where it cannot be read."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return []


def _looks_like_coco(path: Path) -> bool:
    start = head(path, HEAD_BYTES)
    return start.lstrip().startswith(b"{") and all(pattern.search(start) for pattern in (_LISTS, _KEYS))


def _read_files(source: Path, paths: Iterable[Path]) -> tuple[list[CocoFile], list[str]]:
    files: list[CocoFile] = []
    problems: list[str] = []
    for path in paths:
        try:
            inside(source, path.relative_to(source).as_posix(), path)
            files.append(read_coco(path))
        except DataError as error:
            problems.append(str(error))
        else:
            problems += files[-1].problems
    return files, problems


def _find_images(source: Path, files: Iterable[CocoFile], problems: list[str]) -> list[_Entry]:
    """The image file of each entry; entries without one, and images that two files tell of, are problems."""
    found: list[_Entry] = []
    for file in files:
        folders = _image_folders(source, file.path)
        split = _split_of([file.path.stem, *_folders_between(source, file.path)])
        for image in file.images.values():
            try:
                path = _image_path(source, image.file_name, folders, file.path)
            except DataError as error:
                problems.append(str(error))
                continue
            found.append(_Entry(str(path), image, file, split or _split_of(_folders_between(source, path))))
    told_by: dict[str, list[str]] = {path: [] for path in repeated(lambda: (entry.path_text for entry in found))}
    for entry in found:
        if entry.path_text in told_by:
            told_by[entry.path_text].append(str(entry.file.path))
    for image_file, tellers in told_by.items():
        problems.append(f"{image_file} is told of twice, in {' and '.join(tellers)}; keep it in one place")
    return [entry for entry in found if entry.path_text not in told_by]


def _image_folders(source: Path, annotations: Path) -> list[Path]:
    """Folders in which the images of an annotation file may be, the likeliest first."""
    tag = re.sub(r"^instances_|\.coco$", "", annotations.stem)
    beside = annotations.parent
    above = [beside.parent, beside.parent / "images"] if beside.parent != source.parent else []
    split = _split_of([annotations.stem])
    same_split = [
        folder
        for place in (source, source / "images")
        for folder in (_entries(place) if split else ())
        if _split_of([folder.name]) == split
    ]
    usual = [source / "images", source, source / "images" / "default", source / "data", source / "JPEGImages"]
    own = [source / tag, source / "images" / tag, source / tag / "images"]
    places = [*own, *same_split, beside, beside / "images", *above, *usual]
    return [place for place in dict.fromkeys(places) if place.is_dir() and place.is_relative_to(source)]


def _image_path(source: Path, name: str, folders: Iterable[Path], told_by: Path) -> Path:
    """The image that an annotation file calls `name`; it lies in the source, or this is a `DataError`."""
    outside: DataError | None = None
    for folder in folders:
        try:
            path = inside(source, str(folder.relative_to(source) / name.replace("\\", "/")), told_by)
        except DataError as error:
            outside = outside or error
            continue
        if is_file(path):
            return path
    if outside is not None:
        raise outside
    raise DataError(f"{told_by} names the image {name!r}, which is not there; put it back or remove its entry")


def _folders_between(source: Path, path: Path) -> list[str]:
    """Names of the folders from a file up to the source."""
    return list(reversed(path.relative_to(source).parts[:-1]))


def _split_of(names: Iterable[str]) -> Split | None:
    """The split that the first of the names with such a word in it tells: `instances_val2017`, `Train`."""
    for name in names:
        words = re.findall(r"[a-z]+", name.lower())
        splits = {_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS}
        if len(splits) == 1:
            return splits.pop()
    return None


def _usable_splits(entries: list[_Entry]) -> tuple[list[_Entry], list[str]]:
    """Without the word "test" where it stands over all images: there would be nothing to train on."""
    if {entry.split for entry in entries} != {"test"}:
        return entries, []
    note = "all images are in a split named test: they are split anew"
    return [replace(entry, split=None) for entry in entries], [note]


def _is_annotated(entry: _Entry) -> bool:
    """Whether anything is said of an image; of those of isdm's exports it is known that nothing is to be seen."""
    return bool(entry.image.annotations) or "isdm" in entry.file.info


def _empty(entries: Iterable[_Entry]) -> list[str]:
    """A note on images without annotations, which may have been forgotten."""
    count = sum(not entry.image.annotations for entry in entries)
    return [f"{count} image(s) without annotations are all background"] if count else []


def _pair(entry: _Entry, stem: str, classes: CocoClasses, load: Callable[[SourcePair], MaskArray]) -> SourcePair:
    image, ids = entry.image, classes.ids[entry.file.path]
    drawn = [(ids[annotation.category], annotation.place) for annotation in image.annotations]
    return SourcePair.of(
        entry.path,
        entry.file.path,
        stem,
        load,
        group=_group(entry),
        split=entry.split,
        class_ids=frozenset(class_id for class_id, _ in drawn) - {0, IGNORE_INDEX},
        details=_Details(image.file_name, image.height, image.width, drawn),
    )


def _load(
    outlines: Mapping[str, Outlines], classes: CocoClasses, kept: frozenset[str] | None, pair: SourcePair
) -> MaskArray:
    """Draw a pair's annotations; their outlines lie on disk."""
    of_file, details = outlines[pair.mask_file], _Details(*pair.details)
    drawings = tuple(
        Drawing(class_id, _is_wanted(class_id, classes, kept), of_file.region(place))
        for class_id, place in details.drawn
    )
    teller = f"{pair.mask_file}: an annotation of {details.file_name}"
    return load_drawings(drawings, details.height, details.width, teller)


def _is_wanted(class_id: int, classes: CocoClasses, kept: frozenset[str] | None) -> bool:
    return kept is None or class_id == IGNORE_INDEX or classes.names[class_id] in kept


def _group(entry: _Entry) -> str | None:
    """The group that isdm's export names, or the photograph that there are several versions of."""
    if "isdm" in entry.file.info:
        return entry.image.group
    return photograph_of(entry.path.stem, entry.split)


def _unlisted(entries: Sequence[_Entry]) -> list[str]:
    """A note on images beside those in use that no annotation file lists."""
    used = {entry.path_text for entry in entries}
    others = []
    for folder in sorted({entry.path.parent for entry in entries}):
        others += [path for path in files_in(folder, IMAGE_SUFFIXES) if str(path) not in used]
    if not others:
        return []
    return [f"{len(others)} image file(s), such as {others[0].name}, are not in use: no sound entry lists them"]
