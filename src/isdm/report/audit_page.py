"""The page of an audit: what it found in words, its figures with intervals, and the pictures most like copies.

    AUDIT/
      index.html          everything inside it: opens offline, on a phone, by day and by night
      worst.png           the same pictures as one sheet
      audit.json          all figures
      nearest.jsonl       every synthetic picture with its nearest training pictures

Names of datasets, classes and images are strangers' text: they pass through `printable` and Jinja's autoescape.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from isdm.data.dataset import Pair, SegmentationDataset
from isdm.data.image_files import read_image, write_png
from isdm.data.overlays import overlay, small_image, small_mask
from isdm.files import read_json, read_json_lines, write_text
from isdm.report.audit_text import agreement_interval, copying_verdict, fidelity_rows, lead, light_warning, shares
from isdm.report.drawing import DARK, LIGHT, Theme, legend_below, styled, svg
from isdm.report.pages import render
from isdm.report.pictures import data_uri, jpeg_uri
from isdm.report.realism import realism
from isdm.text import printable
from isdm.version import __version__

_SHEET_PX, _GAP_PX = 160, 8


def write_audit_page(audit: Path, synthetic: SegmentationDataset, dataset: SegmentationDataset) -> Path:
    """Write `index.html` and `worst.png` of a finished audit; gives the page's path.

    Raises:
        DataError: the audit or an image of it cannot be read.
    """
    found = read_json(audit / "audit.json")
    nearest = read_json_lines(audit / "nearest.jsonl")
    pairs = {pair.metadata["image_file_name"]: pair for pair in synthetic.pairs("train")}
    real = {pair.metadata["image_file_name"]: pair for pair in dataset.pairs("train")}
    rows = [_pictures(nearest[row], pairs, real, synthetic, dataset) for row in found["worst"]]
    write_png(audit / "worst.png", _sheet([row["pictures"] for row in rows]))
    own, others = shares(found)
    interval = agreement_interval(found, 3)
    classes = [
        {"name": printable(name), **{side: _number(values[side]) for side in ("real", "synthetic", "shuffled")}}
        for name, values in found["per_class"].items()
    ]
    page = {
        "name": printable(synthetic.info.name),
        "realism": realism(found),
        "lead": lead(found),
        "copying": copying_verdict(found),
        "agreement": {side: _number(found[f"{side}_iou"]) for side in ("real", "synthetic", "shuffled")},
        "shares": [
            "–" if share is None else f"{share:.3f}{ends}"
            for share, ends in ((None if own is None else 1.0, ""), (own, interval), (others, ""))
        ],
        "classes": classes,
        "segmenter": found["segmenter"],
        "fidelity": found["fidelity"],
        "fidelity_rows": fidelity_rows(found["fidelity"]),
        "light": light_warning(found),
        "diversity": found["diversity"],
        "tests": _tests(found["copying"]),
        "figure": _figure_variants(found, nearest),
        "rows": [{**row, "pictures": [jpeg_uri(picture) for picture in row["pictures"]]} for row in rows],
        "num_synthetic": found["num_synthetic_images"],
        "num_held_out": found["num_held_out_images"],
        "num_real_backgrounds": found["num_real_backgrounds"],
        "version": __version__,
    }
    write_text(audit / "index.html", render("audit.html.j2", page))
    return audit / "index.html"


def _pictures(
    line: Mapping[str, Any],
    pairs: Mapping[str, Pair],
    real: Mapping[str, Pair],
    synthetic: SegmentationDataset,
    dataset: SegmentationDataset,
) -> dict[str, Any]:
    """A synthetic picture, its nearest training pictures by pixels and by features, and its mask over it."""
    pair = pairs[line["image_file_name"]]
    image, mask = synthetic.load(pair)
    shown = small_image(image)
    info = dataset.info
    near = [
        small_image(read_image(real[line[way]["nearest"]].image, info.channels, info.bit_depth))
        for way in ("pixels", "features")
    ]
    return {
        "name": printable(pair.stem),
        "nearest": [printable(Path(line[way]["nearest"]).stem) for way in ("pixels", "features")],
        "ratios": [_number(line[way]["ratio"], 2) for way in ("pixels", "features")],
        "iou": _number(line["iou"], 2),
        "pictures": [shown, *near, overlay(shown, small_mask(mask, shown.size), synthetic.info)],
    }


def _sheet(rows: list[list[Image.Image]]) -> Image.Image:
    """Rows of four pictures, in two columns of rows."""
    columns = 2 if len(rows) > 1 else 1
    height = -(-len(rows) // columns)
    cell = _SHEET_PX + _GAP_PX
    block = 4 * cell + 2 * _GAP_PX
    sheet = Image.new("RGB", (columns * block + _GAP_PX, height * cell + _GAP_PX), "white")
    for number, pictures in enumerate(rows):
        left, top = (number // height) * block + _GAP_PX, (number % height) * cell + _GAP_PX
        for place, picture in enumerate(pictures):
            copy = picture.copy()
            copy.thumbnail((_SHEET_PX, _SHEET_PX))
            sheet.paste(copy, (left + place * cell, top))
    return sheet


def _tests(copying: Mapping[str, Any]) -> list[dict[str, str]]:
    rows = []
    for way in ("features", "pixels"):
        test = copying.get(way)
        if isinstance(test, Mapping):
            rows.append(
                {
                    "way": way,
                    "copies": f"{100 * test['share_synthetic']:.1f} %",
                    "held_out": f"{100 * test['share_held_out']:.1f} %",
                    "median": _number(test["median_ratio_synthetic"], 2),
                    "held_out_median": _number(test["median_ratio_held_out"], 2),
                    "p_copies": _p(test["p_copies"]),
                    "p_closer": _p(test["p_closer"]),
                    "groups": f"{test['num_groups_synthetic']:,} and {test['num_groups_held_out']:,}",
                }
            )
    return rows


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}"


def _number(value: float | None, digits: int = 3) -> str:
    return "undefined" if value is None else f"{value:.{digits}f}"


def _figure_variants(found: Mapping[str, Any], nearest: list[Any]) -> dict[str, str] | None:
    if found["copying"].get("verdict") is None:
        return None
    return {
        f"{tone}_{shape}": data_uri("image/svg+xml", svg(ratios_figure(found, nearest, theme, narrow=narrow)))
        for tone, theme in (("light", LIGHT), ("dark", DARK))
        for shape, narrow in (("wide", False), ("narrow", True))
    }


def ratios_figure(
    found: Mapping[str, Any], nearest: list[Any], theme: Theme = LIGHT, *, narrow: bool = False
) -> Figure:
    """How often each ratio d1/d2 occurs, among synthetic and among held-out real pictures."""
    with styled(theme):
        figure = Figure(figsize=(4.2, 5.2) if narrow else (8.4, 3.2), layout="constrained")
        panels = figure.subplots(2, 1) if narrow else figure.subplots(1, 2)
        bins = np.linspace(0, 1, 31)
        for axes, way in zip(panels, ("pixels", "features"), strict=True):
            own = [line[way]["ratio"] for line in nearest if line[way]["ratio"] is not None]
            unseen = [value for value in found["copying"][way]["held_out_ratios"] if value is not None]
            for values, label, colour in (
                (unseen, "held-out real pictures", theme.muted),
                (own, "synthetic pictures", theme.series[0]),
            ):
                weights = np.full(len(values), 100 / max(len(values), 1))
                axes.hist(values, bins, weights=weights, label=label, color=colour, alpha=0.6)
            axes.axvline(1 / 3, color=theme.series[1], linewidth=1.2, label="copies lie left of it")
            axes.set_title(f"by {way}")
            axes.set_xlabel("nearest training picture / nearest other group")
            axes.set_ylabel("% of the pictures")
            axes.set_xlim(0, 1)
        legend_below(figure, list(panels), columns=1 if narrow else 3)
    return figure
