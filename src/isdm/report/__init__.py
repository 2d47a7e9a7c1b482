"""What a study found, as one page that opens anywhere, figures for a paper and tables for a spreadsheet.

This package reads files that the evaluation left behind. It never loads a model, so it needs no torch.
"""

from isdm.report.html import report
from isdm.report.tables import baseline_of, format_table, gains, headline, summary_table, verdicts

__all__ = ["baseline_of", "format_table", "gains", "headline", "report", "summary_table", "verdicts"]
