"""Collect the figures of a finished `isdm run` for publication: small files, no paths, hardware named.

python docs/results/collect.py runs/magnetic-tile docs/results/magnetic-tile-64px

Of a cross-validation these are the pooled study and the audit of every fold.
"""

import json
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from isdm.hardware import describe
from isdm.provenance import read
from isdm.report.audit_text import agreement_interval, shares
from isdm.report.comparisons import comparison_table, read_counts
from isdm.report.study_files import read_results, read_study
from isdm.report.tables import FOREGROUND, architecture_name, summary_table
from isdm.report.verdict import basis, change, headline, verdicts

STAGES = ("data", "model", "finetuned", "synthetic", "audit")


def main(run: Path, out: Path) -> None:
    """Copy tables, figures, the audit and the configuration, and write summary.md."""
    out.mkdir(parents=True, exist_ok=True)
    report = run / "study" / "report"
    for path in (*sorted((report / "tables").iterdir()), *sorted((report / "figures").glob("*.png"))):
        shutil.copyfile(path, out / path.name)
    folds = sorted(path for path in run.glob("fold-*") if path.is_dir())
    audits = {one.name: json.loads((one / "audit" / "audit.json").read_text()) for one in folds or [run]}
    for name, audit in audits.items():
        if not (out / name / "audit").is_dir():  # `keep_fold.py` keeps it there
            (out / (f"audit-{name}.json" if folds else "audit.json")).write_text(json.dumps(audit, indent=2) + "\n")
    config = yaml.safe_load((run / "experiment.yaml").read_text())
    config["data"]["source"] = Path(config["data"]["source"]).name
    (out / "experiment.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    facts = read_study(run / "study" / "study.yaml")
    baseline = facts["config"].get("baseline") or "plain"
    summary = summary_table(read_results(run / "study" / "results.parquet"), baseline)
    compared = comparison_table(read_counts(run / "study"), summary, facts["primary_row"])
    records = {
        f"{one.name} {stage}" if folds else stage: record
        for one in folds or [run]
        for stage in STAGES
        if (record := read(one / stage)) is not None
    }
    trained = pl.read_parquet(run / "study" / "results.parquet").unique(["row", "architecture", "repeat"])
    seconds = {name: record.seconds for name, record in records.items()}
    seconds["training of the study's networks"] = float(trained["train_seconds"].sum())
    told = ", ".join(f"{name} {of_stage:.0f}" for name, of_stage in seconds.items())
    text = lines(config["name"], audits, facts, summary, compared, told)
    (out / "summary.md").write_text("\n".join(text) + "\n")


def lines(
    name: str,
    audits: dict[str, dict[str, Any]],
    facts: dict[str, Any],
    summary: pl.DataFrame,
    compared: pl.DataFrame,
    seconds: str,
) -> list[str]:
    """The summary as Markdown."""
    machine = ", ".join(f"{key} {value}" for key, value in describe() if not key.startswith(("GPU", "Used", "Extra")))
    text = [f"# {name}", "", f"Machine: {platform.machine()}; {machine}.", f"Seconds a stage: {seconds}.", ""]
    text += [*audit_table(audits), ""]
    text += [f"**{headline(compared)}**", "", basis(compared, facts["primary_row"], 1, max(1, len(audits))), ""]
    text += ["| architecture | training images | repeats | mean foreground IoU | spread | points over real alone |"]
    text.append("|---|---|---|---|---|---|")
    gained = compared.filter((pl.col("measure") == FOREGROUND) & pl.col("gain").is_not_null())
    changes = {(line["row"], line["architecture"]): change(line) for line in gained.iter_rows(named=True)}
    for line in summary.filter(pl.col("measure") == FOREGROUND).iter_rows(named=True):
        spread = "" if line["spread"] is None else f"{line['spread']:.3f}"
        text.append(
            f"| {architecture_name(line['architecture'])} | {line['label']} | {line['num_repeats']} | "
            f"{line['mean']:.3f} | {spread} | {changes.get((line['row'], line['architecture']), '')} |"
        )
    return [*text, "", *(verdict.replace("\n", "\n\n") + "\n" for verdict in verdicts(summary, compared))]


def audit_table(audits: dict[str, dict[str, Any]]) -> list[str]:
    """What the audits found, one beside the other, as a Markdown table."""

    def both(name: str) -> Callable[[dict[str, Any]], str]:
        return lambda audit: ", ".join(
            f"{audit['fidelity'][of][name]['value']:.3f}" for of in ("synthetic", "held_out")
        )

    rows: dict[str, Callable[[dict[str, Any]], str]] = {
        "judge's IoU on real held-out images": lambda audit: f"{audit['real_iou']:.3f}",
        "on synthetic ones with their own masks": lambda audit: f"{audit['synthetic_iou']:.3f}",
        "with the masks of others": lambda audit: f"{audit['shuffled_iou']:.3f}",
        "share of real, 95 %": _share,
        "KID": lambda audit: _with_interval(audit["fidelity"]["synthetic"]["kid"]),
        "KID of real held-out images": lambda audit: _with_interval(audit["fidelity"]["held_out"]["kid"]),
        "precision, real held-out": both("precision"),
        "recall, real held-out": both("recall"),
        "coverage, real held-out": both("coverage"),
        "brightness, of real training images": lambda audit: _light(audit, "mean"),
        "its spread, of real training images": lambda audit: _light(audit, "spread"),
        "copying": lambda audit: str(audit["copying"].get("verdict") or "not tested"),
    }
    names = list(audits) if len(audits) > 1 else ["audit"]
    lines = [
        "|".join(["", " ", *(f" {name.replace('-', ' ')} " for name in names), ""]),
        "|---" * (len(names) + 1) + "|",
    ]
    for label, tell in rows.items():
        lines.append("|".join(["", f" {label} ", *(f" {tell(audit)} " for audit in audits.values()), ""]))
    if any(shares(audit)[0] is None for audit in audits.values()):
        lines += ["", "–: the judge hardly reads real images, so its share says nothing."]
    return lines


def _share(audit: dict[str, Any]) -> str:
    share, _ = shares(audit)
    return "–" if share is None else f"{share:.2f}{agreement_interval(audit, 2)}"


def _with_interval(found: dict[str, float]) -> str:
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def _light(audit: dict[str, Any], name: str) -> str:
    return f"{audit['light']['synthetic'][name]:.3f}, {audit['light']['real'][name]:.3f}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
