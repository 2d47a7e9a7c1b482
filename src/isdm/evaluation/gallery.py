"""Pictures of a study for its report: real and synthetic pairs, and what the networks predict."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isdm.data.dataset import IGNORE_INDEX, DatasetInfo, palette_image
from isdm.data.image_files import MaskArray, as_shown, write_png
from isdm.evaluation.cells import Cell, StudyData, read_cell, read_predictions
from isdm.files import write_json
from isdm.metrics.segmentation import Counts, mean_foreground_iou_of_image

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
    """Test images that the networks read best, middling and worst, with what the telling rows predict."""
    shown = [cell for cell in _telling(cells) if cell.path(study).with_suffix(".png").is_file()]
    predicted = [read_predictions(cell.path(study).with_suffix(".png"), data) for cell in shown]
    counts = [read_cell(cell.path(study))[1] for cell in shown]
    num_kept = min((len(one) for one in predicted), default=0)
    entries = []
    for number, (place, title) in enumerate(_chosen(counts, data, num_kept)):
        write_png(folder / f"test-{number}.png", as_shown(data.test.images[place]))
        write_png(folder / f"test-{number}-truth.png", palette_image(data.test.masks[place], data.info))
        predictions = []
        for index, (cell, masks, count) in enumerate(zip(shown, predicted, counts, strict=True)):
            name = f"test-{number}-prediction-{index}.png"
            write_png(folder / name, palette_image(masks[place], data.info))
            iou = mean_foreground_iou_of_image(count[place], data.info.first_foreground)
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
                "name": f"{data.test_names[place]} ({title})",
                "image": f"test-{number}.png",
                "truth": f"test-{number}-truth.png",
                "predictions": predictions,
            }
        )
    return entries


def _telling(cells: Sequence[Cell]) -> list[Cell]:
    """Of the first repeat: all real images alone, and with the most images of each synthetic set."""
    first = [cell for cell in cells if cell.repeat == 0]
    most_real = max((cell.row.num_real_images for cell in first), default=0)
    most: dict[str, int] = {}
    for cell in first:
        row = cell.row
        if row.num_real_images == most_real and row.further == "synthetic":
            most[row.synthetic_set] = max(most.get(row.synthetic_set, 0), row.num_synthetic_images)
    return [
        cell
        for cell in first
        if cell.row.num_real_images == most_real
        and cell.row.further == "synthetic"
        and cell.row.num_synthetic_images == most[cell.row.synthetic_set]
    ]


def _chosen(counts: Sequence[Counts], data: StudyData, num_kept: int) -> list[tuple[int, str]]:
    """Places of the test images to show, and why: by the mean of their IoU over the networks."""
    if not counts or num_kept == 0:
        return []
    places = np.arange(min(num_kept, len(data.test)))
    shows = np.array([((data.test.masks[k] > 0) & (data.test.masks[k] != IGNORE_INDEX)).any() for k in places], bool)
    first = data.info.first_foreground
    ious = np.array([[mean_foreground_iou_of_image(count[k], first) for k in places] for count in counts])
    order = [int(k) for k in places[shows][np.argsort(-np.nan_to_num(ious).mean(axis=0)[shows], kind="stable")]]
    middle = max(2, len(order) // 2)
    picked = dict.fromkeys(order[:2], "read best")
    picked |= {k: "read worst" for k in order[-2:] if k not in picked}
    picked |= {k: "middling" for k in order[middle : middle + 1] if k not in picked}
    if (~shows).any():
        alarms = np.mean([count[: len(places), 1:, 1].sum(axis=1) for count in counts], axis=0)[~shows]
        picked[int(places[~shows][alarms.argmax()])] = "most false alarms" if alarms.max() > 0 else "without a defect"
    return list(picked.items())


def class_pixels(masks: MaskArray, info: DatasetInfo) -> dict[str, int]:
    """Pixels of each class by name."""
    counts = sum((np.bincount(mask.ravel(), minlength=256) for mask in masks), np.zeros(256, np.int64))
    return {entry.name: int(counts[entry.id]) for entry in info.classes}
