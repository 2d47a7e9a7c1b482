"""Exports of Label Studio as JSON or JSON-MIN, with the images beside them.

    source/project-1-at-2024-01-01.json  source/images/3fa85f64-a.jpg       or without the prefix of the upload

Coordinates are percentages of the image. A smaller shape lies over a larger one, for Label Studio keeps no
order of depth. The classes are all labels found, sorted, or in the order of `classes.txt`. Of several
annotations of a task the ground truth is taken, else the one that was changed last.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from isdm.config import DataConfig
from isdm.data.annotated_shapes import Pixels, Shape, bitmap, box, load_drawn, picture_size, polygon, tried
from isdm.data.annotation_values import (
    check_size,
    class_ids,
    declared_labels,
    found_class_ids,
    label_text,
    number,
    point_list,
    shown,
)
from isdm.data.image_files import MaskArray
from isdm.data.json_lists import read_items
from isdm.data.label_studio_rle import brush_pixels, check_brush
from isdm.data.layouts.source import IMAGE_SUFFIXES, Source, SourcePair, image_files, inside
from isdm.data.pairs_on_disk import pairs_on_disk
from isdm.data.shapes import ellipse_pixels, turned_box_pixels
from isdm.data.tree_files import head, left_out_note, told_before, unique_stems
from isdm.data.unicode_names import composed
from isdm.errors import DataError
from isdm.on_disk import LazySequence, RecordsOnDisk

CLASS_FILES = ("classes.txt", "labels.txt")
UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")
LABELLED = ("polygonlabels", "rectanglelabels", "ellipselabels", "brushlabels", "bitmasklabels", "labels")
WITHOUT_AREA = ("keypointlabels", "keypoint", "vectorlabels", "vector")
UNLABELLED = ("polygon", "rectangle", "ellipse", "brush", "bitmask")
"""Regions whose label is in another result of the same id."""
NO_SHAPES = ("choices", "textarea", "text", "rating", "taxonomy", "number", "datetime", "pairwise", "ranker")

Region = Mapping[str, Any]


class Task(NamedTuple):
    """What is known of one picture: where the file says it, the picture's name there, and its regions."""

    where: str
    reference: str
    regions: list[Region]


class Annotated(NamedTuple):
    """A task whose picture was found."""

    where: str
    export: str
    image: str
    height: int
    width: int
    labels: list[str]
    """Those that its shapes have, each once."""
    is_sound: bool
    """Whether all its regions can be drawn."""


@dataclass
class Found:
    """The tasks of all exports; there may be hundreds of thousands, so they lie on disk."""

    tasks: RecordsOnDisk = field(default_factory=RecordsOnDisk)
    regions: RecordsOnDisk = field(default_factory=RecordsOnDisk)
    """Those of each task, from which its shapes are made again."""
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def task(self, place: int) -> Annotated:
        """One of the tasks."""
        return Annotated(*self.tasks[place])

    def all_tasks(self) -> Iterator[Annotated]:
        """The tasks in the order of the exports."""
        return map(self.task, range(len(self.tasks)))


def recognises(source: Path) -> bool:
    """A JSON file in the source that begins as Label Studio's exports do."""
    return bool(_exports(source))


def read(source: Path, config: DataConfig) -> Source:
    """Read the exports and find the images that they name."""
    exports = _exports(source)
    if not exports:
        raise DataError(f"{source} has no JSON file of Label Studio's; export the project as JSON and put it there.")
    declared = declared_labels(source, CLASS_FILES)
    found = _found(exports, source, declared)
    places, problems = _usable(found)
    labels = {label for place in places for label in found.task(place).labels}
    if declared:
        names, ids = class_ids(declared[1], declared[0])
    else:
        names, ids = found_class_ids(labels, exports[0], problems)
    stems = unique_stems(LazySequence(len(places), lambda row: Path(found.task(places[row]).image)), source)
    read_mask = partial(_load, found, ids)
    pairs = pairs_on_disk(
        SourcePair.of(Path(task.image), Path(task.export), stem, read_mask, details=place)
        for place, stem in zip(places, stems, strict=True)
        for task in [found.task(place)]
    )
    found.counts["empty"] = sum(not found.task(place).labels for place in places)
    order = f"in the order of {declared[0].name}" if declared else "all labels found, sorted"
    notes = [f"classes are {order}; a smaller shape lies over a larger one", *_notes(found.counts)]
    notes += left_out_note(source, (task.image for task in found.all_tasks()), "are in no task with an annotation")
    return Source(names, pairs, notes=notes, problems=problems)


