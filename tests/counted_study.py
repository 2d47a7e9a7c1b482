"""A small study given by what its networks find, without any network."""

from typing import Any

import numpy as np
import polars as pl

from isdm.report.comparisons import comparison_table
from isdm.report.tables import FOREGROUND, summary_table

CLASSES = ("background", "scratch", "dent")
ROWS: dict[str, tuple[str, str, int, int]] = {
    "real": ("plain", "", 80, 0),
    "mixed": ("plain", "s", 80, 50),
    "few": ("plain", "", 20, 0),
    "few-mixed": ("plain", "s", 20, 50),
    "synthetic": ("plain", "s", 0, 50),
    "synthetic-few": ("augmented", "s", 0, 20),
    "pasted": ("pasted", "", 80, 50),
    "augmented": ("augmented", "", 80, 0),
    "mixed-augmented": ("augmented", "s", 80, 50),
}


class Study:
    """Counts of a study in which each row finds a given share of each class."""

    def __init__(self, repeats: int = 3, groups: int = 20, noise: float = 0.01) -> None:
        self.repeats, self.groups, self.noise = repeats, groups, noise
        self.counts: list[dict[str, Any]] = []
        self.results: list[dict[str, Any]] = []

    def add(self, row: str, *shares: float, architecture: str = "fpn") -> "Study":
        """A row that finds `shares` of the foreground classes."""
        arm, source, real, synthetic = ROWS[row]
        rng = np.random.default_rng(len(self.results))
        for repeat in range(self.repeats):
            sums = np.zeros((len(CLASSES), 2))
            for group in range(self.groups):
                for place, share in enumerate((0.9, *shares)):
                    hits = round(1000 * float(np.clip(share + self.noise * rng.normal(), 0, 1)))
                    sums[place] += hits, 1000
                    line = {"row": row, "architecture": architecture, "repeat": repeat, "group": f"g{group}"}
                    line |= {"measure": "class_iou", "place": place, "detail": CLASSES[place]}
                    self.counts.append(line | {"hits": hits, "total": 1000})
            for place, name in enumerate(CLASSES):
                line = {"row": row, "arm": arm, "synthetic_set": source, "num_real_images": real}
                line |= {"num_synthetic_images": synthetic, "architecture": architecture, "repeat": repeat}
                line |= {"class_id": place, "class_name": name, "iou": sums[place, 0] / sums[place, 1]}
                self.results.append(line | {"mean_image_iou": 0.5, "num_steps": 9, "train_seconds": 1.0})
        return self

    def read(self, primary: str | None = None, baseline: str = "plain") -> tuple[pl.DataFrame, pl.DataFrame]:
        """Summary and comparisons."""
        summary = summary_table(pl.DataFrame(self.results), baseline)
        return summary, comparison_table(pl.DataFrame(self.counts), summary, primary)


def line_of(table: pl.DataFrame, row: str, measure: str = FOREGROUND, detail: str = "") -> dict[str, Any]:
    chosen = (pl.col("row") == row) & (pl.col("measure") == measure) & (pl.col("detail") == detail)
    return table.filter(chosen).row(0, named=True)
