"""Means, spreads and gains against numbers computed by hand."""

import io
from collections.abc import Sequence

import polars as pl
import pytest
from rich.console import Console

from isdm.report.comparisons import comparison_table
from isdm.report.figures import scaling_figure
from isdm.report.tables import (
    CLASS,
    FOREGROUND,
    PER_IMAGE,
    WITH_BACKGROUND,
    baseline_of,
    format_table,
    gains,
    row_label,
    summary_table,
)

Iou = float | None
REAL_ONLY = ("real-only", "plain", "", 400, 0)
MIXED = ("real-syn400", "plain", "set-a", 400, 400)


def cell(
    row: tuple[str, str, str, int, int], ious: Sequence[Iou], *, repeat: int = 0, architecture: str = "fpn"
) -> list[dict[str, object]]:
    """The lines of one trained network; `ious` start with the background."""
    slug, arm, synthetic_set, num_real, num_synthetic = row
    return [
        {
            "row": slug,
            "arm": arm,
            "synthetic_set": synthetic_set,
            "num_real_images": num_real,
            "num_synthetic_images": num_synthetic,
            "architecture": architecture,
            "repeat": repeat,
            "class_id": class_id,
            "class_name": ["background", "scratch", "patch"][class_id],
            "iou": iou,
            "mean_image_iou": None if iou is None else iou / 2,
            "num_steps": 100,
            "train_seconds": 10.0,
        }
        for class_id, iou in enumerate(ious)
    ]


def summary_of(*cells: list[dict[str, object]]) -> pl.DataFrame:
    return summary_table(pl.DataFrame([line for lines in cells for line in lines], infer_schema_length=None))


def line_of(table: pl.DataFrame, row: str, measure: str, class_name: str = "") -> dict[str, object]:
    chosen = table.filter(
        (pl.col("row") == row) & (pl.col("measure") == measure) & (pl.col("class_name") == class_name)
    )
    return chosen.row(0, named=True)


@pytest.fixture
def two_repeats() -> pl.DataFrame:
    return summary_of(
        cell(REAL_ONLY, [0.9, 0.5, 0.6], repeat=0),
        cell(REAL_ONLY, [0.9, 0.6, 0.7], repeat=1),
        cell(MIXED, [0.9, 0.9, 0.7], repeat=0),
        cell(MIXED, [0.9, 0.7, 0.7], repeat=1),
    )


def test_means_and_spread(two_repeats: pl.DataFrame) -> None:
    foreground = line_of(two_repeats, "real-only", FOREGROUND)
    assert foreground["mean"] == pytest.approx(0.6)  # of 0.55 and 0.65
    assert foreground["spread"] == pytest.approx(0.1 / 2**0.5)  # n - 1 in the denominator
    assert foreground["num_repeats"] == 2
    assert line_of(two_repeats, "real-only", WITH_BACKGROUND)["mean"] == pytest.approx((2 / 3 + 2.2 / 3) / 2)
    assert line_of(two_repeats, "real-only", PER_IMAGE)["mean"] == pytest.approx(0.3)
    assert line_of(two_repeats, "real-syn400", CLASS, "scratch")["mean"] == pytest.approx(0.8)


@pytest.mark.parametrize("undefined", [None, float("nan")])
def test_undefined_iou_is_left_out_not_zero(undefined: Iou) -> None:
    summary = summary_of(cell(REAL_ONLY, [0.9, undefined, 0.6]))
    assert line_of(summary, "real-only", FOREGROUND)["mean"] == pytest.approx(0.6)
    assert line_of(summary, "real-only", FOREGROUND)["spread"] is None
    assert line_of(summary, "real-only", CLASS, "scratch")["mean"] is None


def test_gains(two_repeats: pl.DataFrame) -> None:
    table = gains(two_repeats)
    mean = line_of(table, "real-syn400", FOREGROUND)
    assert mean["gain_points"] == pytest.approx(15.0)  # 0.75 against 0.60
    assert mean["gain_percent"] == pytest.approx(25.0)
    assert line_of(table, "real-syn400", CLASS, "patch")["gain_points"] == pytest.approx(5.0)
    assert line_of(table, "real-only", FOREGROUND)["gain_points"] == 0


