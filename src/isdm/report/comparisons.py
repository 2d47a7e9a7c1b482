"""Every row of a study against its reference, with intervals and tests: one tidy table.

The reference of a row is the same real images alone, under the study's baseline treatment; of real images alone and
of synthetic ones alone it is all real images. Only the comparison named beforehand is tested, in each architecture;
where none was named all are, and the correction pays for that.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from isdm.errors import DataError
from isdm.metrics.statistics import Estimate, difference, estimate, holm, pseudo_values
from isdm.report.tables import CLASS, FOREGROUND, architectures_of, baseline_of, scores_of

IMAGE_RECALL, FALSE_ALARMS, OBJECT_RECALL = "image_recall", "false_alarms", "object_recall"
ALPHA = 0.05

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
        been found in 4 of 5 such studies; `adjusted_p` where it is tested.
    """
    if counts is None or counts.is_empty():
        return pl.DataFrame(schema=_SCHEMA)
    labels = dict(summary.select("row", "label").unique().iter_rows())
    foreground = set(summary.filter((pl.col("measure") == CLASS) & pl.col("is_foreground"))["class_id"].to_list())
    lines: list[dict[str, Any]] = []
    for architecture in architectures_of(summary):
        cubes = _cubes(counts.filter(pl.col("architecture") == architecture), foreground)
        for row in summary.filter(pl.col("architecture") == architecture)["row"].unique(maintain_order=True):
            reference = reference_of(summary, architecture, row)
            for (measure, place, detail), of_row in cubes.items():
                if row not in of_row:
                    continue
                line = {"row": row, "label": labels[row], "architecture": architecture}
                line |= {"measure": measure, "place": place, "detail": detail}
                line["is_foreground"] = measure != CLASS or place in foreground
                line |= _own(of_row[row])
                if reference is not None and reference in of_row:
                    line |= {"reference": reference, "reference_label": labels[reference]}
                    line |= _against(of_row[row], of_row[reference])
                lines.append({name: line.get(name) for name in COLUMNS})
    table = pl.DataFrame(lines, schema=_SCHEMA).with_columns(pl.col(pl.Float64).fill_nan(None))
    return _tested(table, [primary] if primary is not None else _rows_with_synthetic(summary))


def _rows_with_synthetic(summary: pl.DataFrame) -> list[str]:
    """Real images with synthetic ones added; where there are none, synthetic ones alone."""
    scores = [one for name in architectures_of(summary) for one in scores_of(summary, name) if one.painted]
    return [one.row for one in scores if one.num_real > 0] or [one.row for one in scores]


def reference_of(summary: pl.DataFrame, architecture: str, row: str) -> str | None:
    """The row that a row is compared with; None for the baseline itself, or where it has not run."""
    one = summary.filter(pl.col("row") == row).row(0, named=True)
    whole = baseline_of(summary, architecture)
    if one["is_alone"] or one["num_real_images"] == 0:
        return whole if whole != row else None
    return baseline_of(summary, architecture, num_real=one["num_real_images"])


def _cubes(
    counts: pl.DataFrame, foreground: Collection[int]
) -> dict[tuple[str, int, str], dict[str, tuple[list[int], Cube]]]:
    """For each measure and place: of each row its repeats and their counts."""
    found: dict[tuple[str, int, str], dict[str, tuple[list[int], Cube]]] = {}
    for (measure,), lines in counts.group_by("measure", maintain_order=True):
        details = sorted(set(lines.select("place", "detail").iter_rows()))
        groups = {name: index for index, name in enumerate(sorted(lines["group"].unique().to_list()))}
        places = {place: index for index, (place, _) in enumerate(details)}
        for (row,), of_row in lines.group_by("row", maintain_order=True):
            repeats = sorted(of_row["repeat"].unique().to_list())
            cube = np.zeros((len(repeats), len(groups), len(places), 2))
            at = (
                np.searchsorted(repeats, of_row["repeat"].to_numpy()),
                np.array([groups[name] for name in of_row["group"]]),
                np.array([places[place] for place in of_row["place"]]),
            )
            cube[(*at, 0)], cube[(*at, 1)] = of_row["hits"].to_numpy(), of_row["total"].to_numpy()
            for name, place, detail, part in _measures(str(measure), details, cube, foreground):
                found.setdefault((name, place, detail), {})[str(row)] = repeats, part
    return found


def _measures(
    measure: str, details: Sequence[tuple[int, str]], cube: Cube, foreground: Collection[int]
) -> list[tuple[str, int, str, Cube]]:
    """What is made of one kind of counts: classes and their mean, sizes and all of them."""
    if measure == CLASS:
        counted = [index for index, (place, _) in enumerate(details) if place in foreground]
        parts = [(FOREGROUND, 0, "", cube[:, :, counted])] if counted else []
        return parts + [(CLASS, place, name, cube[:, :, [k]]) for k, (place, name) in enumerate(details)]
    if measure == OBJECT_RECALL:
        whole = (OBJECT_RECALL, -1, "all sizes", cube.sum(axis=2, keepdims=True))
        sizes = [(OBJECT_RECALL, place, name, cube[:, :, [k]]) for k, (place, name) in enumerate(details)]
        return [whole, *sizes] if len(sizes) > 1 else [whole]
    return [(measure, place, name, cube[:, :, [k]]) for k, (place, name) in enumerate(details)]


def _own(side: tuple[list[int], Cube]) -> dict[str, Any]:
    one = estimate(pseudo_values(side[1]))
    return {"value": one.value, "value_lower": max(one.lower, 0.0), "value_upper": min(one.upper, 1.0)}


def _against(side: tuple[list[int], Cube], other: tuple[list[int], Cube]) -> dict[str, Any]:
    """The difference over the repeats that both have."""
    both = sorted(set(side[0]) & set(other[0]))
    if not both:
        return {}
    ours, theirs = (cube[[repeats.index(repeat) for repeat in both]] for repeats, cube in (side, other))
    one: Estimate = difference(ours, theirs)
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