def _found(exports: Sequence[Path], source: Path, declared: tuple[Path, list[str]] | None) -> Found:
    """Find the pictures of all tasks and check what is drawn on them."""
    found, images = Found(), _by_name(source)
    for export in exports:
        for task in _tasks(export, found.counts, found.problems):
            try:
                image = _image(task, source, images, export)
                size = picture_size(image)
            except DataError as error:
                text = str(error)
                found.problems.append(text if text.startswith(str(export)) else f"{task.where}: {text}")
                continue
            shapes, wrong = _shapes(task, image, size, declared, found.counts)
            found.problems += wrong
            labels = sorted({shape.label for shape in shapes})
            found.tasks.append(Annotated(task.where, str(export), str(image), *size, labels, not wrong))
            found.regions.append(task.regions)
    return found


def _usable(found: Found) -> tuple[list[int], list[str]]:
    """Places of the tasks that can be used, and a line for whatever keeps others from it."""
    places, problems = [], list(found.problems)
    for place, before in enumerate(told_before(lambda: ((task.image, task.where) for task in found.all_tasks()))):
        task = found.task(place)
        if before is not None:
            problems.append(f"{task.where} annotates {task.image}, as {before} does; remove one of them")
        elif task.is_sound:
            places.append(place)
    return places, problems


def _load(found: Found, ids: Mapping[str, int], pair: SourcePair) -> MaskArray:
    """Draw a pair's regions."""
    task = found.task(pair.details)
    size = task.height, task.width
    shapes, _ = _shapes(Task(task.where, "", found.regions[pair.details]), pair.image, size, None, Counter())
    return load_drawn(shapes, ids, size, task.where, smaller_on_top=True)


def _exports(source: Path) -> list[Path]:
    try:
        files = sorted(path for path in source.iterdir() if path.suffix.lower() == ".json" and path.is_file())
    except OSError:
        return []
    return [path for path in files if _looks_exported(head(path, 65536))]


def _looks_exported(start: bytes) -> bool:
    """A list of objects, with the keys of a task or of JSON-MIN's records among the first bytes."""
    if not re.match(rb"\s*\[\s*\{", start):
        return False
    task = b'"annotations"' in start and any(
        key in start for key in (b'"result"', b'"completed_by"', b'"was_cancelled"', b'"drafts"', b'"file_upload"')
    )
    record = re.search(rb'"annotation_id"|"original_width"|"format"\s*:\s*"rle"', start) is not None
    return task or (record and b'"annotations"' not in start)


def _tasks(export: Path, counts: Counter[str], problems: list[str]) -> Iterator[Task]:
    """The tasks of an export that have an annotation; the annotation is chosen as the module says."""
    records = RecordsOnDisk()
    latest: dict[tuple[str, str], tuple[str, int]] = {}
    several: set[tuple[str, str]] = set()
    for index, entry in enumerate(read_items(export), start=1):
        where = f"{export}, task {shown(entry.get('id', index)) if isinstance(entry, dict) else index}"
        try:
            if not isinstance(entry, dict):
                raise DataError(f"{where} is {shown(entry)}, not an object; export the project again")
            if "annotations" in entry:
                chosen = _chosen(entry["annotations"], where, counts)
                if chosen is not None:
                    yield Task(where, _reference(entry.get("data"), where), _flat(chosen, where))
            else:
                task = Task(where, _reference(entry, where), _record_regions(entry))
                updated = (shown(entry.get("updated_at")), records.append(task))
                key = (where, task.reference)
                several.update([key] if key in latest else [])
                latest[key] = max(updated, latest.get(key, updated))
        except DataError as error:
            problems.append(str(error))
    counts["several"] += len(several)
    for _, place in latest.values():  # JSON-MIN has a record for each annotation
        yield Task(*records[place])


