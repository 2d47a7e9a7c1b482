"""Claim: selection raises the agreement with the masks, and what segmenters learn, at equal numbers of pairs.

Several pictures are painted for each training mask. One study compares as many pairs drawn at random from all of them
with as many from those that `isdm select` keeps (criteria, then the best picture of each mask), alone and beside the
real images. The agreement is read by another network, trained on all real images. What is finished is kept.
    isdm demo --out isdm-demo
    python benchmarks/selection.py isdm-demo/run
"""

import argparse
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import polars as pl
import yaml

from harness import RESULTS, machine
from isdm import SegmentationDataset, audit, evaluate, sample, select
from isdm.config import AuditConfig, EvaluateConfig, SampleConfig, SelectConfig, build, merged
from isdm.files import read_json, write_json


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("run", type=Path, help="folder of a finished `isdm run` or demo")
    options.add_argument("--variants", type=int, default=3, help="pictures of every mask")
    options.add_argument("--repeats", type=int, default=3, help="trainings of every segmenter")
    options.add_argument("--work", type=Path, default=Path("runs/selection"))
    options.add_argument("--out", type=Path, default=RESULTS / "selection.json")
    arguments = options.parse_args()
    settings = yaml.safe_load((arguments.run / "experiment.yaml").read_text())
    real, work = SegmentationDataset(arguments.run / "data"), arguments.work
    sampling = {"num_samples": arguments.variants * len(real.pairs("train")), "variants": arguments.variants}
    candidates = sample(
        build(SampleConfig, merged(settings["sample"], sampling), where="sampling"),
        arguments.run / "finetuned",
        real,
        work / "candidates",
    )
    judging = {"encoder_weights": settings["audit"]["encoder_weights"], "encoder": settings["audit"]["encoder"]}
    choice = build(SelectConfig, {**judging, "best_of": arguments.variants}, where="selection")
    chosen = select(choice, candidates, real, work / "selected")
    sets = {"random": candidates, "selected": chosen}
    reading = build(AuditConfig, settings["audit"], where="audit")
    agreement = {name: audit(reading, found, real, work / f"audit-{name}") for name, found in sets.items()}
    count = min(len(found.pairs("train")) for found in sets.values())
    grid = {"real_counts": [0, "all"], "synthetic_counts": [0, count], "repeats": arguments.repeats}
    config = build(EvaluateConfig, merged(settings["evaluate"], grid), where="the study")
    table = pl.read_parquet(evaluate(config, real, sets, work / "study"))
    summary = read_json(work / "selected" / "select.json")
    result: dict[str, Any] = {
        "claim": "Selected pairs agree more with their masks and teach more than as many random ones.",
        "pairs": {"candidates": len(candidates.pairs("train")), "selected": summary["num_kept"], "compared": count},
        "dropped": summary["dropped"],
        "agreement": {name: found["agreement"] for name, found in agreement.items()},
        "iou": by_row(table),
        "difference_selected_minus_random": differences(table),
        "machine": machine(),
    }
    write_json(arguments.out, result)
    print(result["agreement"], result["difference_selected_minus_random"])


def per_cell(table: pl.DataFrame) -> pl.DataFrame:
    """Mean foreground IoU of every trained segmenter."""
    keys = ("synthetic_set", "num_real_images", "architecture", "repeat")
    return table.filter(pl.col("class_id") > 0).group_by(*keys, maintain_order=True).agg(pl.col("iou").mean())


def by_row(table: pl.DataFrame) -> dict[str, Any]:
    found: dict[str, Any] = {}
    cells = per_cell(table).group_by("num_real_images", "synthetic_set", "architecture", maintain_order=True)
    for (num_real, name, architecture), rows in cells:
        row = f"{num_real} real, {name or 'no'} synthetic"
        found.setdefault(row, {})[str(architecture)] = _spread(rows["iou"].to_list())
    return found


def differences(table: pl.DataFrame) -> dict[str, Any]:
    """Selected less random, repeat by repeat: the same seeds on both sides."""
    cells = per_cell(table)
    sides = [cells.filter(pl.col("synthetic_set") == name) for name in ("selected", "random")]
    joined = sides[0].join(sides[1], on=["num_real_images", "architecture", "repeat"], suffix="_random")
    found: dict[str, Any] = {}
    for (num_real,), rows in joined.group_by("num_real_images", maintain_order=True):
        values = (rows["iou"] - rows["iou_random"]).to_list()
        found[f"{num_real} real"] = _spread(values) | {"architectures": rows["architecture"].to_list()}
    return found


def _spread(values: list[float]) -> dict[str, Any]:
    return {"mean": mean(values), "spread": stdev(values) if len(values) > 1 else None, "values": values}


if __name__ == "__main__":
    main()
