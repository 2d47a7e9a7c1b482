"""Every row of a study against its reference, with intervals and tests: one tidy table.

The reference of a row is the same real images alone, under the study's baseline treatment; of real images alone and
of synthetic ones alone it is all real images. Only the comparison named beforehand is tested, in each architecture;
where none was named all are, and the correction pays for that.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from isdm.errors import DataError
from isdm.metrics.statistics import ALPHA, Estimate, difference, holm, measure, pseudo_values
from isdm.report.tables import CLASS, FOREGROUND, architectures_of, baseline_of, scores_of

IMAGE_RECALL, FALSE_ALARMS, OBJECT_RECALL = "image_recall", "false_alarms", "object_recall"

_SCHEMA = {
    "row": pl.String,
    "label": pl.String,
    "architecture": pl.String,
    "measure": pl.String,
    "place": pl.Int64,
    "detail": pl.String,
    "is_foreground": pl.Boolean,
    "value": pl.Float64,
    "value_lower": pl.Float64,
    "value_upper": pl.Float64,
    "reference": pl.String,
    "reference_label": pl.String,
    "reference_value": pl.Float64,
    "gain": pl.Float64,
    "lower": pl.Float64,
    "upper": pl.Float64,
    "p_value": pl.Float64,
    "smallest_gain": pl.Float64,
    "num_groups": pl.Int64,
    "num_repeats": pl.Int64,
    "is_tested": pl.Boolean,
    "adjusted_p": pl.Float64,
}
COLUMNS = tuple(_SCHEMA)

Cube = NDArray[np.float64]
"""(R, G, K, 2) hits and totals; see `isdm.metrics.statistics`."""
Side = tuple[list[int], Cube]
"""The repeats of a row and their counts."""


@dataclass(frozen=True)
class Measured:
    """One measure of all rows that have it."""

    measure: str
    place: int
    detail: str
    rows: Mapping[str, Side]
    held: NDArray[np.float64]
    """(G, K) how much of what is measured a group really shows."""


def read_counts(study: Path) -> pl.DataFrame | None:
    """The counts by test group of a study; None where an earlier version made it.

    Raises:
        DataError: the file is damaged.
    """
    path = study / "counts.parquet"
    if not path.is_file():
        return None
    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} cannot be read ({error}). Run `isdm evaluate` again; it goes on.") from None


def comparison_table(counts: pl.DataFrame | None, summary: pl.DataFrame, primary: str | None) -> pl.DataFrame:
    """Compare every row with its reference.

    Args:
        counts: hits and totals by test group, of `read_counts`.
        summary: of `summary_table`.
        primary: the row that was named beforehand.

    Returns:
        One line for each row, architecture, measure and class or size: `value` with its interval; `gain` over the
        reference with `lower`, `upper`, `p_value` (null where nothing is to compare); `smallest_gain` that would have
        been found in 4 of 5 such studies, by a test corrected as this one is where it is tested; `adjusted_p` there.
    """
    if counts is None or counts.is_empty():
        return pl.DataFrame(schema=_SCHEMA)
    tested = [primary] if primary is not None else _rows_with_synthetic(summary)
    level = ALPHA / max(1, _num_tests(summary, tested))
    labels = dict(summary.select("row", "label").unique().iter_rows())
    foreground = set(summary.filter((pl.col("measure") == CLASS) & pl.col("is_foreground"))["class_id"].to_list())
    lines: list[dict[str, Any]] = []
    for architecture in architectures_of(summary):
        found = _measured(counts.filter(pl.col("architecture") == architecture), foreground)
        for row in summary.filter(pl.col("architecture") == architecture)["row"].unique(maintain_order=True):
            reference = reference_of(summary, architecture, row)
            for one in found:
                if row not in one.rows:
                    continue
                line = {"row": row, "label": labels[row], "architecture": architecture}
                line |= {"measure": one.measure, "place": one.place, "detail": one.detail}
                line["is_foreground"] = one.measure != CLASS or one.place in foreground
                line |= _own(one.rows[row], one.held)
                if reference is not None and reference in one.rows:
                    line |= {"reference": reference, "reference_label": labels[reference]}
                    of_test = level if one.measure == FOREGROUND and row in tested else ALPHA
                    line |= _against(one.rows[row], one.rows[reference], one.held, of_test)
                lines.append({name: line.get(name) for name in COLUMNS})
    table = pl.DataFrame(lines, schema=_SCHEMA).with_columns(pl.col(pl.Float64).fill_nan(None))
    return _tested(table, tested)


def _rows_with_synthetic(summary: pl.DataFrame) -> list[str]:
    """Real images with synthetic ones added; where there are none, synthetic ones alone."""
    scores = [one for name in architectures_of(summary) for one in scores_of(summary, name) if one.painted]
    return [one.row for one in scores if one.num_real > 0] or [one.row for one in scores]


def _num_tests(summary: pl.DataFrame, tested: Collection[str]) -> int:
    """How many comparisons are tested: rows and architectures for which both sides have run."""
    ran = set(summary.select("row", "architecture").iter_rows())
    return sum(
        row in tested and (reference_of(summary, architecture, row), architecture) in ran for row, architecture in ran
    )


def reference_of(summary: pl.DataFrame, architecture: str, row: str) -> str | None:
    """The row that a row is compared with; None for the baseline itself, or where it has not run."""
    one = summary.filter(pl.col("row") == row).row(0, named=True)
    whole = baseline_of(summary, architecture)
    if one["is_alone"] or one["num_real_images"] == 0:
        return whole if whole != row else None
    return baseline_of(summary, architecture, num_real=one["num_real_images"])


def _measured(counts: pl.DataFrame, foreground: Collection[int]) -> list[Measured]:
    """What an architecture's counts measure. A class that no test image shows is none of it."""
    if "held" not in counts.columns:  # of an earlier version
        counts = counts.with_columns(pl.col("total").alias("held"))
    found: list[Measured] = []
    for (name,), lines in counts.group_by("measure", maintain_order=True):
        details = sorted(set(lines.select("place", "detail").iter_rows()))
        groups = {name: index for index, name in enumerate(sorted(lines["group"].unique().to_list()))}
        places = {place: index for index, (place, _) in enumerate(details)}
        held = np.zeros((len(groups), len(places)))
        for group, place, amount in lines.group_by("group", "place").agg(pl.col("held").max()).iter_rows():
            held[groups[group], places[place]] = amount
        sides: dict[str, Side] = {}
        for (row,), of_row in lines.group_by("row", maintain_order=True):
            repeats = sorted(of_row["repeat"].unique().to_list())
            cube = np.zeros((len(repeats), len(groups), len(places), 2))
            at = (
                np.searchsorted(repeats, of_row["repeat"].to_numpy()),
                np.array([groups[name] for name in of_row["group"]]),
                np.array([places[place] for place in of_row["place"]]),
            )
            cube[(*at, 0)], cube[(*at, 1)] = of_row["hits"].to_numpy(), of_row["total"].to_numpy()
            sides[str(row)] = repeats, cube
        shown = [index for index in range(len(details)) if held[:, index].any()]
        found += _measures(
            str(name), [details[index] for index in shown], _of(sides, shown), held[:, shown], foreground
        )
    return found


