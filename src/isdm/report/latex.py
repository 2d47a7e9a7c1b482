"""The study's table for a paper, in LaTeX with booktabs."""

import polars as pl

from isdm.report.tables import FOREGROUND, architecture_name, architectures_of, ordered_rows, points
from isdm.text import printable

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "[": "{[}",  # after the end of a line LaTeX would take it for the line's option
    "]": "{]}",
}


def latex_table(summary: pl.DataFrame, comparisons: pl.DataFrame) -> str:
    """Mean foreground IoU of every configuration, with its spread and the gain with its interval in points."""
    names = architectures_of(summary)
    means = summary.filter(pl.col("measure") == FOREGROUND)
    values = {(line["row"], line["architecture"]): line for line in means.iter_rows(named=True)}
    gained = comparisons.filter((pl.col("measure") == FOREGROUND) & pl.col("gain").is_not_null())
    gains = {(line["row"], line["architecture"]): line for line in gained.iter_rows(named=True)}
    heads = [rf"\multicolumn{{2}}{{c}}{{{escaped(architecture_name(name))}}}" for name in names]
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{tabular}{l" + "rr" * len(names) + "}",
        r"\toprule",
        " & ".join(["", *heads]) + r" \\",
        " & ".join(["Training images", *(["IoU", "gain (95\\,\\%)"] * len(names))]) + r" \\",
        r"\midrule",
    ]
    for row, label in ordered_rows(summary):
        cells = [escaped(label)]
        for name in names:
            line, gain = values.get((row, name)), gains.get((row, name))
            if line is None or line["mean"] is None:
                cells.append("--")
            elif line["spread"] is None:
                cells.append(f"{line['mean']:.3f}")
            else:
                cells.append(rf"${line['mean']:.3f} \pm {line['spread']:.3f}$")
            if gain is None:
                cells.append("")
            elif gain["lower"] is None:
                cells.append(f"${points(100 * gain['gain'])}$")
            else:
                ends = ", ".join(points(100 * gain[end]) for end in ("lower", "upper"))
                cells.append(f"${points(100 * gain['gain'])}$ $[{ends}]$")
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def escaped(text: str) -> str:
    """Text in which LaTeX sees no command."""
    return "".join(_ESCAPES.get(character, character) for character in printable(text))
