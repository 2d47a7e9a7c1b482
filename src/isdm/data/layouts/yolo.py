"""Outlines in the text form of YOLO's segmentation (Ultralytics, Roboflow, Label Studio).

    source/data.yaml  source/images/train/a.jpg  source/labels/train/a.txt      or  source/train/images/…

A line is `class x1 y1 x2 y2 …` in fractions of the image's sides. `names` in data.yaml, or `classes.txt`, name the
classes: YOLO's class i becomes the id i + 1, for 0 is the background here. An image without a label file is
all background, but a validation or test split without any label file is left out. The form keeps no order of
depth, so a smaller outline lies over a larger one; nor has it holes. Roboflow's versions of one photograph are a
group.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from isdm.config import DataConfig
from isdm.data.annotated_shapes import Shape, load_drawn, picture_size, polygon
from isdm.data.annotation_values import class_ids, shown
from isdm.data.dataset import Split
from isdm.data.image_files import MaskArray
from isdm.data.layouts.source import Source, SourcePair, inside
from isdm.data.pairs_on_disk import pairs_on_disk
from isdm.data.photographs import photograph_of
from isdm.data.shapes import TOLERANCE_PX
from isdm.data.tree_files import files_in, first_files, head, is_file, left_out_note, text_lines, unique_stems
from isdm.data.unicode_names import stored
from isdm.data.unlabelled import unlabelled_splits
from isdm.data.yolo_tree import CLASSES, IMAGES, Listed, find_images, read_settings, settings_files
from isdm.errors import DataError
from isdm.text import listed

LABELS = "labels"
VALUES_OF_A_BOX = 5


def recognises(source: Path) -> bool:
    """data.yaml with names, or classes.txt and images/, and a text file in a folder labels/."""
    named = any(re.search(rb"(?m)^names\s*:", head(path, 1 << 20)) for path in settings_files(source))
    if not named and not (is_file(source / CLASSES) and (source / IMAGES).is_dir()):
        return False
    texts = first_files(source, {".txt"}, depth=2)
    return any(LABELS in path.relative_to(source).parts[:-1] and path.name != CLASSES for path in texts)


def read(source: Path, config: DataConfig) -> Source:
    """Read the settings, find each split's images and check their label files line by line."""
    settings = read_settings(source)
    listed = find_images(source, settings)
    names, ids = class_ids([settings.names[index] for index in sorted(settings.names)], settings.file)
    without_labels, left_out = unlabelled_splits(_labelled(source, listed), "a label file")
    problems, notes = list(listed.problems), [*listed.notes, *left_out]
    counts: Counter[str] = Counter()
    kept: list[tuple[Path, Path, Split | None]] = []
    known: set[Path] = set()
    for split, images in listed.images.items():
        for image in images if split not in without_labels else ():
            file = _label_file(source, image)
            try:
                if file in known:
                    raise DataError(f"{image} shares {file} with another image; give them different names")
                known.add(file)
                shapes, wrong = _shapes(file, source, settings.names, picture_size(image))
            except DataError as error:
                problems.append(str(error))
                continue
            problems += wrong
            counts["empty"] += not shapes
            if not wrong:
                kept.append((image, file, split))
    if not listed.from_lists:
        problems += _orphans(known)
    stems = unique_stems([image for image, _, _ in kept], source)
    read = partial(_read, source=source, names=settings.names, ids=ids)
    pairs = pairs_on_disk(
        SourcePair.of(
            image,
            file if is_file(file) else image,
            stem,
            read,
            group=photograph_of(image.stem, split),
            split=split,
        )
        for (image, file, split), stem in zip(kept, stems, strict=True)
    )
    notes.insert(
        0,
        f"classes are those of {settings.file.name}, after a background; a smaller outline lies over a larger one, "
        "and holes cannot be told in this form",
    )
    if counts["empty"]:
        notes.append(f"{counts['empty']} image(s) without a label file, or with an empty one, are all background")
    taken = [image for images in listed.images.values() for image in images]
    notes += left_out_note(source, taken, f"are not among those that {settings.file.name} names")
    return Source(names, pairs, notes=notes, problems=problems)