def _chosen(annotations: object, where: str, counts: Counter[str]) -> Mapping[str, Any] | None:
    if not isinstance(annotations, list) or not all(isinstance(entry, dict) for entry in annotations):
        raise DataError(
            f"{where}: annotations is {shown(annotations)}; it must be a list of objects: export it again"
        )
    usable = [entry for entry in annotations if not entry.get("was_cancelled")]
    counts["without"] += not usable
    counts["several"] += len(usable) > 1
    order = [(bool(entry.get("ground_truth")), shown(entry.get("updated_at")), i) for i, entry in enumerate(usable)]
    return usable[max(order)[2]] if usable else None


def _flat(annotation: Mapping[str, Any], where: str) -> list[Region]:
    """The results of an annotation as JSON-MIN writes them, with the keys of `value` beside the others."""
    results = annotation.get("result")
    if not isinstance(results, list) or not all(isinstance(entry, dict) for entry in results):
        raise DataError(f"{where}: result is {shown(results)}; it must be a list of objects: export it again")
    regions: list[Region] = []
    for entry in results:
        value = entry.get("value")
        regions.append({**entry, **value} if isinstance(value, dict) else entry)
    return regions


def _record_regions(entry: Mapping[str, Any]) -> list[Region]:
    """The regions of a JSON-MIN record, which has a list of them for each tag of the labelling interface."""
    lists = [value for value in entry.values() if isinstance(value, list)]
    regions: list[Region] = []
    for region in (region for values in lists for region in values if isinstance(region, dict)):
        kind = next((key for key in LABELLED + WITHOUT_AREA + NO_SHAPES if key in region), "")
        if kind or "original_width" in region:  # other lists are the task's own data
            regions.append({"type": kind, **region})
    return regions


def _reference(data: object, where: str) -> str:
    """What the task calls its image: `image`, or whatever names a file of an image's suffix."""
    values = data if isinstance(data, dict) else {}
    named = values.get("image")
    if isinstance(named, str):
        return named
    texts = [value for value in values.values() if isinstance(value, str)]
    images = [text for text in texts if PurePosixPath(_path(text, where)).suffix.lower() in IMAGE_SUFFIXES]
    if len(images) != 1:
        raise DataError(f"{where} names {len(images)} images; it must name one, such as in data.image: export it so")
    return images[0]


def _path(reference: str, where: str) -> str:
    """The path within a reference: /data/upload/1/a.jpg, /data/local-files/?d=folder/a.jpg, s3://…, https://…"""
    try:
        parts = urlsplit(reference)
        local = parse_qs(parts.query).get("d")
    except ValueError as error:
        raise DataError(f"{where}: the image {shown(reference)} is no address ({error}); correct it") from None
    return (local[0] if local else unquote(parts.path)).replace("\\", "/")


def _by_name(source: Path) -> dict[str, list[str]]:
    """The source's images, as text below it, by the composed name of their file."""
    by_name: dict[str, list[str]] = {}
    for path in image_files(source):
        by_name.setdefault(composed(path.name), []).append(path.relative_to(source).as_posix())
    return by_name


def _image(task: Task, source: Path, images: Mapping[str, list[str]], export: Path) -> Path:
    """The file in the source that a task's reference means: of its name, and of its folders where several are."""
    parts = PurePosixPath(composed(_path(task.reference, task.where))).parts
    name = parts[-1] if parts else ""
    found = images.get(name) or images.get(UPLOAD_PREFIX.sub("", name)) or []
    if len(found) > 1:
        alike = [_common_tail(PurePosixPath(composed(file)).parts[:-1], parts[:-1]) for file in found]
        found = [file for file, tail in zip(found, alike, strict=True) if tail == max(alike)]
    if len(found) != 1:
        remedy = "rename them" if found else "put it there, such as into images/"
        raise DataError(f"{task.where}: {source} has {len(found)} images {shown(name)}, not one; {remedy}")
    return inside(source, found[0], export)