def _of(sides: Mapping[str, Side], places: list[int]) -> dict[str, Side]:
    return {row: (repeats, cube[:, :, places]) for row, (repeats, cube) in sides.items()}


def _measures(
    name: str,
    details: Sequence[tuple[int, str]],
    sides: Mapping[str, Side],
    held: NDArray[np.float64],
    foreground: Collection[int],
) -> list[Measured]:
    """What is made of one kind of counts: classes and their mean, sizes and all of them."""
    each = [Measured(name, place, detail, _of(sides, [k]), held[:, [k]]) for k, (place, detail) in enumerate(details)]
    if name == CLASS:
        counted = [index for index, (place, _) in enumerate(details) if place in foreground]
        mean = Measured(FOREGROUND, 0, "", _of(sides, counted), held[:, counted])
        return [mean, *each] if counted else each
    if name == OBJECT_RECALL and details:
        sums = {row: (repeats, cube.sum(axis=2, keepdims=True)) for row, (repeats, cube) in sides.items()}
        whole = Measured(name, -1, "all sizes", sums, held.sum(axis=1, keepdims=True))
        return [whole, *each] if len(each) > 1 else [whole]
    return each


def _own(side: Side, held: NDArray[np.float64]) -> dict[str, Any]:
    one = measure(side[1], held)
    return {"value": one.value, "value_lower": max(one.lower, 0.0), "value_upper": min(one.upper, 1.0)}


def _against(side: Side, other: Side, held: NDArray[np.float64], level: float) -> dict[str, Any]:
    """The difference over the repeats that both have, and what a test at `level` would have found."""
    both = sorted(set(side[0]) & set(other[0]))
    if not both:
        return {}
    ours, theirs = (cube[[repeats.index(repeat) for repeat in both]] for repeats, cube in (side, other))
    one: Estimate = difference(ours, theirs, held, level)
    return {
        "reference_value": float(pseudo_values(theirs).mean()),
        "gain": one.value,
        "lower": max(one.lower, -1.0),  # shares differ by no more
        "upper": min(one.upper, 1.0),
        "p_value": one.p_value,
        "smallest_gain": one.smallest_effect,
        "num_groups": one.num_groups,
        "num_repeats": one.num_repeats,
    }


def _tested(table: pl.DataFrame, rows: Sequence[str]) -> pl.DataFrame:
    """Mark what is tested, and correct its p-values for their number (Holm)."""
    chosen = (pl.col("measure") == FOREGROUND) & pl.col("gain").is_not_null() & pl.col("row").is_in(rows)
    table = table.with_columns(chosen.alias("is_tested"))
    places = np.flatnonzero(table["is_tested"].to_numpy())
    adjusted: list[float | None] = [None] * table.height
    values = [float("nan") if value is None else value for value in table["p_value"].gather(places).to_list()]
    for place, value in zip(places, holm(values), strict=True):
        adjusted[place] = None if np.isnan(value) else value
    return table.with_columns(pl.Series("adjusted_p", adjusted, dtype=pl.Float64))


def is_shown(line: Mapping[str, Any]) -> bool:
    """Whether a tested difference is beyond chance: corrected p below 0.05, and more than one training behind it."""
    return line["adjusted_p"] is not None and line["adjusted_p"] < ALPHA and line["num_repeats"] > 1
