"""Small trees of LabelMe's JSON files, written as LabelMe writes them."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from isdm.config import DataConfig
from isdm.data.layouts import read_source
from isdm.data.layouts.source import Source

HEIGHT, WIDTH = 40, 60
SQUARE = [[10.0, 5.0], [20.0, 5.0], [20.0, 15.0], [10.0, 15.0]]
Write = Callable[..., Path]


def shape(label: Any, points: Any, kind: str | None = "polygon", **more: Any) -> dict[str, Any]:
    return {
        "label": label,
        "points": points,
        "group_id": None,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": None,
        **more,
    }


def document(shapes: Any, image_path: Any, **more: Any) -> dict[str, Any]:
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
        **more,
    }


def save_picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(len(path.name)).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(values).save(path)
    return path


def save_annotated(folder: Path, stem: str, *shapes: Any, **more: Any) -> Path:
    """Save an image and its JSON file beside it."""
    save_picture(folder / f"{stem}.jpg")
    path = folder / f"{stem}.json"
    path.write_text(json.dumps(document(list(shapes), f"{Path(stem).name}.jpg") | more, indent=2))
    return path


def png(values: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def source_of(folder: Path) -> Source:
    layout, source = read_source(DataConfig(source=folder))
    assert layout == "labelme"
    return source


def masks(source: Source) -> dict[str, np.ndarray]:
    return {pair.stem: pair.load_mask() for pair in source.pairs}