def _common_tail(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _shapes(
    task: Task,
    image: Path,
    size: tuple[int, int],
    declared: tuple[Path, list[str]] | None,
    counts: Counter[str],
) -> tuple[list[Shape], list[str]]:
    """The shapes of a task's regions, and a line for each that cannot be drawn."""
    with_label = {shown(region.get("id")) for region in task.regions if region.get("type") in LABELLED}
    shapes, wrong, pictures = [], [], set()
    for index, region in enumerate(task.regions, start=1):
        kind = region.get("type")
        if kind in NO_SHAPES or kind == "relation":
            counts["others"] += 1
            continue
        if kind in UNLABELLED and shown(region.get("id")) in with_label:
            continue
        try:
            if kind in WITHOUT_AREA:
                raise DataError("it has no area; draw it as a polygon or with a brush, or remove it")
            if kind not in LABELLED + UNLABELLED:
                raise DataError("it is of an unknown type; draw it as a polygon or with a brush, or remove it")
            name = _label(region, str(kind), declared)
            check_size((region.get("original_height"), region.get("original_width")), size, image)
            if region.get("image_rotation"):
                raise DataError(
                    f"image_rotation is {shown(region['image_rotation'])}; turn the image file and redraw it"
                )
            shapes.append(Shape(name, _pixels(region, *size)))
            counts["boxes"] += not {"points", "rle", "imageDataURL", "radiusX"} & region.keys()
            pictures.add(shown(region.get("to_name")))
        except DataError as error:
            wrong.append(f"{task.where}, region {index} ({shown(kind)}): {error}")
    if len(pictures) > 1:
        wrong.append(f"{task.where} has regions on {len(pictures)} images; make a task of each image")
    return shapes, wrong


def _label(region: Region, kind: str, declared: tuple[Path, list[str]] | None) -> str:
    labels = region.get(kind)
    if not isinstance(labels, list) or len(labels) != 1:
        raise DataError(f"its {kind} is {shown(labels)}; it must be one label: give it one class")
    name = label_text(labels[0])
    if declared is not None and name not in declared[1]:
        raise DataError(f"its label {shown(name)} is not in {declared[0].name}; add it there, or correct it")
    return name


def _pixels(region: Region, height: int, width: int) -> Pixels:
    """The pixels of a region, told by the keys that it has; lengths are percentages of the image's sides."""
    if "points" in region:
        points = [(x / 100 * width, y / 100 * height) for x, y in point_list(region["points"])]
        return polygon(points, height, width)
    if "rle" in region:
        content = _bytes(region["rle"])
        check_brush(content, height, width)
        return partial(brush_pixels, content)
    if "imageDataURL" in region:
        text = region["imageDataURL"]
        pixels, rows, columns = bitmap(text.partition(",")[2] if isinstance(text, str) else text, height, width)
        if (rows, columns) != (height, width):
            raise DataError(f"its bitmask is {columns}x{rows}, the image {width}x{height}; export it again")
        return pixels
    x, y = number(region.get("x"), "x") / 100 * width, number(region.get("y"), "y") / 100 * height
    turn = number(region.get("rotation") or 0, "rotation")
    if "radiusX" in region:
        radius_x = number(region["radiusX"], "radiusX") / 100 * width
        radius_y = number(region.get("radiusY"), "radiusY") / 100 * height
        return tried(partial(ellipse_pixels, x, y, radius_x, radius_y, turn), height, width)
    box_width = number(region.get("width"), "width") / 100 * width
    box_height = number(region.get("height"), "height") / 100 * height
    if not turn:
        return box(x, y, x + box_width, y + box_height, height, width)
    # Label Studio turns a rectangle around its upper left corner.
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    middle_x = x + (box_width * cosine - box_height * sine) / 2
    middle_y = y + (box_width * sine + box_height * cosine) / 2
    return tried(partial(turned_box_pixels, middle_x, middle_y, box_width, box_height, turn), height, width)


def _bytes(rle: object) -> bytes:
    try:
        return bytes(rle) if isinstance(rle, list) else b""
    except (TypeError, ValueError):
        raise DataError(f"its rle is {shown(rle)}; it must be whole numbers from 0 to 255: export it again") from None


def _notes(counts: Counter[str]) -> list[str]:
    meanings = {
        "boxes": "rectangle(s) were filled",
        "several": "task(s) have more than one annotation; the ground truth was taken, else the one changed last",
        "without": "task(s) without a submitted annotation were left out",
        "empty": "image(s) whose annotation has no shape are all background",
        "others": "result(s) that are no shapes, such as choices, were ignored",
    }
    return [f"{counts[key]} {meaning}" for key, meaning in meanings.items() if counts[key]]
