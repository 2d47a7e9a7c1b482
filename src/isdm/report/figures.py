"""The three figures of a study, drawn without a display and without global state.

Each is a function from tables to a `Figure`. A theme sets the ink for white paper or for a dark page;
`stacked` puts the panels above each other for a narrow screen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from isdm.config import is_synthetic_first
from isdm.report.drawing import (
    LIGHT,
    Theme,
    class_label,
    drawable,
    legend_below,
    percent_text,
    scale_to_shares,
    styled,
)
from isdm.report.tables import (
    CLASS,
    FOREGROUND,
    architecture_name,
    architectures_of,
    baseline_of,
    cell_table,
    gains,
    kind_of_added,
    points,
    treatment_of,
)

DODGE_INCHES = 0.07
"""Lines stand that far beside each other, so that no bar hides another."""
_MARKS = (("o", "-"), ("s", (0, (5, 1.5))), ("^", (0, (1, 1))), ("D", (0, (5, 1.5, 1, 1.5))))
"""Markers and lines, one after the other, each for as many series as there are colours."""


def _panels(count: int, *, stacked: bool, width: float, height: float) -> tuple[Figure, list[Axes]]:
    rows, columns = (count, 1) if stacked else (1, count)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    return figure, list(grid.flat)


@dataclass(frozen=True)
class _Series:
    """One line of the first figure: what stays fixed while the number of synthetic images grows."""

    num_real: int
    arm: str
    synthetic_set: str
    label: str


def scaling_figure(
    results: pl.DataFrame,
    summary: pl.DataFrame,
    comparisons: pl.DataFrame,
    *,
    theme: Theme = LIGHT,
    stacked: bool = False,
) -> Figure:
    """Mean foreground IoU against the number of synthetic images, one panel per architecture."""
    names = architectures_of(summary)
    foreground = summary.filter((pl.col("measure") == FOREGROUND) & pl.col("mean").is_not_null())
    cells = cell_table(results).filter((pl.col("measure") == FOREGROUND) & pl.col("value").is_not_null())
    gained = comparisons.filter((pl.col("measure") == FOREGROUND) & pl.col("lower").is_not_null())
    series = _series_of(foreground)
    labels = drawable([one.label for one in series])
    counts = sorted(set(foreground["num_synthetic_images"].to_list()))
    with styled(theme):
        figure, panels = _panels(len(names), stacked=stacked, width=4.4 if stacked else 3.5, height=3.2)
        for axes, name in zip(panels, names, strict=True):
            only = pl.col("architecture") == name
            tables = foreground.filter(only), cells.filter(only), gained.filter(only)
            for index, one in enumerate(series):
                aside = DODGE_INCHES * (index - (len(series) - 1) / 2)
                _draw_series(figure, axes, replace(one, label=labels[index]), *tables, _look(theme, index), aside)
            _draw_baseline(axes, foreground.filter(only), baseline_of(summary, name), theme)
            axes.set_title(architecture_name(name))
            axes.grid(axis="y")
            _scale_counts(axes, counts)
        for axes in panels if stacked else panels[:1]:
            axes.set_ylabel("mean foreground IoU")
        for axes in panels[-1:] if stacked else panels:
            axes.set_xlabel("synthetic images")
        legend_below(figure, panels, columns=1 if stacked else min(3, len(panels)))
    return figure


def _series_of(foreground: pl.DataFrame) -> list[_Series]:
    """The lines to draw: every kind of row that holds added images, the most real images first."""
    all_real = foreground["num_real_images"].max()
    keys = foreground.filter(pl.col("num_synthetic_images") > 0).select("num_real_images", "arm", "synthetic_set")
    named = len(set(keys["synthetic_set"].drop_nulls().to_list()) - {""}) > 1
    series = []
    for real, arm, name in keys.unique(maintain_order=True).sort("num_real_images", descending=True).iter_rows():
        added, treatment = kind_of_added(arm, name), treatment_of(arm)
        kept = "real" if real == all_real else f"{real} real"
        in_turn = is_synthetic_first(arm)
        label = f"{added} only" if not real else f"{added}, then {kept}" if in_turn else f"{kept} + {added}"
        if treatment:
            label += f", {treatment}"
        series.append(_Series(real, arm, name or "", f"{label} [{name}]" if named and name else label))
    return series


def _look(theme: Theme, index: int) -> dict[str, Any]:
    """Colour, marker and line of a series: where the colours are used up, they come again with others."""
    turn, colour = divmod(index, len(theme.series))
    marker, line = _MARKS[turn % len(_MARKS)]
    return {"color": theme.series[colour], "marker": marker, "linestyle": line}


def _draw_series(
    figure: Figure,
    axes: Axes,
    one: _Series,
    foreground: pl.DataFrame,
    cells: pl.DataFrame,
    gained: pl.DataFrame,
    look: Mapping[str, Any],
    aside: float,
) -> None:
    """Repeats as faint dots, their mean as a line, the interval of the gain over the reference as bars.

    A line starts at its own real images without synthetic ones, so that its first step can be read off.
    """
    of_series = (
        (pl.col("num_real_images") == one.num_real)
        & (pl.col("arm") == one.arm)
        & ((pl.col("synthetic_set").fill_null("") == one.synthetic_set) | (pl.col("num_synthetic_images") == 0))
    )
    dots = cells.filter(of_series)
    means = (
        foreground.filter(of_series)
        .sort("num_synthetic_images")
        .join(gained.select("row", "gain", "lower", "upper"), on="row", how="left", maintain_order="left")
    )
    bars = [(means["gain"] - means["lower"]), (means["upper"] - means["gain"])]
    axes.scatter(
        dots["num_synthetic_images"].to_numpy(),
        dots["value"].to_numpy(),
        s=16,
        color=look["color"],
        marker=look["marker"],
        alpha=0.4,
        linewidth=0,
        # Beside the bars, not under them.
        transform=axes.transData + ScaledTranslation(aside + 0.06, 0, figure.dpi_scale_trans),
    )
    axes.errorbar(
        means["num_synthetic_images"].to_numpy(),
        means["mean"].to_numpy(),
        yerr=[bar.fill_null(0.0).to_numpy() for bar in bars],
        **look,
        markersize=5,
        linewidth=1.8,
        elinewidth=1.2,
        capsize=3,
        label=one.label,
        transform=axes.transData + ScaledTranslation(aside, 0, figure.dpi_scale_trans),
    )
    # Matplotlib does not see in its limits what is drawn beside its place.
    ends = [means["mean"] - bars[0].fill_null(0.0), means["mean"] + bars[1].fill_null(0.0)]
    for frame, values in ((means, ends[0]), (means, ends[1]), (dots, dots["value"])):
        axes.update_datalim(np.column_stack([frame["num_synthetic_images"].to_numpy(), values.to_numpy()]))
    axes.autoscale_view()


def _draw_baseline(axes: Axes, foreground: pl.DataFrame, row: str | None, theme: Theme) -> None:
    if row is not None:
        for mean, label in foreground.filter(pl.col("row") == row).select("mean", "label").iter_rows():
            axes.axhline(mean, color=theme.muted, linestyle=(0, (4, 3)), linewidth=1.3, label=label)


def _scale_counts(axes: Axes, counts: Sequence[int]) -> None:
    """Ticks at the counts themselves; a logarithm past the first one where they span a wide range."""
    positive = [count for count in counts if count > 0]
    if positive and max(positive) > 6 * min(positive):
        axes.set_xscale("symlog", linthresh=min(positive), linscale=0.6)
        axes.set_xlim(-0.2 * min(positive), 1.25 * max(positive))
    else:
        axes.margins(x=0.08)
    axes.set_xticks(list(counts), [str(count) for count in counts])
    axes.minorticks_off()


def gains_figure(summary: pl.DataFrame, *, theme: Theme = LIGHT, stacked: bool = False) -> Figure | None:
    """Gain in percent of the baseline: configurations down, classes and their mean across.

    None where nothing has a baseline to be compared with.
    """
    lines = _gain_lines(summary)
    if lines.is_empty():
        return None
    names = architectures_of(lines)
    classes = lines.filter(pl.col("measure") == CLASS).select("class_id", "class_name").unique().sort("class_id")
    columns = [*classes["class_name"].to_list(), ""]
    shown = [*(class_label(name, number) for number, name in classes.iter_rows()), "mean"]
    labels = dict(lines.select("row", "label").unique(maintain_order=True).iter_rows())
    limit = max(1.0, float(np.nanpercentile(np.abs(lines["gain_percent"].to_numpy()), 95)))
    with styled(theme):
        figure, panels = _panels(
            len(names),
            stacked=stacked,
            width=max(2.6, 0.62 * len(columns) + 0.4) + (1.4 if stacked else 0.9),
            height=1.5 + 0.36 * len(labels),
        )
        for axes, name in zip(panels, names, strict=True):
            values = _gain_matrix(lines.filter(pl.col("architecture") == name), list(labels), columns)
            _draw_heat_map(axes, values, limit, theme)
            axes.set_xticks(range(len(columns)), shown, rotation=40, ha="right", rotation_mode="anchor")
            axes.set_title(architecture_name(name))
        for axes in panels:
            axes.set_yticks(range(len(labels)), drawable([*labels.values()], 34))
    return figure


def _gain_lines(summary: pl.DataFrame) -> pl.DataFrame:
    """Gains of every configuration but the baselines, for the foreground classes and their mean."""
    baselines = {(name, baseline_of(summary, name)) for name in architectures_of(summary)}
    baseline_rows = [row for _, row in baselines if row is not None]
    return gains(summary).filter(
        ((pl.col("measure") == FOREGROUND) | ((pl.col("measure") == CLASS) & pl.col("is_foreground")))
        & pl.col("gain_percent").is_not_null()
        & ~pl.col("row").is_in(baseline_rows)
    )


def _gain_matrix(
    lines: pl.DataFrame, rows: Sequence[str], columns: Sequence[str]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Rows x columns, NaN where there is no gain; the mean has the empty class name."""
    values = np.full((len(rows), len(columns)), np.nan)
    for row, name, gain in lines.select("row", "class_name", "gain_percent").iter_rows():
        values[rows.index(row), columns.index(name)] = gain
    return values


