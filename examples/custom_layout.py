"""A layout of your own: pictures beside a CSV file that lists defects as boxes.

    python examples/custom_layout.py plates data

    plates/
      defects.csv     file,kind,left,top,right,bottom     one line a defect, in pixels; kinds are scratch and dent
      0001.png  0002.png  …                               pictures without a line show no defect

A layout says which files there are and how each mask is made; opening, checking, grouping, splitting and writing is
done for it. It needs two functions, `recognises` and `read`, and a name.
"""

import csv
import sys
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

import isdm
from isdm.config import DataConfig, build
from isdm.data.image_files import MaskArray
from isdm.data.layouts import register
from isdm.data.layouts.source import Source, SourcePair, image_files, of_memory

CLASSES = ("background", "scratch", "dent")
Box = tuple[str, int, int, int, int]


def recognises(source: Path) -> bool:
    """Whether a folder has this layout: cheap and certain, without opening an image."""
    return (source / "defects.csv").is_file()


def read(source: Path, config: DataConfig) -> Source:
    """Name the pictures and say how their masks are made; no picture is decoded here."""
    boxes: dict[str, list[Box]] = {}
    with (source / "defects.csv").open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            left, top, right, bottom = (int(line[side]) for side in ("left", "top", "right", "bottom"))
            boxes.setdefault(line["file"], []).append((line["kind"], left, top, right, bottom))
    pairs = [
        SourcePair.of(
            image, source / "defects.csv", image.stem, of_memory(partial(draw, image, boxes.get(image.name, [])))
        )
        for image in image_files(source)
    ]
    problems = [f"defects.csv names {name}, which is not there" for name in boxes if not (source / name).is_file()]
    return Source(CLASSES, pairs, notes=["boxes are filled with their class"], problems=problems)


def draw(image: Path, boxes: list[Box]) -> MaskArray:
    """The mask (H, W) uint8 of a picture: each box filled with the id of its class."""
    with Image.open(image) as opened:
        width, height = opened.size
    mask = np.zeros((height, width), np.uint8)
    for kind, left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = CLASSES.index(kind)
    return mask


def main(source: Path, out: Path) -> isdm.SegmentationDataset:
    """Import `source` as the dataset `out`."""
    register("defect-list", sys.modules[__name__])
    return isdm.import_dataset(build(DataConfig, {"source": source, "layout": "defect-list"}), out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
