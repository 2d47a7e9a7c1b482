"""Small trees in the forms of COCO, written by hand, and pycocotools' reading of them."""

import json
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools.coco import COCO

HEIGHT, WIDTH = 20, 30
SQUARE = [2.0, 3.0, 12.0, 3.0, 12.0, 13.0, 2.0, 13.0]
INNER = [5.0, 5.5, 8.0, 5.5, 8.0, 9.25]
ARROW = [14.2, 1.7, 28.9, 10.1, 14.2, 18.3, 19.6, 10.1]
CATEGORIES = [{"id": 7, "name": "dent", "supercategory": "defect"}, {"id": 3, "name": "rust", "supercategory": "x"}]


def image_entry(key: int | str, name: str, **more: Any) -> dict[str, Any]:
    return {"id": key, "file_name": name, "height": HEIGHT, "width": WIDTH, "license": 1, **more}


def annotation(key: int, image: int | str, category: int, segmentation: Any = None, **more: Any) -> dict[str, Any]:
    shape = [SQUARE] if segmentation is None else segmentation
    return {
        "id": key,
        "image_id": image,
        "category_id": category,
        "segmentation": shape,
        "area": 1.0,
        "bbox": [0, 0, 1, 1],
        "iscrowd": 0,
        **more,
    }


def document(images: Any, annotations: Any, categories: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "info": {"description": "made by hand"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": deepcopy(CATEGORIES) if categories is None else categories,
        **more,
    }


def write_json(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), "utf-8")
    return path


def write_image(path: Path, height: int = HEIGHT, width: int = WIDTH) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (90, 120, 60)).save(path)
    return path


def one_image_tree(root: Path, annotations: Sequence[Any], categories: Any = None, **image: Any) -> Path:
    """A tree as CVAT exports it, with a single picture."""
    write_image(root / "images" / "a.jpg")
    value = document([image_entry(1, "a.jpg", **image)], annotations, categories)
    write_json(root / "annotations" / "instances_default.json", value)
    return root


def reference_mask(path: Path, file_name: str, classes: dict[int, int]) -> np.ndarray:
    """The mask (H, W) by pycocotools: annToMask of each annotation, the largest first."""
    coco = COCO(str(path))
    (image,) = (entry for entry in coco.dataset["images"] if entry["file_name"] == file_name)
    parts = [(coco.annToMask(entry), entry) for entry in coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))]
    mask = np.zeros((image["height"], image["width"]), np.uint8)
    for part, entry in sorted(parts, key=lambda item: -int(item[0].sum())):
        mask[part > 0] = classes[entry["category_id"]]
    return mask
