"""Results as tables in the terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Column, Table
from rich.text import Text

from isdm.progress import answer, plain_console
from isdm.report.audit_text import (
    agreement_interval,
    copying_verdict,
    fidelity_rows,
    light_warning,
    masks_do_not_steer,
    shares,
    weak_judge,
)
from isdm.report.comparisons import comparison_table, read_counts
from isdm.report.realism import realism
from isdm.report.study_files import read_results, read_study
from isdm.report.tables import format_table, summary_table
from isdm.report.verdict import headline, verdicts
from isdm.text import printable


def print_results(study: Path) -> None:
    """Print a study's result table and its verdicts."""
    facts = read_study(study / "study.yaml")
    summary = summary_table(read_results(study / "results.parquet"), facts["config"].get("baseline") or "plain")
    comparisons = comparison_table(read_counts(study), summary, facts["primary_row"])
    plain_console(wraps=True).print(format_table(summary))
    for leak in facts["leaks"]:
        answer(f"This study leaks, so its figures prove nothing: {leak}", style="bold red")
    if facts["named_late"] is True:
        answer("Its comparison was named after another study had read its test scores: its tests promise too much.")
    answer(headline(comparisons), style="bold")
    for verdict in verdicts(summary, comparisons):
        answer(verdict)


def print_agreement(audit: Mapping[str, Any]) -> None:
    """Print how well synthetic images follow their masks."""
    table = Table("read by a segmenter trained on real images", "mean foreground IoU", "share of real [95 %]")
    own, others = shares(audit)
    rows = (
        ("real held-out images", audit["real_iou"], None if own is None else 1.0, ""),
        ("synthetic images, their own masks", audit["synthetic_iou"], own, agreement_interval(audit, 3)),
        ("synthetic images, masks of others", audit["shuffled_iou"], others, ""),
    )
    for label, iou, share, ends in rows:
        table.add_row(label, _number(iou), "–" if share is None else f"{share:.3f}{ends}")
    answer("Do the synthetic images follow their masks?")
    plain_console(wraps=True).print(table)
    doubt = weak_judge(audit) or masks_do_not_steer(audit)
    if doubt is not None:
        answer(doubt)


def print_audit(audit: Mapping[str, Any]) -> None:
    """Print what an audit found: agreement, fidelity, copying."""
    print_agreement(audit)
    features = Text(printable(f"features: {audit['fidelity']['features']}"))  # may name a stranger's file
    table = Table(Column(features), "synthetic [95 %]", "real held-out [95 %]")
    for row in fidelity_rows(audit["fidelity"]):
        table.add_row(row["name"], row["synthetic"], row["held_out"])
    answer(f"Are they like real pictures? {realism(audit)['headline']}")
    plain_console(wraps=True).print(table)
    warning = light_warning(audit)
    if warning is not None:
        answer(warning)
    verdict = copying_verdict(audit, pictures="on the audit's page, its index.html")
    answer(f"Does it copy? {verdict['headline']} {verdict['why']}")


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
