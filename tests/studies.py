"""A small finished study with hostile names, as `isdm evaluate` leaves it."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from PIL import Image

HOSTILE = '<script>alert("$x_{")</script>'
NAMES = ("background", "scratch", HOSTILE)


def write_study(study: Path, *, gallery: bool = True) -> Path:
    """A finished study with two configurations, two architectures, two repeats and hostile names."""
    (study / "gallery").mkdir(parents=True)
    facts = {
        "name": f"study {HOSTILE}",
        "classes": [{"id": i, "name": name, "colour": [i, 20, 30]} for i, name in enumerate(NAMES)],
        "config": {"architectures": ["fpn", "unetplusplus"], "repeats": 2, "protocol": "equal-steps"}
        | {"encoder": "resnet18", "encoder_weights": "none"},
        "num_train_images": 40,
        "num_validation_images": 5,
        "num_test_images": 10,
        "class_pixels": {"real": {"background": 900, "scratch": 100, HOSTILE: 0}, HOSTILE: {"background": 5}},
        "dataset": {"path": f"https://example.org/{HOSTILE}"},
        "isdm_version": "0.0.9",
    }
    (study / "study.yaml").write_text(yaml.safe_dump(facts), "utf-8")
    write_results(study)
    write_counts(study)
    if gallery:
        write_gallery(study / "gallery")
    return study


def write_counts(study: Path) -> None:
    """Six test groups; the mix finds more of each class in every one of them."""
    lines = []
    cells = [
        (name, row, repeat) for name in ("fpn", "unetplusplus") for row in ("real-only", "mixed") for repeat in (0, 1)
    ]
    for architecture, row, repeat in cells:
        for group in range(6):
            found = 50 + group + (17 if row == "mixed" else 0) + repeat
            places = [("class_iou", place, name, found, 100) for place, name in enumerate(NAMES)]
            places.append(("false_alarms", 0, "", repeat, 2))
            for measure, place, detail, hits, total in places:
                line = {"row": row, "architecture": architecture, "repeat": repeat, "group": str(group)}
                lines.append(
                    line | {"measure": measure, "place": place, "detail": detail, "hits": hits, "total": total}
                )
    pl.DataFrame(lines).write_parquet(study / "counts.parquet")


def write_results(study: Path, *, steps: int = 100, leave_out: int = 0) -> None:
    lines = []
    for architecture in ("fpn", "unetplusplus"):
        for repeat in (0, 1):
            for row, source, added, gain in (("real-only", "", 0, 0.0), ("mixed", HOSTILE, 40, 0.1)):
                for class_id, name in enumerate(NAMES):
                    line: dict[str, Any] = {"row": row, "arm": "plain", "synthetic_set": source}
                    line |= {"num_real_images": 40, "num_synthetic_images": added, "repeat": repeat}
                    line |= {"architecture": architecture, "class_id": class_id, "class_name": name}
                    line |= {"tp": 1, "fp": 1, "fn": 1, "iou": 0.5 + gain + 0.01 * repeat}
                    line |= {"mean_image_iou": None, "num_steps": steps + added, "train_seconds": 30.0}
                    lines.append(line | {"validation_iou": 0.5})
    pl.DataFrame(lines[: len(lines) - leave_out]).write_parquet(study / "results.parquet")


def write_gallery(folder: Path) -> None:
    Image.new("RGB", (4, 4), (255, 0, 0)).save(folder / "red.png")
    pair = {
        "kind": "synthetic",
        "set": HOSTILE,
        "name": HOSTILE,
        "image": "red.png",
        "overlay": "../study.yaml",
    }
    guess = {"architecture": "fpn", "row": "base", "picture": "red.png", "iou": None}
    prediction = {"name": "test", "image": "red.png", "truth": "gone.png", "predictions": [guess]}
    (folder / "gallery.json").write_text(json.dumps({"pairs": [pair], "predictions": [prediction]}))


def write_audit(path: Path, **changes: Any) -> Path:
    audit: dict[str, Any] = {
        "segmenter": {"architecture": "unetplusplus", "encoder": "tiny"},
        "real_iou": 0.6,
        "synthetic_iou": 0.54,
        "shuffled_iou": 0.06,
        "agreement": 0.9,
        "shuffled_agreement": 0.1,
        "num_synthetic_images": 40,
        "per_class": {HOSTILE: {"real": 0.6, "synthetic": None, "shuffled": 0.1}},
    }
    path.write_text(json.dumps(audit | changes))
    return path
