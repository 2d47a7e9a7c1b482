"""`isdm data describe --out`: what a dataset holds as one page, its figures as files, and the numbers as JSON.

    DIR/
      index.html          everything inside it: opens offline, on a phone, by day and by night
      figures/*.png|pdf   the figures for a paper, and the contact sheet
      statistics.json     all counts
      provenance.json     what it was made from

The folder is written aside and renamed, so it is there whole or not at all. Names of datasets, classes and images
are strangers' text: they pass through `printable` and Jinja's autoescape.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from isdm import provenance
from isdm.data.dataset import SegmentationClass, SegmentationDataset
from isdm.data.describing import KEPT_PERCENT, Statistics, as_json, equivalent_diameter_px, gather
from isdm.data.describing_text import area_text, class_choice, share_text
from isdm.data.image_files import write_png
from isdm.errors import OutputError
from isdm.files import remove_abandoned, write_json, write_text, written_aside
from isdm.locking import beside, locked
from isdm.progress import say
from isdm.report.contact_sheet import ShownPair, contact_sheet, draw_pairs, shown_classes
from isdm.report.dataset_figures import (
    MOST_ROWS,
    class_images_figure,
    class_pixels_figure,
    group_sizes_figure,
    object_sizes_figure,
)
from isdm.report.drawing import DARK, LIGHT, save, svg
from isdm.report.pages import render
from isdm.report.pictures import data_uri, jpeg_uri
from isdm.text import printable
from isdm.version import __version__

STAGE = "data describe"

_FIGURES: Mapping[str, Callable[..., Figure | None]] = {
    "class-pixels": class_pixels_figure,
    "class-images": class_images_figure,
    "object-sizes": object_sizes_figure,
    "group-sizes": group_sizes_figure,
}


def describe_dataset(dataset: SegmentationDataset, out: Path) -> Statistics:
    """Read a dataset once and write its description into the folder `out`; gives the statistics.

    A description that is there already and was made from the same pairs is left as it is.

    Raises:
        DataError: a mask, or an image of the contact sheet, cannot be read.
        OutputError: `out` holds something else.
    """
    watch = provenance.Stopwatch()
    if not out.name:
        raise OutputError(f"{out} has no name of its own; give a new folder, such as {out / 'description'}.")
    inputs = {f"{split} split": dataset.fingerprint(split) for split in dataset.splits}
    provenance.check(out, STAGE, {}, inputs)
    record = provenance.read(out)
    statistics = gather(dataset)
    if record is not None and record.finished:
        say(f"{out} already describes this dataset.")
        return statistics
    remove_abandoned(out)
    with locked(beside(out)), written_aside(out) as aside:
        provenance.begin(aside, STAGE, {}, inputs)
        write_description(dataset, statistics, aside)
        provenance.finish(aside, {}, watch.seconds)
        if out.is_dir():
            shutil.rmtree(out)  # `check` let only an empty folder pass, or one of this stage without its end
    return statistics


def write_description(dataset: SegmentationDataset, statistics: Statistics, folder: Path) -> None:
    """Write the page, the figures and the numbers into `folder`."""
    pairs = draw_pairs(dataset, statistics)
    write_png(folder / "figures" / "contact-sheet.png", contact_sheet(pairs, statistics))
    page = {
        "name": printable(statistics.info.name),
        "kind": kind_text(statistics),
        "facts": _facts(statistics),
        "notes": [printable(str(note)) for note in statistics.info.source.get("notes", ())],
        "choice": class_choice(statistics),
        "splits": _split_rows(statistics),
        "classes": _class_rows(statistics),
        "figures": _figures(statistics, folder / "figures"),
        "most_rows": MOST_ROWS,
        "kept_percent": KEPT_PERCENT,
        "num_parted_groups": statistics.num_parted_groups,
        "largest_group": printable(statistics.largest_group),
        "largest_group_size": statistics.largest_group_size,
        "num_foreground": len(statistics.foreground),
        "has_ignored": statistics.ignored_px > 0,
        "pairs": [_shown(pair, statistics) for pair in pairs],
        "version": __version__,
    }
    write_text(folder / "index.html", render("dataset.html.j2", page))
    write_json(folder / "statistics.json", as_json(statistics))


def kind_text(statistics: Statistics) -> str:
    """Kind of the images, in words."""
    info = statistics.info
    return f"{'Grey' if info.channels == 1 else 'RGB'} images of {info.bit_depth} bits"


def _facts(statistics: Statistics) -> list[dict[str, str]]:
    """The few numbers that stand large at the top."""
    total = statistics.num_pairs
    sizes = list(statistics.image_sizes)
    labelled = int(statistics.class_px.sum())
    facts = [
        ("pairs", f"{total:,}", " + ".join(f"{one.num_pairs:,} {name}" for name, one in statistics.splits.items())),
        ("groups", f"{statistics.num_groups:,}", f"the largest has {statistics.largest_group_size:,}"),
        ("image size", *_sizes(sizes, statistics)),
        (
            "foreground",
            share_text(statistics.foreground_px, labelled),
            "of all labelled pixels",
        ),
        (
            "without foreground",
            f"{statistics.num_without_foreground:,}",
            f"images, {share_text(statistics.num_without_foreground, total)} of all",
        ),
        ("objects", f"{sum(objects.count for objects in statistics.objects):,}", "connected regions of one class"),
    ]
    if statistics.ignored_px:
        share = share_text(statistics.ignored_px, labelled + statistics.ignored_px)
        facts.append(("ignored", share, "of all pixels have no class"))
    return [{"label": label, "value": value, "note": note} for label, value, note in facts]


def _sizes(sizes: list[tuple[int, int]], statistics: Statistics) -> tuple[str, str]:
    width, height = sizes[0]
    sides = "" if width == height else " wide and high"  # --size takes them the other way round
    if len(sizes) == 1:
        return f"{width}×{height}", f"pixels{sides}, all images"
    widths, heights = zip(*sizes, strict=True)
    share = share_text(statistics.image_sizes[width, height], statistics.num_pairs)
    spans = f"{min(widths)}–{max(widths)} wide, {min(heights)}–{max(heights)} high"
    return f"{width}×{height}", f"pixels{sides}, {share} of all; {len(sizes):,} sizes, {spans}"


def _split_rows(statistics: Statistics) -> list[dict[str, str]]:
    first = statistics.info.first_foreground
    return [
        {
            "name": name,
            "pairs": f"{split.num_pairs:,}",
            "groups": f"{split.num_groups:,}",
            "largest": f"{split.largest_group:,}",
            "empty": f"{split.num_without_foreground:,}",
            "foreground": share_text(int(split.class_px[first:].sum()), int(split.class_px.sum())),
            "ignored": share_text(split.ignored_px, int(split.class_px.sum()) + split.ignored_px),
        }
        for name, split in statistics.splits.items()
    ]


def _class_rows(statistics: Statistics) -> list[dict[str, Any]]:
    pixels, pairs = statistics.class_px, statistics.class_pairs
    foreground_px, kept = statistics.foreground_px, {entry.id for entry in statistics.frequent}
    rows = []
    for entry in statistics.info.classes:
        row: dict[str, Any] = {
            "id": entry.id,
            "name": printable(entry.name),
            "colour": _css(entry),
            "px": f"{int(pixels[entry.id]):,}",
            "share": share_text(int(pixels[entry.id]), int(pixels.sum())),
            "pairs": f"{int(pairs[entry.id]):,}",
            "by_split": [
                share_text(int(split.class_px[entry.id]), int(split.class_px.sum()))
                for split in statistics.splits.values()
            ],
            "of_foreground": "",
            "kept": entry.id in kept,
            "objects": "",
            "sizes": ["", "", ""],
            "diameter": "",
        }
        objects = statistics.objects_of(entry)
        row["is_foreground"] = objects is not None
        if objects is not None:
            quantiles = [objects.quantile(share) for share in (0.1, 0.5, 0.9)]
            row |= {
                "of_foreground": share_text(int(pixels[entry.id]), foreground_px),
                "objects": f"{objects.count:,}",
                "sizes": ["–" if area is None else area_text(area) for area in quantiles],
                "diameter": "–" if quantiles[1] is None else f"{equivalent_diameter_px(quantiles[1]):,.1f}",
            }
        rows.append(row)
    return rows


def _css(entry: SegmentationClass) -> str:
    """A class's colour for a style; only numbers enter."""
    return "rgb({}, {}, {})".format(*(min(max(int(value), 0), 255) for value in entry.colour))


def _figures(statistics: Statistics, folder: Path) -> dict[str, dict[str, str]]:
    """Save each figure as PNG and PDF; give its SVG variants (light or dark, wide or narrow) for the page."""
    embedded: dict[str, dict[str, str]] = {}
    for name, draw in _FIGURES.items():
        figure = draw(statistics)
        if figure is None:
            continue
        for suffix in (".png", ".pdf"):
            save(figure, folder / f"{name}{suffix}")
        embedded[name] = {}
        for tone, theme in (("light", LIGHT), ("dark", DARK)):
            for shape, stacked in (("wide", False), ("narrow", True)):
                variant = draw(statistics, theme=theme, stacked=stacked)
                assert variant is not None, "a theme decides colours, not whether there is anything to draw"
                embedded[name][f"{tone}_{shape}"] = data_uri("image/svg+xml", svg(variant))
    return embedded


def _shown(pair: ShownPair, statistics: Statistics) -> dict[str, str]:
    return {
        "name": pair.name,
        "split": pair.split,
        "size": pair.size,
        "classes": shown_classes(pair, statistics.info),
        "image": jpeg_uri(pair.image),
        "overlay": jpeg_uri(pair.overlay),
    }
