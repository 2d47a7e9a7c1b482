"""Pictures of a study for its report: real and synthetic pairs, and what the networks predict."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from isdm.data.dataset import IGNORE_INDEX, DatasetInfo, palette_image
from isdm.data.image_files import MaskArray, as_shown, write_png
from isdm.evaluation.cells import NUM_SHOWN_PREDICTIONS, Cell, StudyData, read_cell
from isdm.files import write_json
from isdm.metrics.segmentation import mean_foreground_iou

NUM_PAIRS = 8


def write_gallery(study: Path, data: StudyData, names: Mapping[str, Sequence[str]], cells: Sequence[Cell]) -> None:
    """Write `gallery/` of a study: PNG files and `gallery.json`, which says what they show.

    `names` are those of the training pairs: under "" the real ones, under each set's name the synthetic.
    """
    folder = study / "gallery"
    pairs = []
    for set_name, source in {"": data.train, **data.synthetic}.items():
        kind = "synthetic" if set_name else "real"
        for place, index in enumerate(_with_foreground(source.masks)):
            stem = f"{set_name or 'real'}-{place}"
            write_png(folder / f"{stem}.png", as_shown(source.images[index]))
            write_png(folder / f"{stem}-mask.png", palette_image(source.masks[index], data.info))
            pairs.append(
                {
                    "kind": kind,
                    "set": set_name,
                    "name": names[set_name][index],
                    "image": f"{stem}.png",
                    "overlay": f"{stem}-mask.png",
                }
            )
    predictions = _predictions(folder, study, data, cells)
    write_json(folder / "gallery.json", {"pairs": pairs, "predictions": predictions})


def _with_foreground(masks: MaskArray) -> list[int]:
    """Evenly spread indices of pairs that show something besides background."""
    shown = np.flatnonzero([((mask > 0) & (mask != IGNORE_INDEX)).any() for mask in masks])
    if not len(shown):
        shown = np.arange(len(masks))
    places = np.linspace(0, len(shown) - 1, min(NUM_PAIRS, len(shown))).astype(int)
    return [int(index) for index in shown[places]]


def _predictions(folder: Path, study: Path, data: StudyData, cells: Sequence[Cell]) -> list[dict[str, Any]]:
    entries = []
    width = data.test.masks.shape[2]
    shown = [cell for cell in cells if cell.repeat == 0 and cell.path(study).with_suffix(".png").is_file()]
    strips = [np.asarray(Image.open(cell.path(study).with_suffix(".png"))) for cell in shown]
    counts = [read_cell(cell.path(study))[1] for cell in shown]
    for place in range(min(NUM_SHOWN_PREDICTIONS, len(data.test))):
        write_png(folder / f"test-{place}.png", as_shown(data.test.images[place]))
        write_png(folder / f"test-{place}-truth.png", palette_image(data.test.masks[place], data.info))
        predictions = []
        for number, (cell, strip, count) in enumerate(zip(shown, strips, counts, strict=True)):
            name = f"test-{place}-prediction-{number}.png"
            part = np.ascontiguousarray(strip[:, place * width : (place + 1) * width])
            write_png(folder / name, palette_image(part, data.info))
            iou = mean_foreground_iou(count[place : place + 1])
            predictions.append(
                {
                    "architecture": cell.architecture,
                    "row": cell.slug,
                    "picture": name,
                    "iou": None if np.isnan(iou) else round(iou, 4),
                }
            )
        entries.append(
            {
                "name": data.test_names[place],
                "image": f"test-{place}.png",
                "truth": f"test-{place}-truth.png",
                "predictions": predictions,
            }
        )
    return entries


def class_pixels(masks: MaskArray, info: DatasetInfo) -> dict[str, int]:
    """Pixels of each class by name."""
    counts = sum((np.bincount(mask.ravel(), minlength=256) for mask in masks), np.zeros(256, np.int64))
    return {entry.name: int(counts[entry.id]) for entry in info.classes}
