"""Names in tables for spreadsheets, for LaTeX and on pages."""

import polars as pl
import pytest
from markupsafe import Markup

from isdm.report import pages
from isdm.report.html import _csv
from isdm.report.latex import escaped


def test_a_cell_that_begins_like_a_formula_is_text() -> None:
    table = pl.DataFrame(
        {"class_name": ["=cmd|'/C calc'!A1", "@x", "a\x1b[2J", None, "crack"], "gain": [-1, 0, 1, 2, 3]}
    )
    lines = _csv(table).splitlines()
    assert lines == ["class_name,gain", "'=cmd|'/C calc'!A1,-1", "'@x,0", r"a\x1b[2J,1", ",2", "crack,3"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("[2cm]", "{[}2cm{]}"),
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("a\nb", r"a\textbackslash{}nb"),
        ("50 % & $x_1^2$ #~", r"50 \% \& \$x\_1\textasciicircum{}2\$ \#\textasciitilde{}"),
    ],
)
def test_latex_sees_no_command_and_no_option(name: str, shown: str) -> None:
    assert escaped(name) == shown


def test_a_page_shows_marks_that_turn_the_writing() -> None:
    assert pages._harmless("a\u202eb\nc\x00") == "a\\u202eb\nc\\x00"
    assert pages._harmless(Markup("<b>\u202e</b>")) == "<b>\u202e</b>"
    assert pages._harmless(3) == 3
