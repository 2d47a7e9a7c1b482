"""Exports of CVAT in its own form "CVAT for images 1.1".

    source/annotations.xml  source/images/a.jpg      or   source/images/train/a.jpg, for images of a subset

Shapes lie over one another by their z_order, then in the file's order. The classes are the labels that the
task declares, in their order and with their colours; an image without shapes is all background.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError, tostring

import numpy as np
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring, iterparse

from isdm.config import DataConfig
from isdm.data.annotated_shapes import Pixels, Shape, box, load_drawn, picture_size, polygon, tried
from isdm.data.annotation_values import check_size, class_ids, label_text, number, shown
from isdm.data.image_files import MaskArray
from isdm.data.layouts.source import IMAGE_SUFFIXES, Source, SourcePair, class_colours, inside
from isdm.data.pairs_on_disk import pairs_on_disk
from isdm.data.shapes import check_box, ellipse_pixels, run_pixels, turned_box_pixels
from isdm.data.tree_files import head, is_file, left_out_note, split_of, told_before, unique_stems
from isdm.errors import DataError
from isdm.on_disk import LazySequence, RecordsOnDisk

ANNOTATIONS = "annotations.xml"
IMAGES = "images"
WITHOUT_AREA = ("polyline", "points", "cuboid", "skeleton")

Colour = tuple[int, int, int]


class Annotated(NamedTuple):
    """An image that was found."""

    image: str
    height: int
    width: int
    subset: str
    where: str
    labels: list[str]
    """Those that its shapes have, each once."""
    is_sound: bool
    """Whether all its shapes can be drawn."""


@dataclass
class Export:
    """What annotations.xml holds; the images, of which there may be hundreds of thousands, lie on disk."""

    labels: list[str] = field(default_factory=list)
    colours: dict[str, Colour] = field(default_factory=dict)
    images: RecordsOnDisk = field(default_factory=RecordsOnDisk)
    elements: RecordsOnDisk = field(default_factory=RecordsOnDisk)
    """XML of each image, from which its shapes are read again."""
    problems: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    """How often each kind of shape occurs."""

    def image(self, place: int) -> Annotated:
        """One of the images."""
        return Annotated(*self.images[place])

    def all_images(self) -> Iterator[Annotated]:
        """The images in the file's order."""
        return map(self.image, range(len(self.images)))

    def shapes(self, place: int) -> list[tuple[str, Shape]]:
        """An image's shapes from back to front, each with its place in the file."""
        entry = self.image(place)
        shapes, _ = _shapes(fromstring(self.elements[place]), entry.where, entry.height, entry.width)
        return shapes


def recognises(source: Path) -> bool:
    """annotations.xml whose root is CVAT's."""
    return b"<annotations>" in head(source / ANNOTATIONS)


def read(source: Path, config: DataConfig) -> Source:
    """Read annotations.xml and find the images that it names."""
    path = source / ANNOTATIONS
    export = _export(path, source)
    names, ids = class_ids(export.labels, path)
    places, problems = _usable(export, ids)
    stems = unique_stems(LazySequence(len(places), lambda row: Path(export.image(places[row]).image)), source)
    read_mask = partial(_load, export, ids)
    pairs = pairs_on_disk(
        SourcePair.of(Path(entry.image), path, stem, read_mask, split=split_of([entry.subset]), details=place)
        for place, stem in zip(places, stems, strict=True)
        for entry in [export.image(place)]
    )
    empty = sum(not export.image(place).labels for place in places)
    taken = (entry.image for entry in export.all_images())
    notes = [
        *_notes(export.counts, empty),
        *left_out_note(source, taken, f"are not in {ANNOTATIONS}"),
    ]
    return Source(names, pairs, _colours(names, export.colours), notes, problems=[*export.problems, *problems])


def _usable(export: Export, ids: Mapping[str, int]) -> tuple[list[int], list[str]]:
    """Places of the images that can be used, and a line for whatever keeps another from it."""
    places, problems = [], []
    for place, before in enumerate(
        told_before(lambda: ((entry.image, entry.where) for entry in export.all_images()))
    ):
        entry = export.image(place)
        is_known = ids.keys() >= set(entry.labels)
        if entry.is_sound and not is_known:
            problems += [
                f"{where}: its label {shown(shape.label)} is not among the task's labels; correct it, or add it there"
                for where, shape in export.shapes(place)
                if shape.label not in ids
            ]
        if before is not None:
            problems.append(f"{entry.where} is {entry.image}, as {before} is; remove one of them")
        elif entry.is_sound and is_known:
            places.append(place)
    return places, problems


