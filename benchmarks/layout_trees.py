"""The pairs of a benchmark's source of plain folders, laid out as other datasets are: pictures by hard links."""

import json
import os
from collections.abc import Callable
from pathlib import Path

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


def _coco(source: Path, tree: Path) -> None:
    """Two rectangles an image, each a polygon of eight corners, as annotators click more than four."""
    _link(source / "images", tree / "images")
    images, annotations = [], []
    for number, path in enumerate(sorted((source / "masks").iterdir())):
        with Image.open(path) as mask:
            rows, columns = np.nonzero(np.asarray(mask))
            width, height = mask.size
        images.append({"id": number, "file_name": f"{path.stem}.jpg", "width": width, "height": height})
        left, right = int(columns.min()), int(columns.max()) + 1
        for top, bottom in ((int(rows.min()), int(rows.mean())), (int(rows.mean()), int(rows.max()) + 1)):
            middle, centre = (top + bottom) / 2, (left + right) / 2
            across = [left, top, centre, top, right, top, right, middle]
            back = [right, bottom, centre, bottom, left, bottom, left, middle]
            box = [left, top, right - left, bottom - top]
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": 1,
                    "segmentation": [[*across, *back]],
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "defect"}]}
    (tree / "annotations").mkdir()
    (tree / "annotations" / "instances_default.json").write_text(json.dumps(content))


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


_WAYS: dict[str, Callable[[Path, Path], None]] = {"coco": _coco, "voc": _voc, "cityscapes": _cityscapes}
LAYOUTS = ("folders", *_WAYS)
