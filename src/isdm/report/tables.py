"""From one line per cell and class to means, spreads and gains.

A *cell* is one trained network: one configuration (`row`), one architecture, one repeat. The summary is a
tidy table, one line per configuration, architecture and measure: figures and tables read the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import polars as pl
from rich.table import Table
from rich.text import Text

from isdm.config import Arm, added_images, is_augmented, is_synthetic_first
from isdm.text import printable

FOREGROUND = "mean_foreground_iou"
WITH_BACKGROUND = "mean_iou_with_background"
PER_IMAGE = "mean_per_image_foreground_iou"
CLASS = "class_iou"

MEASURE_NAMES = {
    FOREGROUND: "mean foreground IoU",
    WITH_BACKGROUND: "mean IoU with background",
    PER_IMAGE: "mean per-image foreground IoU",
}

ROW_COLUMNS = ("row", "arm", "synthetic_set", "num_real_images", "num_synthetic_images")
CELL_COLUMNS = (*ROW_COLUMNS, "architecture", "repeat")
_VALUES = ("class_id", "class_name", "iou", "mean_image_iou", "num_steps", "train_seconds")
RESULT_COLUMNS = (*CELL_COLUMNS, *_VALUES)

_CLASS_COLUMNS = ("class_id", "class_name", "is_foreground")

_ARCHITECTURE_NAMES = {"unetplusplus": "U-Net++", "fpn": "FPN", "deeplabv3plus": "DeepLabv3+"}
_ARMS = get_args(Arm)


def architecture_name(architecture: str) -> str:
    """The name people know an architecture by; an unknown one keeps its own."""
    return _ARCHITECTURE_NAMES.get(architecture, architecture)


def architectures_of(table: pl.DataFrame) -> list[str]:
    """The architectures in a table, the known ones first and in the order of the paper."""
    known = list(_ARCHITECTURE_NAMES)
    found = table["architecture"].unique().to_list()
    return sorted(found, key=lambda name: (known.index(name) if name in known else len(known), name))


def kind_of_added(arm: str, synthetic_set: str | None) -> str:
    """What a row's added images are: `synthetic`, or real ones `duplicated` or `pasted`, which no model painted."""
    return "synthetic" if synthetic_set else added_images(arm)


def treatment_of(arm: str) -> str:
    """What is done with all images of a row: `augmented` or nothing."""
    return "augmented" if is_augmented(arm) else ""


def row_label(
    num_real: int, num_synthetic: int, arm: str, synthetic_set: str, *, all_real: int, name_sets: bool
) -> str:
    """Words for one configuration: "real + 400 synthetic", "400 synthetic, then 100 real, augmented"."""
    real = "real" if num_real == all_real else f"{num_real} real"
    kind, treatment = kind_of_added(arm, synthetic_set), treatment_of(arm)
    if num_synthetic == 0:
        label = f"{real} only"
    elif num_real == 0:
        label = f"{kind} only ({num_synthetic})"
    elif is_synthetic_first(arm):
        label = f"{num_synthetic} {kind}, then {real}"
    else:
        label = f"{real} + {num_synthetic} {kind}"
    if treatment:
        label += f", {treatment}"
    return f"{label} [{synthetic_set}]" if name_sets and synthetic_set else label


def cell_table(results: pl.DataFrame) -> pl.DataFrame:
    """The measures of every cell: one line per cell and measure, and one per cell and class.

    An IoU that is undefined (null or NaN) is left out of the means, it does not count as zero.
    """
    results = results.with_columns(pl.col("iou", "mean_image_iou").cast(pl.Float64).fill_nan(None))
    if "is_foreground" not in results.columns:  # of an earlier version
        results = results.with_columns((pl.col("class_id") > 0).alias("is_foreground"))
    foreground = pl.col("is_foreground")
    means = (
        results.group_by(CELL_COLUMNS, maintain_order=True)
        .agg(
            pl.col("iou").filter(foreground).mean().alias(FOREGROUND),
            pl.col("iou").mean().alias(WITH_BACKGROUND),
            pl.col("mean_image_iou").filter(foreground).mean().alias(PER_IMAGE),
        )
        .unpivot(index=CELL_COLUMNS, variable_name="measure", value_name="value")
        .with_columns(
            pl.lit(None, dtype=pl.Int64).alias("class_id"),
            pl.lit("").alias("class_name"),
            pl.lit(True).alias("is_foreground"),
        )
    )
    classes = results.select(
        *CELL_COLUMNS,
        pl.lit(CLASS).alias("measure"),
        pl.col("iou").alias("value"),
        pl.col("class_id").cast(pl.Int64),
        "class_name",
        "is_foreground",
    )
    return pl.concat([means, classes], how="vertical_relaxed")


