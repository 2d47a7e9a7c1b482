"""Strangers' text in terminals and spreadsheets."""

import pytest

from isdm.text import listed, nearest, printable, printable_lines, spreadsheet_cell

ESCAPES = "a\x1b[31m\u202eb\x07\u2028c\ud800"


def test_what_a_terminal_would_act_on_becomes_an_escape() -> None:
    assert printable(ESCAPES) == r"a\x1b[31m\u202eb\x07\u2028c\ud800"
    assert printable("Riß 裂 🍋 [red]") == "Riß 裂 🍋 [red]"
    assert printable("a\nb\r") == r"a\nb\r"


def test_a_message_keeps_its_lines_and_nothing_else() -> None:
    assert printable_lines("a\nb\r\n\x1b[2J") == "a\nb\\r\n\\x1b[2J"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_spreadsheet_sees_no_formula(text: str) -> None:
    assert spreadsheet_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "crack", "a=1", "'=1"])
def test_other_cells_stay_as_they_are(text: str) -> None:
    assert spreadsheet_cell(text) == text


def test_many_names_are_counted_and_those_alike_come_first() -> None:
    names = [f"class_{number}" for number in range(200)]
    assert listed(names[:13]) == ", ".join(names[:13])
    assert listed(names).endswith("class_10, class_11 and 188 others")
    assert nearest("clas_173", names).startswith("class_173, ")
    assert nearest("scratch", ["crack", "dent"]) == "crack, dent"
