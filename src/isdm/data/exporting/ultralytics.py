"""Ultralytics (YOLO) segmentation: a polygon for each object, in fractions of the picture's size.

    data.yaml    images/train/*.png    labels/train/*.txt    images/val/…    labels/val/…

Classes count from 0 without the background, which is what no polygon covers.
"""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from isdm.data.dataset import DatasetInfo
from isdm.data.exporting.objects import mask_objects
from isdm.data.exporting.outlines import outlines
from isdm.data.exporting.pairs import SHORT_NAMES, Decoded, Export, Item, put_image
from isdm.files import write_text, write_yaml

ABOUT = """\
Ultralytics segmentation: train with `yolo segment train data=data.yaml`. Each line of a label file is a class and
a polygon along the outer edges of the pixels, in fractions of the picture's width and height; a hole is joined to
the outline by a cut of no width. Filled by the even-odd rule, as pycocotools does, it gives the mask's very pixels.
Background is what no polygon covers. The block "isdm" of data.yaml holds all classes with their colours.
"""


def write(export: Export, folder: Path) -> list[str]:
    """Write all splits; gives what polygons cannot say, one sentence each."""
    info, notes = export.info, []
    ignored = np.zeros(0, np.int64)
    parted = 0
    for split in export.items:
        results = [result for _, result in export.each(split, partial(_put, info, folder, SHORT_NAMES[split]))]
        ignored = np.append(ignored, [pixels for pixels, _ in results])
        parted += sum(objects for _, objects in results)
    # Without a key `path` its reader starts from the file's own folder, wherever that was moved.
    write_yaml(
        folder / "data.yaml",
        {SHORT_NAMES[split]: f"images/{SHORT_NAMES[split]}" for split in export.items}
        | {"names": {entry.id - 1: entry.name for entry in info.classes[1:]}}
        | {"isdm": {"classes": [asdict(entry) | {"colour": list(entry.colour)} for entry in info.classes]}},
    )
    if ignored.any():
        pictures = np.count_nonzero(ignored)
        notes.append(
            f"{ignored.sum():,} ignored pixels in {pictures} pictures became background: no polygon marks them"
        )
    if parted:
        notes.append(f"{parted} objects of the instance maps have several parts; each part became an object")
    if info.classes[0].name.lower() != "background":
        notes.append(
            f"pixels of the class {info.classes[0].name!r} are those that no polygon covers, without its name"
        )
    missing = [SHORT_NAMES[split] for split in ("train", "validation") if split not in export.items]
    if missing:
        notes.append(f"data.yaml names no {' and no '.join(missing)} split, without which Ultralytics does not train")
    return notes


def _put(info: DatasetInfo, folder: Path, split_name: str, item: Item, decoded: Decoded) -> tuple[int, int]:
    """Write a pair; gives the number of its ignored pixels and that of its objects with several parts."""
    put_image(item, decoded.image, info, folder / "images" / split_name)
    lines, parted = [], 0
    for class_id, rows in polygons(decoded, info):
        parted += len(rows) > 1
        lines += [f"{class_id - 1} {row}\n" for row in rows]
    write_text(folder / "labels" / split_name / f"{item.name}.txt", "".join(lines))
    return int(np.count_nonzero(decoded.mask == info.ignore_index)), parted


def polygons(decoded: Decoded, info: DatasetInfo) -> Iterator[tuple[int, list[str]]]:
    """For each object of a pair its class and its polygons as `x y x y …` in fractions of the size."""
    height, width = decoded.mask.shape
    for entry in mask_objects(decoded.mask, decoded.instances, info.num_classes):
        x, y = np.divmod(entry.positions, height)
        left, top = x.min(), y.min()
        pixels = np.zeros((y.max() + 1 - top, x.max() + 1 - left), bool)
        pixels[y - top, x - left] = True
        fractions = [(outline + np.array([left, top])) / (width, height) for outline in outlines(pixels)]
        yield entry.class_id, [" ".join(map(_number, points.ravel().tolist())) for points in fractions]


def _number(value: float) -> str:
    """Eight digits tell apart the pixels of any picture."""
    return f"{value:.8f}".rstrip("0").rstrip(".")
