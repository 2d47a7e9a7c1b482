"""The figures of a dataset: how often each class occurs, in how many images, how large its objects are, its groups.

Each is a function from statistics to a `Figure`, in the look of a study's figures. Bars of classes take the
colours that the dataset gives its classes, edged, so that black and white are seen on any page.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from isdm.data.dataset import SegmentationClass
from isdm.data.describing import KEPT_PERCENT, ObjectSizes, Statistics
from isdm.data.describing_text import area_text
from isdm.report import drawing
from isdm.report.drawing import LIGHT, Theme, legend_below, percent_text, scale_to_shares, styled

MOST_ROWS = 40
"""Classes in one panel; where there are more, the rarest are left to the tables."""
MOST_SINGLE_SIZES = 20
"""Sizes of groups that have a bar each; beyond, bars stand for ranges."""

_WIDE_INCHES, _NARROW_INCHES = 10.5, 4.4
_ROW_INCHES, _FRAME_INCHES = 0.3, 1.1


def class_label(entry: SegmentationClass, limit: int = 18) -> str:
    """A class's name as figures write it."""
    return drawing.class_label(entry.name, entry.id, limit)


def _panels(count: int, rows: Sequence[int], *, stacked: bool, row_inches: float) -> tuple[Figure, list[Axes]]:
    """Panels of horizontal rows, beside each other or above each other; `rows` are their numbers of rows."""
    heights = [_FRAME_INCHES + row_inches * number for number in rows]
    size = (_NARROW_INCHES, sum(heights)) if stacked else (_WIDE_INCHES, max(heights))
    figure = Figure(figsize=size, layout="constrained")
    if stacked:
        return figure, list(figure.subplots(count, 1, squeeze=False, gridspec_kw={"height_ratios": heights}).flat)
    return figure, list(figure.subplots(1, count, squeeze=False).flat)


def _rgb(entry: SegmentationClass) -> tuple[float, float, float]:
    red, green, blue = (min(max(value, 0), 255) / 255 for value in entry.colour)
    return red, green, blue


