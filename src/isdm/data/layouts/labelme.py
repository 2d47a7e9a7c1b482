"""Annotations of LabelMe: one JSON file an image, which names its image relative to itself.

    source/a.jpg  source/a.json       or   source/images/a.jpg  source/annotations/a.json ("../images/a.jpg")

Shapes lie over one another in the file's order, as LabelMe's own conversion draws them. `labels.txt` or
`classes.txt` in the source gives the classes' order; without it they are all labels found, sorted. Shapes
labelled `__ignore__` are ignored pixels.
"""

import math
import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

from isdm.config import DataConfig
from isdm.data.annotated_shapes import Pixels, Shape, bitmap, box, load_drawn, picture_size, polygon
from isdm.data.annotation_values import (
    check_size,
    class_ids,
    declared_labels,
    found_class_ids,
    label_text,
    point_list,
    shown,
)
from isdm.data.dataset import IGNORE_INDEX
from isdm.data.image_files import MaskArray
from isdm.data.layouts.source import IMAGE_SUFFIXES, Source, SourcePair, inside, of_file
from isdm.data.pairs_on_disk import pairs_on_disk
from isdm.data.shapes import BoolArray, check_inside, line_pixels
from isdm.data.tree_files import first_files, head, is_file, left_out_note, split_of, unique_stems
from isdm.errors import DataError
from isdm.files import read_json

IGNORE_LABEL = "__ignore__"
LABEL_FILES = ("labels.txt", "classes.txt")
LINE_WIDTH_PX = 10.0
POINT_RADIUS_PX = 5.0
POLYGONS = ("polygon", "oriented_rectangle", "rotation")
LINES = ("line", "linestrip")
POINTS = ("point", "points")
KEYS_BESIDE_SHAPES = (b'"version"', b'"flags"', b'"label"', b'"imagePath"')
KINDS = (*POLYGONS, "rectangle", "circle", "mask", *LINES, *POINTS)


class Annotated(NamedTuple):
    """An image, its JSON file and the shapes in it."""

    image: Path
    json: Path
    size: tuple[int, int]
    shapes: list[Shape]
    kinds: list[str]
    found_beside: bool


def recognises(source: Path) -> bool:
    """A JSON file, at most two folders deep, that begins as LabelMe writes them."""
    return any(
        start.lstrip().startswith(b"{") and b'"shapes"' in start and any(key in start for key in KEYS_BESIDE_SHAPES)
        for start in (head(path) for path in first_files(source, {".json"}, depth=2))
    )


def read(source: Path, config: DataConfig) -> Source:
    """Check every JSON file and pair it with the image that it names."""
    declared = declared_labels(source, LABEL_FILES)
    taken: dict[Path, Path] = {}
    found: list[tuple[Path, Path]] = []
    labels: set[str] = set()
    kinds: Counter[str] = Counter()
    others, problems = [], []
    for path in sorted(source.rglob("*.json")):
        if any(part.startswith(".") for part in path.relative_to(source).parts):
            continue
        try:
            inside(source, path.relative_to(source).as_posix(), source)
            data = read_json(path)
            if not isinstance(data, dict) or not {"shapes", "imagePath"} & data.keys():
                others.append(path.name)
                continue
            annotated, wrong = _annotated(path, data, source, declared)
        except DataError as error:
            problems.append(str(error))
            continue
        labels.update(shape.label for shape in annotated.shapes)
        if annotated.image in taken:
            wrong.append(f"{path} annotates {annotated.image}, as {taken[annotated.image]} does; keep one of them")
        taken.setdefault(annotated.image, path)
        problems += wrong
        if not wrong:
            found.append((annotated.image, path))
            kinds.update(annotated.kinds or ["nothing"])
            kinds["beside"] += annotated.found_beside
    names, ids = _classes(labels, declared, source, problems)
    stems = unique_stems([image for image, _ in found], source)
    read = of_file(partial(load_mask, source=source, ids=ids))
    pairs = pairs_on_disk(
        SourcePair.of(image, path, stem, read, split=split_of(image.relative_to(source).parts[:-1]))
        for (image, path), stem in zip(found, stems, strict=True)
    )
    notes = [
        *_notes(kinds, others, declared),
        *left_out_note(source, taken, "have no JSON file, so may show anything,"),
    ]
    return Source(names, pairs, notes=notes, problems=problems)


