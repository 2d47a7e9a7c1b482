"""COCO: one JSON file a split with the outline of every object as run lengths, which lose nothing.

    annotations/instances_train.json    train/*.png    annotations/instances_val.json    val/*.png    …

Classes from 1 on are the categories; background is what no annotation covers. Ignored pixels are one crowd
region of a category of their own.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from isdm.data.dataset import IGNORE_INDEX, DatasetInfo, Split
from isdm.data.exporting.objects import column_positions, mask_objects
from isdm.data.exporting.pairs import SHORT_NAMES, Decoded, Export, Item, put_image
from isdm.files import written_aside

ABOUT = """\
COCO: annotations/instances_<split>.json describes the pictures in <split>/. Each object is one annotation, its
segmentation compressed run lengths (pycocotools decodes them), so nothing is rounded. Background is what no
annotation covers. "info" holds all classes with their colours, "images" the group of each picture. Pixels to be
ignored are crowd annotations of the category marked with "isdm_ignore".
"""


def write(export: Export, folder: Path) -> list[str]:
    """Write all splits; gives what COCO cannot say, one sentence each."""
    info = export.info
    images: dict[Split, list[str]] = {split: [] for split in export.items}
    num_images, num_annotations, num_ignoring, num_flattened = 0, 0, 0, 0
    with ExitStack() as stack:
        files = {}
        for split in export.items:
            name = SHORT_NAMES[split]
            aside = stack.enter_context(written_aside(folder / "annotations" / f"instances_{name}.json"))
            file = files[split] = stack.enter_context(aside.open("w", encoding="utf-8"))
            # Annotations come first, as they are made; all else fits into memory and follows them.
            file.write('{"annotations": [')
            separator = "\n"
            for item, drawn in export.each(split, partial(_draw, info, folder / name)):
                num_images += 1
                entry = {"id": num_images} | drawn.image | {"group": item.pair.group, "split": split}
                images[split].append(_line(entry))
                for annotation in drawn.annotations:
                    num_annotations += 1
                    num_ignoring += annotation["iscrowd"]
                    file.write(separator + _line({"id": num_annotations, "image_id": num_images} | annotation))
                    separator = ",\n"
                num_flattened += drawn.is_flattened
        categories = _categories(info, ignore=num_ignoring > 0)  # the same in all splits
        for split, file in files.items():
            file.write('\n],\n"images": [\n' + ",\n".join(images[split]))
            file.write(f'\n],\n"categories": {_line(categories)},\n"licenses": [],\n"info": {_line(_info(info))}}}\n')
    if num_flattened:
        return [f"{num_flattened} instance maps tell parts of the background apart; COCO has no place for that"]
    return []


class _Drawn(NamedTuple):
    """What the JSON file says of a pair, but for ids."""

    image: dict[str, Any]
    annotations: list[dict[str, Any]]
    is_flattened: bool


def _draw(info: DatasetInfo, folder: Path, item: Item, decoded: Decoded) -> _Drawn:
    path = put_image(item, decoded.image, info, folder)
    height, width = decoded.mask.shape
    entry = {"file_name": path.name, "width": width, "height": height}
    behind = () if decoded.instances is None else np.unique(decoded.instances[decoded.mask == 0])
    return _Drawn(entry, list(annotations(decoded, info)), len(behind) > 1)


def annotations(decoded: Decoded, info: DatasetInfo) -> Iterator[dict[str, Any]]:
    """The annotations of a pair, without their ids."""
    shape = (decoded.mask.shape[0], decoded.mask.shape[1])
    for entry in mask_objects(decoded.mask, decoded.instances, info.num_classes):
        extra = {} if entry.instance is None else {"instance_id": entry.instance}
        yield _annotation(entry.class_id, entry.positions, shape, is_crowd=False) | extra
    ignored = column_positions(decoded.mask == info.ignore_index)
    if len(ignored):
        yield _annotation(IGNORE_INDEX, ignored, shape, is_crowd=True)


def _annotation(
    category: int, positions: NDArray[np.int64], shape: tuple[int, int], *, is_crowd: bool
) -> dict[str, Any]:
    x, y = np.divmod(positions, shape[0])
    left, top = int(x.min()), int(y.min())
    return {
        "category_id": category,
        "segmentation": run_lengths(positions, shape),
        "area": len(positions),
        "bbox": [left, top, int(x.max()) + 1 - left, int(y.max()) + 1 - top],
        "iscrowd": int(is_crowd),
    }


def run_lengths(positions: NDArray[np.int64], shape: tuple[int, int]) -> dict[str, Any]:
    """Ascending positions (P,) of pixels as COCO's compressed run lengths, ready for JSON."""
    height, width = shape
    gap = np.diff(positions) != 1
    starts = positions[np.append(True, gap)]
    ends = positions[np.append(gap, True)] + 1
    edges = np.concatenate([[0], np.stack([starts, ends], axis=1).ravel(), [height * width]])
    counts = np.diff(edges).tolist()
    if counts[-1] == 0:  # the last pixel is one of them
        counts.pop()
    size = [height, width]
    encoded = coco_mask.frPyObjects({"size": size, "counts": counts}, height, width)
    return {"size": size, "counts": encoded["counts"].decode("ascii")}


def _categories(info: DatasetInfo, *, ignore: bool) -> list[dict[str, Any]]:
    categories: list[dict[str, Any]] = [
        {"id": entry.id, "name": entry.name, "supercategory": ""} for entry in info.classes[1:]
    ]
    if ignore:
        name = "ignore"
        while name in {entry.name for entry in info.classes}:
            name += "_"
        categories.append({"id": IGNORE_INDEX, "name": name, "supercategory": "", "isdm_ignore": True})
    return categories


def _info(info: DatasetInfo) -> dict[str, Any]:
    own = {"classes": [asdict(entry) for entry in info.classes], "ignore_index": info.ignore_index}
    own["has_background"] = info.has_background
    return {"description": info.name, "version": "1.0", "isdm": own}


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
