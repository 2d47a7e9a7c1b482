"""What a study found, as one page that opens anywhere, figures for a paper and tables for a spreadsheet.

This package reads files that the evaluation left behind. It never loads a model, so it needs no torch.
`isdm.report` is this package and can also be called: `isdm.report(study)` is `isdm.report.html.report(study)`.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from isdm.report.comparisons import comparison_table, read_counts
from isdm.report.html import report
from isdm.report.tables import baseline_of, format_table, gains, summary_table
from isdm.report.verdict import headline, verdicts

__all__ = [
    "baseline_of",
    "comparison_table",
    "format_table",
    "gains",
    "headline",
    "read_counts",
    "report",
    "summary_table",
    "verdicts",
]


class _CallableModule(ModuleType):
    """The stage and its package share a name; importing the one must not hide the other."""

    def __call__(
        self,
        study: Path,
        *,
        audit: Path | None = None,
        costs: Sequence[Mapping[str, Any]] = (),
        audits: Mapping[str, Path] | None = None,
    ) -> Path:
        return report(study, audit=audit, costs=costs, audits=audits)


sys.modules[__name__].__class__ = _CallableModule