def summary_table(results: pl.DataFrame, baseline: str = "plain") -> pl.DataFrame:
    """Mean and sample standard deviation over repeats, per configuration, architecture and measure.

    `measure` is one of the three means or `class_iou`; `class_id` and `class_name` are set for the
    latter only. `spread` is null with fewer than two repeats. `is_alone` marks real images alone under the
    treatment `baseline`, which others are compared with.
    """
    labels = _labels(results)
    return (
        cell_table(results)
        .group_by(*ROW_COLUMNS, "architecture", "measure", *_CLASS_COLUMNS, maintain_order=True)
        .agg(
            pl.col("value").count().cast(pl.Int64).alias("num_repeats"),
            pl.col("value").mean().alias("mean"),
            pl.col("value").std(ddof=1).alias("spread"),
        )
        .with_columns(
            pl.col("row").replace_strict(labels, return_dtype=pl.String).alias("label"),
            _is_alone(baseline).alias("is_alone"),
            _position("architecture", architectures_of(results)).alias("_architecture"),
            _position("arm", _ARMS).alias("_arm"),
            _position("measure", (*MEASURE_NAMES, CLASS)).alias("_measure"),
        )
        .sort(
            [
                "_architecture",
                "num_real_images",
                "num_synthetic_images",
                "_arm",
                "row",
                "_measure",
                "class_id",
            ],
            descending=[False, True, False, False, False, False, False],
        )
        .select(
            *("row", "label", *ROW_COLUMNS[1:], "architecture", "measure", *_CLASS_COLUMNS),
            *("num_repeats", "mean", "spread", "is_alone"),
        )
    )


def _labels(results: pl.DataFrame) -> dict[str, str]:
    all_real = int(results.select(pl.col("num_real_images").max()).item())
    sets = {name for name in results["synthetic_set"].unique().to_list() if name}
    return {
        row: row_label(real, synthetic, arm, name or "", all_real=all_real, name_sets=len(sets) > 1)
        for row, arm, name, real, synthetic in results.select(ROW_COLUMNS).unique().iter_rows()
    }


def _position(column: str, order: Sequence[str]) -> pl.Expr:
    positions = {name: index for index, name in enumerate(order)}
    return pl.col(column).replace_strict(positions, default=len(positions), return_dtype=pl.Int64)


def _is_alone(baseline: str) -> pl.Expr:
    return (pl.col("arm") == baseline) & (pl.col("num_synthetic_images") == 0) & (pl.col("num_real_images") > 0)


def baseline_of(summary: pl.DataFrame, architecture: str, *, num_real: int | None = None) -> str | None:
    """The row of real images alone that an architecture is compared with; None if it is not there.

    Without `num_real` it is the one with the most real images in the whole table. An architecture for which
    that one has not run has no baseline: a smaller one would flatter everything compared with it.
    """
    alone = summary.filter(pl.col("is_alone"))
    if alone.is_empty():
        return None
    wanted = alone["num_real_images"].max() if num_real is None else num_real
    rows = alone.filter((pl.col("architecture") == architecture) & (pl.col("num_real_images") == wanted))
    return None if rows.is_empty() else str(rows["row"][0])


def baseline_label(summary: pl.DataFrame) -> str | None:
    """Words for the row that all else is compared with, such as "real only, augmented"; None if it is nowhere."""
    rows = {baseline_of(summary, name) for name in architectures_of(summary)} - {None}
    labels = summary.filter(pl.col("row").is_in(rows))["label"].to_list()
    return str(labels[0]) if labels else None