def load_mask(path: Path, source: Path, ids: Mapping[str, int]) -> MaskArray:
    """Draw the shapes of a JSON file; it is read anew, for it may hold the image too and be large."""
    annotated, wrong = _annotated(path, read_json(path), source, None)
    if wrong:
        raise DataError(wrong[0])
    return load_drawn(annotated.shapes, ids, annotated.size, str(path))


def _annotated(
    path: Path, data: Mapping[str, Any], source: Path, declared: tuple[Path, list[str]] | None
) -> tuple[Annotated, list[str]]:
    """What a JSON file annotates, and a line for each of its shapes that cannot be drawn."""
    image, beside = _image(path, data, source)
    size = picture_size(image)
    entries = data.get("shapes")
    if not isinstance(entries, list):
        raise DataError(f"{path}: shapes is {shown(entries)}; it must be a list: annotate {image.name} again")
    try:
        check_size((data.get("imageHeight"), data.get("imageWidth")), size, image)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    shapes, kinds, wrong = [], [], []
    for index, entry in enumerate(entries, start=1):
        try:
            if not isinstance(entry, dict):
                raise DataError(f"it is {shown(entry)}, not an object with label and points: remove it")
            name = label_text(entry.get("label"))
            if declared is not None and name not in (*declared[1], IGNORE_LABEL):
                raise DataError(f"its label {shown(name)} is not in {declared[0].name}; add it there, or correct it")
            kind = entry.get("shape_type") or "polygon"
            shapes.append(Shape(name, _pixels(kind, entry, *size)))
            kinds.append(kind)
        except DataError as error:
            wrong.append(f"{path}, shape {index}: {error}")
    return Annotated(image, path, size, shapes, kinds, beside), wrong


def _image(path: Path, data: Mapping[str, Any], source: Path) -> tuple[Path, bool]:
    """The image of a JSON file, and whether it was found beside it, though imagePath does not lead there.

    LabelMe itself opens the JSON file that has the image's stem, so an image that was renamed together with
    its JSON file is still the right one.
    """
    name = data.get("imagePath")
    if not isinstance(name, str):
        raise DataError(f"{path}: imagePath is {shown(name)}; it must name the image, relative to the JSON file")
    image = _named(path, name, source)
    if image is not None and is_file(image):
        return image, False
    beside = _beside(path, name, source)
    if beside is not None:
        return beside, True
    if image is None:
        raise DataError(f"{path}: imagePath {shown(name)} leads out of {source}; put the image beside the JSON file")
    remedy = "put it there"
    if data.get("imageData"):
        remedy = "the JSON file holds a copy in imageData: save that there (labelme_export_json does)"
    raise DataError(f"{path}: its image {image} does not exist; {remedy}")


def _named(path: Path, name: str, source: Path) -> Path | None:
    """Where a path relative to a JSON file leads, None for out of the source."""
    relative = path.parent.relative_to(source).as_posix()
    if PureWindowsPath(name).drive or not name.strip():
        return None
    try:
        return inside(source, posixpath.join(relative, name.replace("\\", "/")), path)
    except DataError:
        return None


def _beside(path: Path, name: str, source: Path) -> Path | None:
    """The image in the folder of a JSON file: of the name that a path from elsewhere ends in, else of the stem."""
    suffixes = (form for suffix in sorted(IMAGE_SUFFIXES) for form in (suffix, suffix.upper()))
    for files in ([PureWindowsPath(name).name], [f"{path.stem}{suffix}" for suffix in suffixes]):
        found = [image for file in files if (image := _named(path, file, source)) is not None and is_file(image)]
        if len(found) == 1:
            return found[0]
    return None