def _load(export: Export, ids: Mapping[str, int], pair: SourcePair) -> MaskArray:
    """Draw a pair's shapes."""
    entry = export.image(pair.details)
    shapes = [shape for _, shape in export.shapes(pair.details)]
    return load_drawn(shapes, ids, (entry.height, entry.width), entry.where)


def _export(path: Path, source: Path) -> Export:
    """Read annotations.xml image by image, so that its XML is never in memory as a whole."""
    export = Export()
    for element in _top_elements(path):
        if element.tag == "meta":
            _add_labels(export, element, path)
        elif element.tag == "track":
            raise DataError(
                f"{path} holds tracks, so was exported for video; export it as 'CVAT for images 1.1' instead."
            )
        elif element.tag == "image":
            _add_image(export, element, path, source)
    return export


def _top_elements(path: Path) -> Iterator[Element]:
    """The root's children, each whole and then forgotten."""
    root: Element | None = None
    depth = 0
    for event, element in _events(path):
        if event == "start":
            if root is None:
                root = element
                if root.tag != "annotations":
                    raise DataError(f"{path} begins with <{root.tag}>, not <annotations>; export it from CVAT again.")
            depth += 1
            continue
        depth -= 1
        if depth == 1 and root is not None:
            yield element
            root.clear()


def _events(path: Path) -> Iterator[tuple[str, Element]]:
    try:
        yield from iterparse(str(path), events=("start", "end"))
    except (ParseError, DefusedXmlException, LookupError, ValueError) as error:
        raise DataError(f"{path} is not valid XML ({error}); export it again.") from None
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}); export the task as 'CVAT for images 1.1'."
        ) from None


def _add_labels(export: Export, meta: Element, path: Path) -> None:
    for element in meta.iter("label"):
        if element.find("name") is None or element.findtext("parent"):
            continue  # a part of a skeleton
        try:
            name = label_text(element.findtext("name"))
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        export.labels.append(name)
        match = re.fullmatch(r"#([0-9a-fA-F]{6})", (element.findtext("color") or "").strip())
        if match:
            red, green, blue = bytes.fromhex(match.group(1))
            export.colours[name] = (red, green, blue)


def _add_image(export: Export, element: Element, path: Path, source: Path) -> None:
    name, subset = element.get("name", ""), element.get("subset", "")
    where = f"{path}, image {shown(name)}"
    try:
        image = _image(name, subset, path, source)
        size = picture_size(image)
        check_size((_whole(element, "height"), _whole(element, "width")), size, image)
    except DataError as error:
        export.problems.append(str(error) if str(error).startswith(str(path)) else f"{where}: {error}")
        return
    shapes, wrong = _shapes(element, where, *size)
    export.problems += wrong
    if not wrong:
        export.counts.update(child.tag for child in element)
    labels = sorted({shape.label for _, shape in shapes})
    export.images.append(Annotated(str(image), *size, subset, where, labels, not wrong))
    element.tail = None  # what is between two images
    export.elements.append(tostring(element, encoding="unicode"))


def _shapes(element: Element, where: str, height: int, width: int) -> tuple[list[tuple[str, Shape]], list[str]]:
    """The shapes of an image's element from back to front, each with its place in the file, and what is wrong."""
    drawn: list[tuple[int, str, Shape]] = []
    wrong = []
    for index, child in enumerate(element, start=1):
        if child.tag == "tag":
            continue
        place = f"{where}, shape {index} ({shown(child.tag)})"
        try:
            shape = Shape(label_text(child.get("label")), _pixels(child, height, width))
            drawn.append((_whole(child, "z_order", "0"), place, shape))
        except DataError as error:
            wrong.append(f"{place}: {error}")
    drawn.sort(key=lambda entry: entry[0])  # stable: the file's order within a z_order
    return [(place, shape) for _, place, shape in drawn], wrong


