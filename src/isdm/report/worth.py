"""What a gain is worth in real images, by the learning curve of real images alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from isdm.report.comparisons import is_shown
from isdm.report.tables import FOREGROUND, points

MOST_DOUBLINGS = 5.0
"""Beyond it the curve says nothing."""


def learning_curve(summary: pl.DataFrame, architecture: str) -> float | None:
    """Mean foreground IoU gained by each doubling of the real images: the least-squares line against log2 of them.

    None with fewer than two numbers of real images.
    """
    alone = summary.filter(
        (pl.col("architecture") == architecture)
        & (pl.col("measure") == FOREGROUND)
        & pl.col("is_alone")
        & pl.col("mean").is_not_null()
    )
    if alone["num_real_images"].n_unique() < 2:
        return None
    doublings = np.log2(alone["num_real_images"].to_numpy())
    return float(np.polyfit(doublings, alone["mean"].to_numpy(), 1)[0])


def worth_in_real_images(summary: pl.DataFrame, architecture: str, lines: Mapping[str, Mapping[str, Any]]) -> str:
    """A sentence on the largest gain that was shown; empty where none was, or there is no curve."""
    shown = [line for line in lines.values() if line["is_tested"] and is_shown(line) and line["gain"] > 0]
    slope = learning_curve(summary, architecture)
    if slope is None or not shown:
        return ""
    if slope <= 0:
        return "More real images did not raise the mean here, so the gain cannot be expressed in real images."
    line = max(shown, key=lambda one: float(one["gain"]))
    alone = summary.filter(pl.col("is_alone"))["num_real_images"].to_list()
    start = int(summary.filter(pl.col("row") == line["reference"])["num_real_images"][0])
    low, high = (max(line[end] / slope, 0.0) for end in ("lower", "upper"))
    most = start * (2**MOST_DOUBLINGS - 1)
    few, many = (start * (2 ** min(doublings, MOST_DOUBLINGS) - 1) for doublings in (low, high))
    curve = (
        f"Real images alone gain {points(100 * slope)} points with each doubling, measured from {min(alone)} to "
        f"{max(alone)}"
    )
    if low >= MOST_DOUBLINGS:
        return (
            f"{curve}: too little to say what {line['label']} is worth in real images, but for more than {most:.0f}."
        )
    worth = f"{few:.0f} to {many:.0f}" if high < MOST_DOUBLINGS else f"{few:.0f} or more"
    return f"{curve}; if that goes on, {line['label']} is worth {worth} further real images."