def test_gain_in_percent_of_zero_is_undefined() -> None:
    table = gains(summary_of(cell(REAL_ONLY, [0.9, 0.0, 0.5]), cell(MIXED, [0.9, 0.2, 0.5])))
    assert line_of(table, "real-syn400", CLASS, "scratch")["gain_percent"] is None
    assert line_of(table, "real-syn400", CLASS, "scratch")["gain_points"] == pytest.approx(20.0)


def test_baseline_has_all_real_images_and_is_plain() -> None:
    few = ("real100", "plain", "", 100, 0)
    augmented = ("real-aug", "augmented", "", 400, 0)
    cells = [cell(row, [0.9, 0.5, 0.5]) for row in (few, augmented, REAL_ONLY, MIXED)]
    unetplusplus = cell(few, [0.9, 0.5, 0.5], architecture="unetplusplus")
    summary = summary_of(*cells, unetplusplus)
    assert baseline_of(summary, "fpn") == "real-only"
    assert baseline_of(summary, "fpn", num_real=100) == "real100"
    assert baseline_of(summary, "unetplusplus") is None  # 100 images would flatter everything else


@pytest.mark.parametrize(
    ("row", "name_sets", "label"),
    [
        ((400, 0, "plain", ""), False, "real only"),
        ((400, 400, "plain", "a"), False, "real + 400 synthetic"),
        ((100, 400, "plain", "a"), False, "100 real + 400 synthetic"),
        ((0, 400, "plain", "a"), False, "synthetic only (400)"),
        ((400, 0, "augmented", ""), False, "real only, augmented"),
        ((400, 400, "duplicated", ""), False, "real + 400 duplicated"),
        ((400, 400, "pasted+augmented", ""), False, "real + 400 pasted, augmented"),
        ((400, 400, "plain", "a"), True, "real + 400 synthetic [a]"),
        ((400, 400, "synthetic-first", "a"), False, "400 synthetic, then real"),
        ((100, 400, "synthetic-first+augmented", "a"), True, "400 synthetic, then 100 real, augmented [a]"),
    ],
)
def test_row_labels(row: tuple[int, int, str, str], name_sets: bool, label: str) -> None:
    assert row_label(*row, all_real=400, name_sets=name_sets) == label


def test_terminal_table(two_repeats: pl.DataFrame) -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system="standard")
    console.print(format_table(two_repeats))
    text = console.file.getvalue()
    assert "0.600 ± 0.071" in text
    assert "\x1b[1m0.750 ± 0.071 (+15.0)" in text


def test_tables_say_what_their_points_are_over() -> None:
    rows = [("a", "plain", "", 400, 0), ("b", "augmented", "", 400, 0)]
    results = pl.DataFrame([line for row in rows for line in cell(row, [0.9, 0.5, 0.5])], infer_schema_length=None)
    for baseline, label in (("plain", "real only"), ("augmented", "real only, augmented")):
        summary = summary_table(results, baseline)
        console = Console(file=io.StringIO(), width=120)
        console.print(format_table(summary))
        assert f"points over {label})" in " ".join(console.file.getvalue().split())
        (axes,) = scaling_figure(results, summary, comparison_table(None, summary, None)).axes
        assert axes.get_legend_handles_labels()[1] == [label]


def test_terminal_table_prints_names_as_they_are() -> None:
    sets = [("a", "plain", "[red]x[/red]", 400, 5), ("b", "plain", "y", 400, 5)]
    summary = summary_of(cell(REAL_ONLY, [0.9, 0.5, 0.5]), *(cell(row, [0.9, 0.5, 0.5]) for row in sets))
    console = Console(file=io.StringIO(), width=120)
    console.print(format_table(summary))
    assert "real + 5 synthetic [[red]x[/red]]" in console.file.getvalue()
