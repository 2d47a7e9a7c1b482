"""The page of a study: one HTML file with everything inside it, readable offline, by day and by night.

Names of datasets, classes and images are strangers' text: all of them pass through Jinja's autoescape.
Pictures are embedded only from the study's own gallery folder.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from matplotlib.figure import Figure

from isdm.files import read_json, remove_abandoned, write_text
from isdm.report.agreement import agreement, percent
from isdm.report.audit_text import copying_verdict, fidelity_rows, shares
from isdm.report.comparisons import FALSE_ALARMS, IMAGE_RECALL, OBJECT_RECALL, comparison_table, read_counts
from isdm.report.drawing import DARK, LIGHT, save, svg
from isdm.report.figures import class_pixels_figure, gains_figure, scaling_figure
from isdm.report.latex import latex_table
from isdm.report.pages import render
from isdm.report.pictures import data_uri
from isdm.report.quality_figure import quality_figure
from isdm.report.study_files import read_results, read_study
from isdm.report.tables import (
    CELL_COLUMNS,
    CLASS,
    FOREGROUND,
    MEASURE_NAMES,
    architecture_name,
    architectures_of,
    baseline_label,
    baseline_of,
    gains,
    mean_and_spread,
    ordered_rows,
    points,
    summary_table,
)
from isdm.report.verdict import basis, change, headline, verdicts
from isdm.text import printable, spreadsheet_cell
from isdm.version import __version__

_PNG_START = b"\x89PNG\r\n\x1a\n"

Draw = Callable[..., Figure | None]


def report(
    study: Path,
    *,
    audit: Path | None = None,
    costs: Sequence[Mapping[str, Any]] = (),
    audits: Mapping[str, Path] | None = None,
) -> Path:
    """Write STUDY/report (page, figures, tables) from the files of a study and give the path of the page.

    A study that was given more repeats and has not finished them gives a report on those before, and says so.

    Args:
        study: folder that `evaluate` wrote.
        audit: the `audit.json` of the set that the study is about.
        costs: what each stage took: `stage`, `seconds` and `note`.
        audits: the `audit.json` of several sets by name, such as other checkpoints, shown beside each other.

    Raises:
        DataError: `study` is no study, or has no finished cell yet.
    """
    audits = audits or {}
    audit = audit if audit is not None else next(iter(audits.values()), None)
    facts = read_study(study / "study.yaml")
    results = read_results(study / "results.parquet")
    summary = summary_table(results, facts["config"].get("baseline") or "plain")
    comparisons = comparison_table(read_counts(study), summary, facts["primary_row"])
    folder = study / "report"
    remove_abandoned(folder)
    downloads = {
        "results.csv": _csv(results),
        "table.csv": _csv(gains(summary)),
        "comparisons.csv": _csv(comparisons),
        "table.tex": latex_table(summary, comparisons),
    }
    for name, text in downloads.items():
        write_text(folder / "tables" / name, text)
    heard = None if audit is None else read_json(audit)
    audited = {name: read_json(path) for name, path in audits.items()}
    class_names = [one["name"] for one in facts["classes"]]
    num_sets = len({name for name in results["synthetic_set"].to_list() if name})
    page = {
        "facts": facts,
        "headline": headline(comparisons),
        "verdicts": verdicts(summary, comparisons),
        "basis": basis(
            comparisons, facts["primary_row"], num_sets, facts["folds"], is_late=facts["named_late"] is True
        ),
        "inspection": _inspection(comparisons, dict(ordered_rows(summary))),
        "missing": _missing_cells(results, facts),
        "classes": _classes(facts),
        "audit": None if heard is None else agreement(heard),
        "fidelity": None if heard is None or "fidelity" not in heard else _fidelity(heard, audit),
        "qualities": _qualities(audited),
        "gallery": _gallery(study / "gallery", dict(ordered_rows(summary))),
        "figures": _figures(
            {
                "scaling": partial(scaling_figure, results, summary, comparisons),
                "gains": partial(gains_figure, summary),
                "class-pixels": partial(class_pixels_figure, facts["class_pixels"], class_names),
                "quality": partial(quality_figure, audited),
            },
            folder / "figures",
        ),
        "tables": _class_tables(summary),
        "baseline": baseline_label(summary) or "real only",
        "measured": _measured(results),
        "downloads": {name: _download(text) for name, text in downloads.items()},
        "costs": _costs(results, costs),
        "config_yaml": yaml.safe_dump(facts["config"], sort_keys=False, allow_unicode=True),
        "dataset_yaml": yaml.safe_dump(facts["dataset"], sort_keys=False, allow_unicode=True),
        "version": __version__,
    }
    path = folder / "index.html"
    write_text(path, render("report.html.j2", page))
    return path


def _csv(table: pl.DataFrame) -> str:
    text = StringIO()
    texts = [name for name, kind in table.schema.items() if kind == pl.String]
    table.with_columns(pl.col(name).map_elements(_cell, pl.String) for name in texts).write_csv(text)
    return text.getvalue()


def _cell(text: str) -> str:
    return spreadsheet_cell(printable(text))


def _download(text: str) -> str:
    """A table inside the page, so that it can be had wherever the page goes."""
    return data_uri("text/plain;charset=utf-8", text.encode())


def _qualities(audits: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Sets beside each other: agreement, fidelity and copying; empty with fewer than two."""
    if len(audits) < 2:
        return []
    lines = []
    for name, audit in audits.items():
        line = {"name": name, "agreement": percent(shares(audit)[0]), "features": ""}
        line |= dict.fromkeys(("KID", "precision", "recall", "copying"), "–")
        if "fidelity" in audit:
            figures = {row["name"]: row["synthetic"] for row in fidelity_rows(audit["fidelity"])}
            line |= {"features": str(audit["fidelity"]["features"]), **figures}
            line["copying"] = copying_verdict(audit)["headline"]
        lines.append(line)
    return lines