def _rows_of_classes(axes: Axes, labels: Sequence[str]) -> None:
    """Label the rows from the top down; only the lines that help reading are kept."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=0)
    axes.grid(axis="x")


def _most_frequent(entries: Sequence[SegmentationClass], counts: NDArray[np.int64]) -> list[SegmentationClass]:
    return sorted(entries, key=lambda entry: (-counts[entry.id], entry.id))[:MOST_ROWS]


def class_pixels_figure(statistics: Statistics, *, theme: Theme = LIGHT, stacked: bool = False) -> Figure:
    """Share of each class of the labelled pixels, with the background and (where there is any) without it."""
    pixels = statistics.class_px
    panels = [("with background", statistics.info.classes), ("without background", statistics.foreground)]
    panels = [panel for panel in panels if sum(pixels[entry.id] for entry in panel[1])]
    shown = [_most_frequent(entries, pixels) for _, entries in panels]
    with styled(theme):
        figure, all_axes = _panels(len(panels), [len(one) for one in shown], stacked=stacked, row_inches=_ROW_INCHES)
        for axes, (title, entries), rows in zip(all_axes, panels, shown, strict=True):
            total = sum(int(pixels[entry.id]) for entry in entries)
            shares = [100 * int(pixels[entry.id]) / total for entry in rows]
            bars = axes.barh(
                range(len(rows)),
                shares,
                0.72,
                color=[_rgb(entry) for entry in rows],
                edgecolor=theme.muted,
                linewidth=0.7,
            )
            axes.bar_label(
                bars,
                [percent_text(share) for share in shares],
                padding=3,
                fontsize=8,
                color=theme.muted,
                bbox={"facecolor": theme.paper, "edgecolor": "none", "pad": 1},  # over the dashed line
            )
            _rows_of_classes(axes, [class_label(entry) for entry in rows])
            axes.set_title(title)
            if entries is statistics.info.classes:
                scale_to_shares(axes, [share for share in shares if share > 0])
                continue
            axes.set_xlim(
                0, max(shares) * 1.2
            )  # parts of a whole: not on a logarithm, which would hide how few matter
            axes.set_xlabel("share of foreground pixels, %")
            if max(shares) > KEPT_PERCENT:
                axes.axvline(KEPT_PERCENT, color=theme.muted, linestyle=(0, (4, 3)), linewidth=1.3)
                axes.set_xlabel(f"share of foreground pixels, % (dashed: {KEPT_PERCENT} %)")
    return figure


def _split_look(index: int, theme: Theme) -> dict[str, Any]:
    """Splits are shades of the ink: colours stand for classes."""
    return {"color": theme.ink, "alpha": (0.85, 0.5, 0.22)[index], "linewidth": 0}


def class_images_figure(statistics: Statistics, *, theme: Theme = LIGHT, stacked: bool = False) -> Figure:
    """In how many images of each split a class occurs, and how many show no foreground at all."""
    rows = _most_frequent(statistics.foreground, statistics.class_pairs)
    labels = [class_label(entry) for entry in rows] + ["no foreground"]
    with styled(theme):
        figure, (axes,) = _panels(1, [len(labels)], stacked=stacked, row_inches=_ROW_INCHES)
        start = np.zeros(len(labels))
        for index, (name, split) in enumerate(statistics.splits.items()):
            counts = np.array([*(split.class_pairs[entry.id] for entry in rows), split.num_without_foreground])
            axes.barh(range(len(labels)), counts, 0.72, left=start, label=name, **_split_look(index, theme))
            start += counts
        for place, count in enumerate(start):
            axes.text(count, place, f"  {count:,.0f}", fontsize=8, color=theme.muted, va="center")
        axes.set_xlim(0, max(start.max(), 1) * 1.1)
        axes.set_xlabel("images that show the class")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.xaxis.set_major_formatter(_whole_numbers())
        _rows_of_classes(axes, labels)
        legend_below(figure, [axes], columns=3)
    return figure


def object_sizes_figure(statistics: Statistics, *, theme: Theme = LIGHT, stacked: bool = False) -> Figure | None:
    """How large the objects of each class are, on a logarithmic axis; None without objects.

    A row is a histogram, as high as its fullest bin; the dark line is the median.
    """
    of_class = {entry: statistics.objects_of(entry) for entry in statistics.foreground}
    present = {entry: objects for entry, objects in of_class.items() if objects is not None and objects.count}
    if not present:
        return None
    rows = sorted(_most_frequent(list(present), statistics.class_pairs), key=lambda entry: entry.id)
    sizes = [present[entry] for entry in rows]
    edges = _octaves(sizes)
    with styled(theme):
        figure, (axes,) = _panels(1, [len(rows)], stacked=stacked, row_inches=0.55)
        for place, (entry, objects) in enumerate(zip(rows, sizes, strict=True)):
            _draw_sizes(axes, place, entry, objects, edges, theme, brief=stacked)
        axes.set_xscale("log")
        axes.set_xlim(edges[0], edges[-1])
        axes.set_xlabel("area of an object, pixels (logarithmic)")
        across = axes.secondary_xaxis("top", functions=(_diameter, _area))
        across.set_xlabel("diameter of a circle of that area, pixels")
        across.tick_params(length=0, which="both")
        across.spines["top"].set_visible(False)
        for axis, decades in ((axes.xaxis, 2), (across.xaxis, 4)):
            fine = edges[-1] / edges[0] < 10**decades
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if fine else (1,)))
            axis.set_major_formatter(_whole_numbers())
            axis.set_minor_locator(NullLocator())
        _rows_of_classes(axes, [class_label(entry) for entry in rows])
    return figure


def _octaves(sizes: Sequence[ObjectSizes]) -> NDArray[np.float64]:
    """Powers of two around all areas: narrower bins would leave gaps between the areas 1, 2 and 3."""
    smallest = min(int(objects.areas_px[0]) for objects in sizes)
    largest = max(int(objects.areas_px[-1]) for objects in sizes)
    first, last = smallest.bit_length() - 1, largest.bit_length()
    if last - first < 4:  # room for some ticks
        first, last = max(first - 1, 0), last + 2
    return np.exp2(np.arange(first, last + 1, dtype=np.float64))


def _draw_sizes(
    axes: Axes,
    place: int,
    entry: SegmentationClass,
    objects: ObjectSizes,
    edges: NDArray[np.float64],
    theme: Theme,
    *,
    brief: bool,
) -> None:
    """One class's row: a histogram that stands on the row's lower edge, its median, and the numbers at the right."""
    counts = np.histogram(objects.areas_px, edges, weights=objects.counts)[0]
    base = place + 0.42
    tops = base - 0.8 * counts / counts.max()  # rows are counted downwards
    axes.stairs(tops, edges, baseline=base, fill=True, color=_rgb(entry))
    axes.stairs(tops, edges, baseline=base, color=theme.muted, linewidth=0.7)
    median = objects.quantile(0.5)
    assert median is not None, "classes without objects have no row"
    axes.plot([median, median], [base, base - 0.86], color=theme.paper, linewidth=4)
    axes.plot([median, median], [base, base - 0.86], color=theme.ink, linewidth=1.8)
    things = "object" if objects.count == 1 else "objects"
    axes.annotate(
        f"  {area_text(median)} px" if brief else f"  {objects.count:,} {things}, median {area_text(median)} px",
        (1, place),
        xycoords=axes.get_yaxis_transform(),
        fontsize=8,
        color=theme.muted,
        va="center",
    )


def _diameter(area_px: ArrayLike) -> ArrayLike:
    return 2 * np.sqrt(np.maximum(area_px, 0) / np.pi)


def _area(diameter_px: ArrayLike) -> ArrayLike:
    return np.pi * np.square(diameter_px) / 4


def group_sizes_figure(statistics: Statistics, *, theme: Theme = LIGHT, stacked: bool = False) -> Figure | None:
    """How many groups of each size a split has; None where every pair is a group of its own."""
    sizes = [Counter(split.group_sizes) for split in statistics.splits.values()]
    largest = max(size for of_split in sizes for size in of_split)
    if largest == 1:
        return None
    bins = _size_bins(largest)
    labels = [f"{first}" if first == last else f"{first}–{last}" for first, last in bins]
    with styled(theme):
        figure = Figure(figsize=(_NARROW_INCHES if stacked else _WIDE_INCHES, 2.9), layout="constrained")
        axes = figure.subplots()
        start = np.zeros(len(bins))
        for index, (name, of_split) in enumerate(zip(statistics.splits, sizes, strict=True)):
            counts = np.array([sum(of_split[n] for n in of_split if low <= n <= high) for low, high in bins])
            axes.bar(labels, counts, 0.72, bottom=start, label=name, **_split_look(index, theme))
            start += counts
        for place, count in enumerate(start):
            if count:
                axes.text(place, count, f"{count:,.0f}", fontsize=8, color=theme.muted, ha="center", va="bottom")
        axes.set_ylim(0, start.max() * 1.1)
        axes.set_xlabel("images in a group")
        axes.set_ylabel("groups")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_formatter(_whole_numbers())
        axes.spines["left"].set_visible(False)
        axes.tick_params(length=0)
        axes.grid(axis="y")
        legend_below(figure, [axes], columns=3)
    return figure


def _size_bins(largest: int) -> list[tuple[int, int]]:
    """Sizes one by one up to twelve, then (or where there are larger ones) in steps that double."""
    if largest <= MOST_SINGLE_SIZES:
        return [(size, size) for size in range(1, largest + 1)]
    bins = [(1, 1)]
    while bins[-1][1] < largest:
        bins.append((bins[-1][1] + 1, 2 * bins[-1][1] + 1))
    return bins


def _whole_numbers() -> FuncFormatter:
    """Ticks with separated thousands; between whole numbers there is nothing to label."""
    return FuncFormatter(lambda value, _: f"{value:,.0f}" if float(value).is_integer() else "")