def _draw_heat_map(axes: Axes, values: np.ndarray[Any, np.dtype[np.float64]], limit: float, theme: Theme) -> None:
    """Cells with their number. Colours saturate at `limit`, so one extreme value does not bleach the rest."""
    colours = LinearSegmentedColormap.from_list("gain", [theme.loss, theme.even, theme.gain])
    axes.imshow(values, cmap=colours, norm=TwoSlopeNorm(0.0, -limit, limit), aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        text = "–" if np.isnan(value) else points(float(value))
        strong = not np.isnan(value) and abs(value) > 0.7 * limit
        axes.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=9,
            color="#ffffff" if strong else theme.ink,
            fontweight="bold" if column == values.shape[1] - 1 else "normal",
        )
    axes.axvline(values.shape[1] - 1.5, color=theme.paper, linewidth=4)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def class_pixels_figure(
    class_pixels: Mapping[str, Mapping[str, int]],
    order: Sequence[str] = (),
    *,
    theme: Theme = LIGHT,
    stacked: bool = False,
) -> Figure | None:
    """Share of pixels of each class, real against every synthetic set; None where nothing was counted.

    Shares, not counts: the sets hold different numbers of images. `order` names the classes, top to bottom.
    """
    by_name = sorted(class_pixels.items(), key=lambda item: item[0] != "real")
    sources = {name: counts for name, counts in by_name if sum(counts.values()) > 0}
    if not sources:
        return None
    counted = dict.fromkeys(name for counts in sources.values() for name in counts)
    classes = [name for name in dict.fromkeys((*order, *counted)) if name in counted]
    positions = np.arange(len(classes))
    thickness = 0.8 / len(sources)
    with styled(theme):
        height = 1.3 + 0.24 * len(classes) * (len(sources) + 0.6)
        figure = Figure(figsize=(4.4 if stacked else 10.5, height), layout="constrained")
        axes = figure.subplots()
        shares: list[float] = []
        for index, (label, source, counts) in enumerate(
            zip(drawable([*sources]), sources, sources.values(), strict=True)
        ):
            values = [100 * counts.get(name, 0) / sum(counts.values()) for name in classes]
            offset = (index - (len(sources) - 1) / 2) * thickness
            # Real images take the grey of the other figures' baseline.
            colour = theme.muted if source == "real" else theme.series[(index - 1) % len(theme.series)]
            bars = axes.barh(positions + offset, values, 0.9 * thickness, color=colour, label=label)
            axes.bar_label(bars, [percent_text(value) for value in values], padding=3, fontsize=8, color=theme.muted)
            shares += [value for value in values if value > 0]
        scale_to_shares(axes, shares)
        places = {name: place for place, name in enumerate(dict.fromkeys((*order, *counted)))}
        axes.set_yticks(positions, [class_label(name, places[name]) for name in classes])
        axes.invert_yaxis()
        axes.spines["left"].set_visible(False)
        axes.tick_params(length=0)
        axes.grid(axis="x")
        legend_below(figure, [axes], columns=1 if stacked else 4)
    return figure