def _fidelity(audit: Mapping[str, Any], path: Path | None) -> dict[str, Any]:
    assert path is not None
    return {
        "worst": _picture(path.parent, "worst.png"),
        "features": audit["fidelity"]["features"],
        "rows": fidelity_rows(audit["fidelity"]),
        "copying": copying_verdict(audit),
    }


def _inspection(comparisons: pl.DataFrame, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """For each architecture what an inspector asks of each configuration; empty without such counts."""
    wanted = comparisons.filter(pl.col("measure").is_in([IMAGE_RECALL, FALSE_ALARMS, OBJECT_RECALL]))
    heads = {(IMAGE_RECALL, ""): "defective pictures noticed", (FALSE_ALARMS, ""): "good pictures alarmed"}
    sizes = wanted.filter(pl.col("measure") == OBJECT_RECALL).select("place", "detail").unique().sort("place")
    heads |= {(OBJECT_RECALL, detail): f"found, {detail}" for detail in sizes["detail"].to_list()}
    present = {(line["measure"], line["detail"]) for line in wanted.iter_rows(named=True)}
    heads = {key: title for key, title in heads.items() if key in present}
    tables = []
    for architecture in dict.fromkeys(wanted["architecture"].to_list()):
        lines = wanted.filter(pl.col("architecture") == architecture)
        found = {(line["row"], line["measure"], line["detail"]): line for line in lines.iter_rows(named=True)}
        rows = [
            {"label": label, "cells": [_inspected(found.get((row, *key))) for key in heads]}
            for row, label in labels.items()
            if any((row, *key) in found for key in heads)
        ]
        name = architecture_name(architecture)
        tables.append({"architecture": name, "header": list(heads.values()), "rows": rows})
    return tables


def _inspected(line: Mapping[str, Any] | None) -> dict[str, str]:
    if line is None or line["value"] is None:
        return {"text": "–", "gain": ""}
    return {"text": f"{100 * line['value']:.0f} %", "gain": "" if line["gain"] is None else change(line)}


def _missing_cells(results: pl.DataFrame, facts: Mapping[str, Any]) -> str:
    """A sentence on cells that have not run, as far as the rows seen so far can tell; empty if none."""
    config = facts["config"]
    networks = len({*config.get("architectures", ()), *results["architecture"].to_list()})
    repeats = max(int(config.get("repeats") or 0), results["repeat"].n_unique())
    planned = results["row"].n_unique() * networks * repeats
    done = results.select(CELL_COLUMNS).n_unique()
    if done >= planned:
        return ""
    return (
        f"Unfinished: {done} of {planned} networks or more have been trained and tested. "
        "Means over different repeats are compared until the rest is there."
    )


def _classes(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Names and colours for the legend; each colour channel is made a number before it enters a style."""
    return [
        {"name": one["name"], "colour": "rgb({}, {}, {})".format(*(int(value) for value in one["colour"]))}
        for one in facts["classes"]
    ]


def _gallery(folder: Path, labels: Mapping[str, str]) -> dict[str, Any]:
    """Pairs by source and predictions, with their pictures embedded; empty lists without a gallery.

    `labels` are the words for each row of the study.
    """
    if not (folder / "gallery.json").is_file():
        return {"groups": [], "predictions": []}
    listed = read_json(folder / "gallery.json")
    groups: dict[str, list[dict[str, str | None]]] = {}
    for pair in sorted(listed.get("pairs", []), key=lambda pair: str(pair["kind"]) != "real"):
        title = "Real" if pair["kind"] == "real" else f"Synthetic: {pair.get('set') or 'unnamed set'}"
        pictures = {key: _picture(folder, pair[key]) for key in ("image", "overlay")}
        groups.setdefault(title, []).append({"name": pair["name"], **pictures})
    predictions = [
        {
            "name": one["name"],
            "shown": [
                {"label": "image", "picture": _picture(folder, one["image"]), "iou": None},
                {"label": "true mask", "picture": _picture(folder, one["truth"]), "iou": None},
                *(
                    {
                        "label": f"{architecture_name(guess['architecture'])}, "
                        f"{labels.get(guess['row'], guess['row'])}",
                        "picture": _picture(folder, guess["picture"]),
                        "iou": guess["iou"],
                    }
                    for guess in one["predictions"]
                ),
            ],
        }
        for one in listed.get("predictions", [])
    ]
    return {
        "groups": [{"title": title, "pairs": pairs} for title, pairs in groups.items()],
        "predictions": predictions,
    }


def _picture(folder: Path, name: str) -> str | None:
    """A PNG of the gallery as data URI; None where it is gone, is no PNG or lies outside the gallery."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        return None
    content = path.read_bytes()
    return data_uri("image/png", content) if content.startswith(_PNG_START) else None


def _figures(drawings: Mapping[str, Draw], folder: Path) -> dict[str, dict[str, str]]:
    """Save each figure as PNG and PDF; give its SVG variants (light or dark, wide or narrow) for the page."""
    embedded = {}
    for name, draw in drawings.items():
        figure = draw()
        if figure is None:
            continue
        for suffix in (".png", ".pdf"):
            save(figure, folder / f"{name}{suffix}")
        embedded[name] = {
            f"{tone}_{shape}": _svg_uri(draw(theme=theme, stacked=stacked))
            for tone, theme in (("light", LIGHT), ("dark", DARK))
            for shape, stacked in (("wide", False), ("narrow", True))
        }
    return embedded


def _svg_uri(figure: Figure | None) -> str:
    assert figure is not None, "a theme decides colours, not whether there is anything to draw"
    return data_uri("image/svg+xml", svg(figure))


def _class_tables(summary: pl.DataFrame) -> list[dict[str, Any]]:
    """For each architecture a table as text: configurations down, means and classes across."""
    table = gains(summary)
    classes = table.filter(pl.col("measure") == CLASS).select("class_id", "class_name").unique()
    # The background comes last of the classes: it is the easy one, and a phone shows the first columns.
    classes = classes.sort(pl.col("class_id") == 0, "class_id")
    keys = [(FOREGROUND, ""), *((CLASS, name) for name in classes["class_name"])]
    keys += [(measure, "") for measure in MEASURE_NAMES if measure != FOREGROUND]
    header = [name if measure == CLASS else MEASURE_NAMES[measure] for measure, name in keys]
    return [
        {
            "architecture": architecture_name(architecture),
            "header": header,
            "rows": _table_rows(
                table.filter(pl.col("architecture") == architecture), keys, baseline_of(summary, architecture)
            ),
        }
        for architecture in architectures_of(summary)
    ]


def _table_rows(lines: pl.DataFrame, keys: Sequence[tuple[str, str]], baseline: str | None) -> list[dict[str, Any]]:
    values = {(line["row"], line["measure"], line["class_name"]): line for line in lines.iter_rows(named=True)}
    best = {
        key: lines.filter((pl.col("measure") == key[0]) & (pl.col("class_name") == key[1]))["mean"].max()
        for key in keys
    }
    rows = []
    for row, label in ordered_rows(lines):
        cells = [(values[row, *key], best[key]) for key in keys]
        rows.append(
            {
                "label": label,
                "baseline": row == baseline,
                "repeats": values[row, FOREGROUND, ""]["num_repeats"],
                "cells": [_table_cell(line, top, row == baseline) for line, top in cells],
            }
        )
    return rows


def _table_cell(line: Mapping[str, Any], best: object, is_baseline: bool) -> dict[str, Any]:
    gain = None if is_baseline else line["gain_points"]
    return {
        "text": mean_and_spread(line["mean"], line["spread"]),
        "gain": "" if gain is None else points(gain),
        "loses": gain is not None and points(gain).startswith("-"),
        "best": line["mean"] is not None and line["mean"] == best,
    }


def _measured(results: pl.DataFrame) -> dict[str, int]:
    """What the cells themselves say about how they were trained; the template puts it into sentences."""
    cells = results.select(*CELL_COLUMNS, "num_steps").unique()
    repeats = cells.group_by("row", "architecture").len()["len"].to_list()
    return {
        "fewest_steps": min(cells["num_steps"].to_list()),
        "most_steps": max(cells["num_steps"].to_list()),
        "fewest_repeats": min(repeats),
        "most_repeats": max(repeats),
        "networks": cells.height,
    }


def _costs(results: pl.DataFrame, costs: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The stages as given, then the time of training all networks of this study."""
    cells = results.select(*CELL_COLUMNS, "train_seconds").unique(CELL_COLUMNS)
    seconds = float(sum(value for value in cells["train_seconds"].to_list() if value is not None))
    own = {
        "stage": "segmentation networks",
        "seconds": seconds,
        "note": f"training of {cells.height} networks",
    }
    return [
        {"stage": cost["stage"], "time": duration(cost["seconds"]), "note": cost.get("note") or ""}
        for cost in (*costs, own)
    ]


def duration(seconds: float) -> str:
    """A time in the unit that suits it: "42 s", "3.5 min", "1.2 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