def _labelled(source: Path, listed: Listed) -> Iterator[tuple[Split | None, bool]]:
    """Of each image its split, and whether it has a label file, which may be empty."""
    for split, images in listed.images.items():
        for image in images:
            yield split, is_file(_label_file(source, image))


def _read(pair: SourcePair, source: Path, names: Mapping[int, str], ids: Mapping[str, int]) -> MaskArray:
    if pair.mask == pair.image:  # it has no label file
        return load_drawn([], ids, picture_size(pair.image), str(pair.image))
    return load_mask(pair.image, pair.mask, source, names, ids)


def load_mask(image: Path, file: Path, source: Path, names: Mapping[int, str], ids: Mapping[str, int]) -> MaskArray:
    """Draw the outlines of a label file over a background of the image's size."""
    size = picture_size(image)
    shapes, wrong = _shapes(file, source, names, size)
    if wrong:
        raise DataError(wrong[0])
    return load_drawn(shapes, ids, size, str(file), smaller_on_top=True)


def _shapes(
    file: Path, source: Path, names: Mapping[int, str], size: tuple[int, int]
) -> tuple[list[Shape], list[str]]:
    """The outlines of a label file, none where there is no such file, and a line for each that is wrong."""
    if not is_file(file):
        return [], []
    inside(source, file.relative_to(source).as_posix(), source)
    shapes, wrong = [], []
    for index, line in enumerate(text_lines(file), start=1):
        values = line.split()
        if values:
            try:
                shapes.append(_shape(values, names, *size))
            except DataError as error:
                wrong.append(f"{file}, line {index}: {error}")
    return shapes, wrong


def _shape(values: list[str], names: Mapping[int, str], height: int, width: int) -> Shape:
    numbers = [_number(value) for value in values]
    if len(numbers) == VALUES_OF_A_BOX:
        raise DataError("its 5 values are a box, which is no mask; label outlines (segmentation), or remove the line")
    if len(numbers) % 2 == 0 or len(numbers) < 7:
        raise DataError(
            f"it has {len(numbers)} values; an outline is a class and pairs x y of at least three points: "
            "redraw or remove it"
        )
    if numbers[0] not in names:
        raise DataError(f"its class is {shown(values[0])}; known are {listed(sorted(names))}: correct it")
    for place, size in enumerate((width, height)):
        for value in numbers[1 + place :: 2]:
            if not -TOLERANCE_PX <= value * size <= size + TOLERANCE_PX:
                raise DataError(
                    f"its coordinate {value:g} is not between 0 and 1, a fraction of the image's side; "
                    "redraw or remove it"
                )
    points = [(x * width, y * height) for x, y in zip(numbers[1::2], numbers[2::2], strict=True)]
    return Shape(names[int(numbers[0])], polygon(points, height, width))


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"it holds {shown(text)}, which is no number; correct or remove the line")
    return value


def _label_file(source: Path, image: Path) -> Path:
    """Where the labels of an image are: the last folder images/ becomes labels/; without one, beside it."""
    parts = list(image.relative_to(source).with_suffix(".txt").parts)
    places = [index for index, part in enumerate(parts[:-1]) if part == IMAGES]
    if places:
        parts[places[-1]] = LABELS
    return stored(source.joinpath(*parts))


def _orphans(files: set[Path]) -> list[str]:
    """A line for each label file without an image, in the folders where others have one."""
    folders = sorted({file.parent for file in files if file.parent.is_dir()})
    return [
        f"{file} has no image of its name; put the image back, or remove it"
        for folder in folders
        for file in files_in(folder, (".txt",))
        if file not in files and (file.name != CLASSES and LABELS in file.parts)
    ]