def gains(summary: pl.DataFrame) -> pl.DataFrame:
    """The summary with `baseline_mean`, `gain_points` (IoU x 100) and `gain_percent` (of the baseline).

    They are null where there is no baseline; `gain_percent` also where the baseline is zero.
    """
    rows = {name: baseline_of(summary, name) for name in architectures_of(summary)}
    baselines = summary.filter(
        pl.col("row") == pl.col("architecture").replace_strict(rows, return_dtype=pl.String)
    ).select("architecture", "measure", "class_name", pl.col("mean").alias("baseline_mean"))
    difference = pl.col("mean") - pl.col("baseline_mean")
    return summary.join(
        baselines, on=["architecture", "measure", "class_name"], how="left", maintain_order="left"
    ).with_columns(
        (100 * difference).alias("gain_points"),
        pl.when(pl.col("baseline_mean") > 0).then(100 * difference / pl.col("baseline_mean")).alias("gain_percent"),
    )


@dataclass(frozen=True)
class Score:
    """The mean foreground IoU of one configuration under one architecture."""

    row: str
    label: str
    num_real: int
    num_synthetic: int
    painted: bool
    repeats: int
    mean: float
    spread: float | None


def scores_of(summary: pl.DataFrame, architecture: str) -> list[Score]:
    """The scores of an architecture in the order of the table; configurations without a mean are left out."""
    lines = summary.filter(
        (pl.col("architecture") == architecture) & (pl.col("measure") == FOREGROUND) & pl.col("mean").is_not_null()
    )
    return [
        Score(
            row=line["row"],
            label=line["label"],
            num_real=line["num_real_images"],
            num_synthetic=line["num_synthetic_images"],
            painted=line["num_synthetic_images"] > 0
            and kind_of_added(line["arm"], line["synthetic_set"]) == "synthetic",
            repeats=line["num_repeats"],
            mean=line["mean"],
            spread=line["spread"],
        )
        for line in lines.iter_rows(named=True)
    ]


def points(value: float) -> str:
    """A signed number with one decimal; what rounds to zero has no sign of loss."""
    text = f"{value:+.1f}"
    return "+0.0" if text == "-0.0" else text


def mean_and_spread(mean: float | None, spread: float | None) -> str:
    """ "0.612 ± 0.008", "0.612" without a spread, and a dash where there is no mean."""
    if mean is None:
        return "–"
    return f"{mean:.3f}" if spread is None else f"{mean:.3f} ± {spread:.3f}"


def format_table(summary: pl.DataFrame) -> Table:
    """The mean foreground IoU for a terminal: configurations down, architectures across, the best in bold."""
    names = architectures_of(summary)
    lines = gains(summary).filter(pl.col("measure") == FOREGROUND)
    cells = {(line["row"], line["architecture"]): line for line in lines.iter_rows(named=True)}
    best = {
        name: max(scores, key=lambda score: score.mean).row for name in names if (scores := scores_of(summary, name))
    }
    over = baseline_label(summary)
    title = "Mean foreground IoU (± spread over repeats" + (")" if over is None else f", points over {over})")
    table = Table("configuration", title=title)
    for name in names:
        table.add_column(Text(printable(architecture_name(name))), justify="right")
    for row, label in ordered_rows(summary):
        texts = []
        for name in names:
            line = cells.get((row, name))
            text = "" if line is None else mean_and_spread(line["mean"], line["spread"])
            if line is not None and line["gain_points"] is not None and row != baseline_of(summary, name):
                text += f" ({points(line['gain_points'])})"
            texts.append(Text(text, style="bold" if best.get(name) == row else ""))
        table.add_row(Text(printable(label)), *texts)  # Text, not str: a name may hold rich's own markup
    return table


def ordered_rows(summary: pl.DataFrame) -> list[tuple[str, str]]:
    """All configurations as (row, label), in the order of the tables whatever the architecture."""
    rows = summary.select("row", "label", *ROW_COLUMNS[1:], _position("arm", _ARMS).alias("_arm")).unique()
    rows = rows.sort(
        ["num_real_images", "num_synthetic_images", "_arm", "row"], descending=[True, False, False, False]
    )
    return list(rows.select("row", "label").iter_rows())
