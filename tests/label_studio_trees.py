"""Small exports of Label Studio, written as Label Studio writes them."""

import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from isdm.config import DataConfig
from isdm.data.layouts import read_source
from isdm.data.layouts.source import Source

HEIGHT, WIDTH = 40, 60
EXPORT = "project-1-at-2024-01-31.json"
Write = Callable[..., Path]

CROSS = ["......", "..XX..", ".XXXX.", "..XX.."]
CROSS_RLE = [0, 0, 0, 96, 57, 27, 254, 31, 0, 159, 254, 216, 5, 255, 251, 96, 19, 255, 206, 0]
"""What label-studio-converter 0.0.59 encodes CROSS as (brush.mask2rle of 0 and 255)."""


def region(kind: str, value: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": "djbpw94CXj",
        "type": kind,
        "value": value,
        "origin": "manual",
        "to_name": "image",
        "from_name": "label",
        "image_rotation": 0,
        "original_width": WIDTH,
        "original_height": HEIGHT,
        **more,
    }


def polygon(label: str, points: Any, **more: Any) -> dict[str, Any]:
    """A polygon given in pixels."""
    percent = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in points]
    return region("polygonlabels", {"points": percent, "closed": True, "polygonlabels": [label]}, **more)


def box(label: str, x: float, y: float, width: float, height: float, rotation: float = 0) -> dict[str, Any]:
    """A rectangle given in pixels."""
    value = {
        "x": 100 * x / WIDTH,
        "y": 100 * y / HEIGHT,
        "width": 100 * width / WIDTH,
        "height": 100 * height / HEIGHT,
    }
    return region("rectanglelabels", {**value, "rotation": rotation, "rectanglelabels": [label]})


def encoded(mask: np.ndarray) -> list[int]:
    """Label Studio's run lengths of a mask (H, W), written as strings of bits; every other piece as values."""
    bits = f"{mask.size * 4:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}"
    pieces = [(value, len(list(run))) for value, run in groupby(np.repeat(mask.ravel() * 255, 4).tolist())]
    for index, (value, length) in enumerate(pieces):
        place, size = next((i, size) for i, size in enumerate((3, 4, 8, 16)) if length <= 2**size)
        as_run = index % 2 == 0
        bits += f"{as_run:b}{place:02b}{length - 1:0{size}b}" + f"{value:08b}" * (1 if as_run else length)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)]


def brush(label: str, rle: Any) -> dict[str, Any]:
    return region("brushlabels", {"format": "rle", "rle": rle, "brushlabels": [label]})


def annotation(*results: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": 211797,
        "completed_by": 1,
        "result": list(results),
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2024-01-31T07:40:19.861611Z",
        "updated_at": "2024-01-31T07:40:19.861611Z",
        "lead_time": 19.2,
        "prediction": {},
        "result_count": 0,
        "task": 1,
        "parent_annotation": None,
        **more,
    }


def task(image: str, *annotations: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": 68501,
        "annotations": list(annotations),
        "file_upload": image.rpartition("/")[2],
        "drafts": [],
        "predictions": [],
        "data": {"image": image},
        "meta": {},
        "inner_id": 1,
        "total_annotations": 1,
        "project": 132,
        "updated_by": 1,
        **more,
    }


SQUARE = polygon("scratch", [[10, 5], [20, 5], [20, 15], [10, 15]])


def save_tasks(folder: Path, *tasks: Any, pictures: tuple[str, ...] = ("a.jpg",)) -> Path:
    """Save tasks as an export, and pictures of these names below images/; gives the folder."""
    for index, picture in enumerate(pictures):
        path = folder / "images" / picture
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(values).save(path)
    (folder / EXPORT).write_text(json.dumps(list(tasks)))
    return folder


def source_of(folder: Path) -> Source:
    layout, source = read_source(DataConfig(source=folder))
    assert layout == "label-studio"
    return source


def masks(source: Source) -> dict[str, np.ndarray]:
    return {pair.stem: pair.load_mask() for pair in source.pairs}
