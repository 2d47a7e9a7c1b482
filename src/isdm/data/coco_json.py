"""One file of COCO annotations, checked entry by entry: what it says of each image, and what is wrong with it."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from isdm.data.annotation_values import shown
from isdm.data.coco_regions import MOST_PIXELS, Region, check_region, parse_region
from isdm.data.json_lists import read_lists
from isdm.errors import DataError
from isdm.on_disk import RecordsOnDisk

Key = int | str
"""An id in the file."""


class Category(NamedTuple):
    """What a file says of a category."""

    name: str
    supercategory: str
    ignored: bool
    """Its annotations mark pixels to be ignored (isdm's own exports)."""


class Annotation(NamedTuple):
    """An object in an image; its category is in the file's categories."""

    category: Key
    place: int
    """Of its name and segmentation among the file's outlines."""


@dataclass(slots=True)
class CocoImage:
    """An image entry and its annotations."""

    file_name: str
    height: int
    width: int
    group: str | None = None
    annotations: list[Annotation] = field(default_factory=list)


class Outlines:
    """Names and segmentations of a file's annotations, on disk: they take more memory than all else."""

    def __init__(self) -> None:
        self._records = RecordsOnDisk()

    def add(self, name: str, segmentation: Any) -> int:
        """Check and keep a segmentation; gives its place.

        Raises:
            DataError: see `parse_region`.
        """
        parse_region(segmentation)
        return self._records.append((name, segmentation))

    def name(self, place: int) -> str:
        """What messages call an annotation."""
        found: str = self._records[place][0]
        return found

    def region(self, place: int) -> Region:
        """The pixels of an annotation."""
        return parse_region(self._records[place][1])


@dataclass
class CocoFile:
    """The sound part of one file, and a line for everything that is not."""

    path: Path
    categories: dict[Key, Category] = field(default_factory=dict)
    images: dict[Key, CocoImage] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    """The member `info`, if it is an object."""
    problems: list[str] = field(default_factory=list)
    outlines: Outlines = field(default_factory=Outlines)


class _Reader:
    """Takes the entries in whatever order the file has them, then brings them together."""

    def __init__(self, path: Path) -> None:
        self.file = CocoFile(path)
        self.ids: Counter[Key] = Counter()
        """How often each image id occurs."""
        self.bad_categories: set[Key] = set()
        self.annotations: dict[Key, list[Annotation]] = defaultdict(list)
        self.broken: dict[Key, dict[str, list[str]]] = defaultdict(dict)
        """For an image id, what is wrong and the annotations that it is wrong with."""

    def take_category(self, number: int, entry: Any) -> None:
        try:
            key = _id(entry, "id")
        except DataError as error:
            self._problem(f"categories[{number}] {error}")
            return
        try:
            name = _text(entry, "name")
        except DataError as error:
            self._problem(f"category {shown(key)} {error}")
            self.bad_categories.add(key)
            return
        if key in self.file.categories or key in self.bad_categories:
            self._problem(f"categories[{number}] has the id {shown(key)} of another one; give each its own")
            self.bad_categories.add(key)
        elif name in {category.name for category in self.file.categories.values()}:
            self._problem(f"categories[{number}] has the name {shown(name)} of another one; rename or join them")
            self.bad_categories.add(key)
        else:
            parent = entry.get("supercategory")
            ignored = entry.get("isdm_ignore") is True
            self.file.categories[key] = Category(name, parent if isinstance(parent, str) else "", ignored)

    def take_image(self, number: int, entry: Any) -> None:
        try:
            key = _id(entry, "id")
        except DataError as error:
            self._problem(f"images[{number}] {error}")
            return
        self.ids[key] += 1
        try:
            name = _text(entry, "file_name")
            height, width = _length(entry, "height"), _length(entry, "width")
        except DataError as error:
            self._problem(f"image {shown(key)} {error}")
            return
        if height * width > MOST_PIXELS:
            self._problem(
                f"image {shown(key)}, {shown(name)}, is stated to have {width}x{height} pixels, more than can be "
                f"decoded safely; state its true size or cut it up"
            )
            return
        group = entry.get("group")
        self.file.images[key] = CocoImage(name, height, width, group if isinstance(group, str) and group else None)

    def take_annotation(self, number: int, entry: Any) -> None:
        try:
            image = _id(entry, "image_id")
        except DataError as error:
            self._problem(f"annotations[{number}] {error}")
            return
        name = shown(entry["id"]) if "id" in entry else f"annotations[{number}]"
        try:
            category = _id(entry, "category_id")
            place = self.file.outlines.add(name, entry.get("segmentation"))
            self.annotations[image].append(Annotation(category, place))
        except DataError as error:
            self.broken[image].setdefault(str(error), []).append(name)

    def finish(self, members: dict[str, Any]) -> CocoFile:
        for name in ("images", "annotations", "categories"):
            if name not in members:
                self._problem(f"there is no list {name!r}; export it again as COCO detection or segmentation")
        info = members.get("info")
        self.file.info = info if isinstance(info, dict) else {}
        self._refuse_repeated_images()
        self._link()
        self._name_unknown()
        for key in self.broken:
            self.file.images.pop(key, None)
        return self.file

    def _refuse_repeated_images(self) -> None:
        names = Counter(image.file_name for image in self.file.images.values())
        for name, times in names.items():
            if times > 1:
                self._problem(f"{times} images have the file name {shown(name)}; keep one with all its annotations")
        for key, times in self.ids.items():
            if times > 1:
                self._problem(f"{times} images have the id {shown(key)}; give every image its own")
        self.file.images = {
            key: image
            for key, image in self.file.images.items()
            if self.ids[key] == 1 and names[image.file_name] == 1
        }

    def _link(self) -> None:
        """Give each image its annotations, checked against its size."""
        unknown: dict[Key, list[str]] = defaultdict(list)
        bad = {key for key, found in self.annotations.items() if self._uses_bad_category(found)}
        for key in bad:  # the category's own line says why
            self.file.images.pop(key, None)
        for key, image in self.file.images.items():
            image.annotations = self.annotations.pop(key, [])
            for annotation in image.annotations:
                if annotation.category not in self.file.categories:
                    unknown[annotation.category].append(
                        f"{self.file.outlines.name(annotation.place)} of {image.file_name}"
                    )
                try:
                    check_region(self.file.outlines.region(annotation.place), image.height, image.width)
                except DataError as error:
                    self.broken[key].setdefault(str(error), []).append(self.file.outlines.name(annotation.place))
        for category, names in unknown.items():
            self._problem(
                f"{len(names)} annotation(s), such as {names[0]}, have the category_id {shown(category)}, which "
                f"categories does not list; add it there or remove them"
            )
        known = self.file.categories
        self.file.images = {
            key: image
            for key, image in self.file.images.items()
            if all(annotation.category in known for annotation in image.annotations)
        }

    def _uses_bad_category(self, annotations: list[Annotation]) -> bool:
        return any(annotation.category in self.bad_categories for annotation in annotations)

    def _name_unknown(self) -> None:
        """A line for each image whose annotations are broken, and for each id that no image has."""
        for key in [*self.annotations, *(key for key in self.broken if key not in self.annotations)]:
            if key not in self.ids:
                count = len(self.annotations.get(key, ())) + sum(map(len, self.broken.get(key, {}).values()))
                self._problem(
                    f"{count} annotation(s) have the image_id {shown(key)}, which images does not list; add it "
                    f"there or remove them"
                )
        for key, reasons in self.broken.items():
            if key not in self.ids:
                continue
            where = self.file.images[key].file_name if key in self.file.images else f"image {shown(key)}"
            for reason, names in reasons.items():
                more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
                self._problem(f"annotation {names[0]}{more} of {where} {reason}")

    def _problem(self, text: str) -> None:
        self.file.problems.append(f"{self.file.path}: {text}")


def read_coco(path: Path) -> CocoFile:
    """Read a file of COCO annotations; whatever is wrong inside becomes a line of its `problems`.

    Raises:
        DataError: it is no JSON object, or images, annotations or categories are no lists.
    """
    reader = _Reader(path)
    members = read_lists(
        path,
        {
            "categories": reader.take_category,
            "images": reader.take_image,
            "annotations": reader.take_annotation,
        },
    )
    return reader.finish(members)


def _value(entry: Any, name: str) -> Any:
    if not isinstance(entry, dict):
        raise DataError(f"is {shown(entry)}; it must be an object: export it again")
    return entry.get(name)


def _id(entry: Any, name: str) -> Key:
    value = _value(entry, name)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise DataError(f"has the {name} {shown(value)}; it must be a whole number: export it again")
    return value


def _text(entry: Any, name: str) -> str:
    value = _value(entry, name)
    if not isinstance(value, str) or not value.strip() or len(value.splitlines()) > 1 or not _encodable(value):
        raise DataError(f"has the {name} {shown(value)}; it must be one line of text: give it one")
    return value


def _encodable(text: str) -> bool:
    return text.encode("utf-8", "ignore").decode("utf-8") == text


def _length(entry: Any, name: str) -> int:
    value = _value(entry, name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MOST_PIXELS:
        raise DataError(f"has the {name} {shown(value)}; it must be the image's in pixels: export it again")
    return value
