"""Strangers' text made harmless: names of files, classes and groups may hold anything.

A terminal acts on escape sequences, a spreadsheet on a cell that begins like a formula, and marks of the writing's
direction make a name look like another. Pages escape for HTML besides.
"""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def printable(text: str) -> str:
    """Text on one line: line breaks, control characters and marks that turn the writing become escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def printable_lines(text: str) -> str:
    """The same for a message of several lines, whose line breaks stay."""
    return "\n".join(printable(line) for line in text.split("\n"))


def spreadsheet_cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe before it says that it is text."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def from_spreadsheet_cell(cell: str) -> str:
    """What `spreadsheet_cell` made the cell of."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA_STARTS) else cell