def _pixels(kind: object, entry: Mapping[str, Any], height: int, width: int) -> Pixels:
    if kind not in KINDS:
        raise DataError(f"its shape_type {shown(kind)} is unknown; draw it as one of {', '.join(KINDS)}")
    points = point_list(entry.get("points"))
    if kind in POLYGONS or (kind == "rectangle" and len(points) == 4):
        return polygon(points, height, width)
    if kind in LINES or kind in POINTS:
        check_inside(points, height, width, str(kind))
        if len(points) < (2 if kind in LINES else 1):
            raise DataError(f"the {kind} has {len(points)} point(s), too few; redraw or remove it")
        return partial(_stroke if kind in LINES else _dots, points)
    if len(points) != 2:
        raise DataError(f"the {kind} has {len(points)} point(s); it needs two: redraw or remove it")
    (x, y), (other_x, other_y) = points
    if kind == "circle":
        check_inside([(x, y)], height, width, "circle's centre")
        radius = math.hypot(other_x - x, other_y - y)
        if not 0 < radius < math.inf:
            raise DataError(f"the circle has the radius {radius:g}; it must be above 0: redraw or remove it")
        return partial(line_pixels, [(x, y)], 2 * radius)
    if kind == "rectangle":
        return box(x, y, other_x, other_y, height, width)
    check_inside(points, height, width, "mask's box")
    pixels, rows, columns = bitmap(entry.get("mask"), height, width, round(x), round(y))
    if abs(other_y - y + 1 - rows) > 1 or abs(other_x - x + 1 - columns) > 1:
        raise DataError(
            f"the mask is {columns}x{rows} but its points span {other_x - x + 1:g}x{other_y - y + 1:g}; redraw it"
        )
    return pixels


def _stroke(points: list[tuple[float, float]], height: int, width: int) -> BoolArray:
    return line_pixels(points, LINE_WIDTH_PX, height, width)


def _dots(points: list[tuple[float, float]], height: int, width: int) -> BoolArray:
    pixels = line_pixels(points[:1], 2 * POINT_RADIUS_PX, height, width)
    for point in points[1:]:
        pixels |= line_pixels([point], 2 * POINT_RADIUS_PX, height, width)
    return pixels


def _classes(
    labels: set[str], declared: tuple[Path, list[str]] | None, source: Path, problems: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, int]]:
    if declared:
        names, ids = class_ids([name for name in declared[1] if name != IGNORE_LABEL], declared[0])
    else:
        names, ids = found_class_ids(labels - {IGNORE_LABEL}, source, problems)
    return names, {**ids, IGNORE_LABEL: IGNORE_INDEX}


def _notes(kinds: Counter[str], others: list[str], declared: tuple[Path, list[str]] | None) -> list[str]:
    order = f"the order of {declared[0].name}" if declared else "all labels found, sorted"
    notes = [f"classes are {order}; later shapes lie over earlier ones, and {IGNORE_LABEL} is ignored pixels"]
    for chosen, meaning in (
        (("rectangle",), "rectangle(s) were filled"),
        (
            LINES,
            f"line(s) were drawn {LINE_WIDTH_PX:g} pixels wide, as LabelMe's own conversion does, with round ends",
        ),
        (POINTS, f"point shape(s) were drawn with a radius of {POINT_RADIUS_PX:g} pixels, as LabelMe's does"),
    ):
        count = sum(kinds[kind] for kind in chosen)
        if count:
            notes.append(f"{count} {meaning}")
    if kinds["nothing"]:
        notes.append(f"{kinds['nothing']} image(s) whose JSON file has no shape are all background")
    if kinds["beside"]:
        notes.append(
            f"{kinds['beside']} image(s) are not where imagePath says but beside the JSON file that names them"
        )
    if others:
        notes.append(f"{len(others)} JSON file(s) that are not LabelMe's were left out: {', '.join(others[:3])}")
    return notes
