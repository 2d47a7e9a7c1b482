"""The pairs of a benchmark's source of plain folders, laid out as other datasets are: pictures by hard links."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image


def as_layout(source: Path, layout: str) -> Path:
    """The tree beside `source` in a layout, made once."""
    if layout == "folders":
        return source
    tree = source.with_name(f"{source.name}-{layout}")
    if not (tree / "complete").is_file():
        _WAYS[layout](source, tree)
        (tree / "complete").touch()
    return tree


class _Drawn(NamedTuple):
    """An image and two rectangles on it, each of eight corners, as annotators click more than four."""

    name: str
    height: int
    width: int
    boxes: list[tuple[int, int, int, int]]
    """Left, top, right, bottom."""
    corners: list[list[tuple[float, float]]]


def _drawn(source: Path) -> Iterator[_Drawn]:
    for path in sorted((source / "masks").iterdir()):
        with Image.open(path) as mask:
            rows, columns = np.nonzero(np.asarray(mask))
            width, height = mask.size
        left, right = int(columns.min()), int(columns.max()) + 1
        boxes, corners = [], []
        for top, bottom in ((int(rows.min()), int(rows.mean())), (int(rows.mean()), int(rows.max()) + 1)):
            middle, centre = (top + bottom) / 2, (left + right) / 2
            across = [(left, top), (centre, top), (right, top), (right, middle)]
            boxes.append((left, top, right, bottom))
            corners.append([*across, (right, bottom), (centre, bottom), (left, bottom), (left, middle)])
        yield _Drawn(f"{path.stem}.jpg", height, width, boxes, corners)


def _coco(source: Path, tree: Path) -> None:
    _link(source / "images", tree / "images")
    images, annotations = [], []
    for number, drawn in enumerate(_drawn(source)):
        images.append({"id": number, "file_name": drawn.name, "width": drawn.width, "height": drawn.height})
        for (left, top, right, bottom), corners in zip(drawn.boxes, drawn.corners, strict=True):
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": 1,
                    "segmentation": [[value for corner in corners for value in corner]],
                    "bbox": [left, top, right - left, bottom - top],
                    "area": (right - left) * (bottom - top),
                    "iscrowd": 0,
                }
            )
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "defect"}]}
    (tree / "annotations").mkdir()
    (tree / "annotations" / "instances_default.json").write_text(json.dumps(content))


def _cvat(source: Path, tree: Path) -> None:
    _link(source / "images", tree / "images")
    with (tree / "annotations.xml").open("w") as file:
        file.write("<annotations><version>1.1</version><meta><task><labels><label><name>defect</name>")
        file.write("<color>#ff0000</color></label></labels></task></meta>\n")
        for number, drawn in enumerate(_drawn(source)):
            size = f'width="{drawn.width}" height="{drawn.height}"'
            file.write(f'<image id="{number}" name="{drawn.name}" {size}>\n')
            for corners in drawn.corners:
                points = ";".join(f"{x:.2f},{y:.2f}" for x, y in corners)
                file.write(f'<polygon label="defect" occluded="0" points="{points}" z_order="0"></polygon>\n')
            file.write("</image>\n")
        file.write("</annotations>\n")


def _label_studio(source: Path, tree: Path) -> None:
    _link(source / "images", tree / "images")
    tasks = []
    for number, drawn in enumerate(_drawn(source)):
        results = [
            {
                "id": f"{number}-{place}",
                "type": "polygonlabels",
                "from_name": "label",
                "to_name": "image",
                "original_width": drawn.width,
                "original_height": drawn.height,
                "image_rotation": 0,
                "value": {
                    "points": [[100 * x / drawn.width, 100 * y / drawn.height] for x, y in corners],
                    "polygonlabels": ["defect"],
                },
            }
            for place, corners in enumerate(drawn.corners)
        ]
        annotations = [{"id": number, "completed_by": 1, "was_cancelled": False, "result": results}]
        tasks.append({"id": number, "data": {"image": f"/upload/{drawn.name}"}, "annotations": annotations})
    (tree / "project-1-at-2024-01-01.json").write_text(json.dumps(tasks))


def _voc(source: Path, tree: Path) -> None:
    """Masks with a palette, of the background and one class, and a list of all names."""
    _link(source / "images", tree / "JPEGImages")
    (tree / "SegmentationClass").mkdir()
    lists = tree / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    names = []
    for path in sorted((source / "masks").iterdir()):
        with Image.open(path) as mask:
            coloured = Image.fromarray((np.asarray(mask) > 127).astype(np.uint8))
        coloured.putpalette([0, 0, 0, 128, 0, 0])
        coloured.save(tree / "SegmentationClass" / path.name)
        names.append(path.stem)
    (lists / "train.txt").write_text("".join(f"{name}\n" for name in names))


def _cityscapes(source: Path, tree: Path) -> None:
    """Ten cities, each a sequence of frames; masks of label ids."""
    for kind in ("leftImg8bit", "gtFine"):
        for city in range(10):
            (tree / kind / "train" / f"city{city}").mkdir(parents=True)
    for number, path in enumerate(sorted((source / "masks").iterdir())):
        place = Path("train", f"city{number % 10}", f"city{number % 10}_{number:06d}_000019")
        with Image.open(path) as mask:
            Image.fromarray(np.where(np.asarray(mask) > 127, 26, 7).astype(np.uint8)).save(
                tree / "gtFine" / f"{place}_gtFine_labelIds.png"
            )
        with Image.open(source / "images" / f"{path.stem}.jpg") as image:
            image.save(tree / "leftImg8bit" / f"{place}_leftImg8bit.png")


def _link(folder: Path, to: Path) -> None:
    to.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        target = to / path.name
        if not target.exists():
            os.link(path, target)


_WAYS: dict[str, Callable[[Path, Path], None]] = {
    "coco": _coco,
    "voc": _voc,
    "cityscapes": _cityscapes,
    "cvat": _cvat,
    "label_studio": _label_studio,
}
LAYOUTS = ("folders", *_WAYS)