def _image(name: str, subset: str, path: Path, source: Path) -> Path:
    """The file of an image, which CVAT saves below images/, perhaps in a folder of its subset."""
    places = [f"{IMAGES}/{subset}/{name}", f"{IMAGES}/{name}", f"{subset}/{name}", name]
    if not subset:
        places = [places[1], places[3]]
    if not name.strip() or Path(name).is_absolute():
        places = [name]
    for place in places:
        # A frame of a video is named without the suffix that its picture is saved with.
        suffixes = ["", *(form for suffix in sorted(IMAGE_SUFFIXES) for form in (suffix, suffix.upper()))]
        for suffix in suffixes[: 1 if Path(name).suffix else None]:
            file = inside(source, f"{place}{suffix}", path)
            if is_file(file):
                return file
    raise DataError(
        f"{path}: the image {shown(name)} is not in {source / IMAGES}; export with images, or put it there"
    )


def _pixels(element: Element, height: int, width: int) -> Pixels:
    """The pixels of a shape's element."""
    if element.tag == "polygon":
        return polygon(_points(element), height, width)
    if element.tag == "box":
        left, top, right, bottom = (_value(element, name) for name in ("xtl", "ytl", "xbr", "ybr"))
        turn = _value(element, "rotation", "0")
        if not turn:
            return box(left, top, right, bottom, height, width)
        sizes = abs(right - left), abs(bottom - top)
        return tried(partial(turned_box_pixels, (left + right) / 2, (top + bottom) / 2, *sizes, turn), height, width)
    if element.tag == "ellipse":
        x, y, radius_x, radius_y = (_value(element, name) for name in ("cx", "cy", "rx", "ry"))
        turn = _value(element, "rotation", "0")
        return tried(partial(ellipse_pixels, x, y, radius_x, radius_y, turn), height, width)
    if element.tag == "mask":
        left, top, columns, rows = (_whole(element, name) for name in ("left", "top", "width", "height"))
        check_box((left, top, columns, rows), height, width)
        runs = element.get("rle", "").split(",")
        if not all(re.fullmatch(r"\s*[0-9]{1,10}\s*", run) for run in runs):
            raise DataError(
                f"its rle is {shown(element.get('rle'))}; it must be numbers between commas: export it again"
            )
        return tried(partial(run_pixels, np.array(runs, np.int64), (left, top, columns, rows)), height, width)
    if element.tag in WITHOUT_AREA:
        raise DataError("it has no area; draw it as a polygon or a mask, or remove it")
    raise DataError("it is no shape of CVAT's; draw it as a polygon or a mask, or remove it")


def _points(element: Element) -> list[tuple[float, float]]:
    text = element.get("points", "")
    points = [point.split(",") for point in text.split(";")]
    if any(len(point) != 2 for point in points):
        raise DataError(f"its points are {shown(text)}; they must be x,y between semicolons: redraw or remove it")
    return [(_parsed(x, "the coordinate"), _parsed(y, "the coordinate")) for x, y in points]


def _value(element: Element, name: str, default: str = "") -> float:
    return _parsed(element.get(name, default), name)


def _parsed(text: str, name: str) -> float:
    try:
        return number(float(text), name)
    except ValueError:
        raise DataError(f"{name} is {shown(text)}; it must be a number: redraw or remove it") from None


def _whole(element: Element, name: str, default: str = "") -> int:
    text = element.get(name, default)
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise DataError(f"{name} is {shown(text)}; it must be a whole number: export it again")
    return int(text)


def _colours(names: tuple[str, ...], colours: dict[str, Colour]) -> tuple[Colour, ...]:
    """The labels' colours, where each class has one of its own."""
    chosen = ((0, 0, 0), *(colours.get(name, (0, 0, 0)) for name in names[1:]))
    return chosen if len(set(chosen)) == len(chosen) else class_colours(len(names))


def _notes(counts: Counter[str], empty: int) -> list[str]:
    notes = [
        f"classes and colours are the labels of {ANNOTATIONS}; shapes lie over one another by their z_order, "
        "then in the file's order"
    ]
    if counts["box"]:
        notes.append(f"{counts['box']} box(es) were filled")
    if counts["tag"]:
        notes.append(f"{counts['tag']} tag(s), which mark a whole image, were ignored")
    if empty:
        notes.append(f"{empty} image(s) without a shape are all background")
    return notes
