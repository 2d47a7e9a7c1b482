"""Small trees of images and of outlines in YOLO's text form."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from isdm.config import DataConfig
from isdm.data.layouts import read_source
from isdm.data.layouts.source import Source

HEIGHT, WIDTH = 40, 60
ULTRALYTICS = {"path": "", "train": "images/train", "val": "images/val", "names": {0: "dent", 1: "scratch"}}
Write = Callable[..., Path]


def line(class_index: int, *points: tuple[float, float]) -> str:
    """A line of an outline given in pixels."""
    return " ".join([str(class_index), *(f"{x / WIDTH:.8f} {y / HEIGHT:.8f}" for x, y in points)])


SQUARE = line(1, (10, 5), (20, 5), (20, 15), (10, 15))


def save_outlined(folder: Path, texts: dict[str, str | None], settings: object = None) -> Path:
    """Save pictures and label files, by the pictures' paths (the text is None for no label file), and data.yaml."""
    for index, (name, text) in enumerate(texts.items()):
        values = np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(folder / name)
        labels = (folder / name.replace("images", "labels")).with_suffix(".txt")
        labels.parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            labels.write_text(text)
    if settings is not None:
        (folder / "data.yaml").write_text(settings if isinstance(settings, str) else yaml.safe_dump(settings))
    return folder


def source_of(folder: Path) -> Source:
    layout, source = read_source(DataConfig(source=folder))
    assert layout == "yolo"
    return source


def masks(source: Source) -> dict[str, np.ndarray]:
    return {pair.stem: pair.load_mask() for pair in source.pairs}
