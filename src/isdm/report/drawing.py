"""What all figures share: inks, calm axes, legends, shares in percent, and files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import FuncFormatter

from isdm.files import write_with
from isdm.text import printable


@dataclass(frozen=True)
class Theme:
    """The inks of a figure. Series colours are those of Okabe and Ito, distinct to colour-blind readers."""

    ink: str
    muted: str
    grid: str
    paper: str
    series: tuple[str, ...]
    loss: str
    even: str
    gain: str


LIGHT = Theme(
    ink="#1d2730",
    muted="#5d6b78",
    grid="#e3e7ea",
    paper="#ffffff",
    series=("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9"),
    loss="#c4571b",
    even="#f6f6f4",
    gain="#1f6fb0",
)
DARK = Theme(
    ink="#e6e9ec",
    muted="#9aa7b2",
    grid="#333c45",
    paper="#1b2127",
    series=("#56b4e9", "#f0883e", "#3cc79c", "#e29ac4", "#e3c44a", "#9ecbe8"),
    loss="#c4601f",
    even="#2a3138",
    gain="#2f7fc0",
)


@contextmanager
def styled(theme: Theme) -> Iterator[None]:
    """Matplotlib's settings while a figure is built: calm axes, and names are text, never formulas."""
    with mpl.rc_context(
        {
            "text.parse_math": False,
            "text.color": theme.ink,
            "font.size": 10,
            "axes.labelcolor": theme.muted,
            "axes.edgecolor": theme.grid,
            "axes.facecolor": "none",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.axisbelow": True,
            "grid.color": theme.grid,
            "xtick.color": theme.grid,
            "ytick.color": theme.grid,
            "xtick.labelcolor": theme.muted,
            "ytick.labelcolor": theme.muted,
            "legend.frameon": False,
            "figure.facecolor": theme.paper,
        }
    ):
        yield


def legend_below(figure: Figure, panels: Sequence[Axes], *, columns: int) -> None:
    """One legend below the figure for what its panels show, each name once."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=columns)


def shortened(text: str, limit: int = 18) -> str:
    """A text of at most `limit` characters, all of them such as can be drawn.

    The end is kept: names of one dataset often begin alike.
    """
    text, end = printable(text), limit // 3
    return text if len(text) <= limit else text[: limit - 1 - end] + "…" + text[len(text) - end :]


@cache
def _drawable() -> frozenset[int]:
    """The characters that matplotlib's own font can draw."""
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def class_label(name: str, class_id: int, limit: int = 18) -> str:
    """A class's name as figures write it; its id where the font lacks a character of the name."""
    name = printable(name)
    return shortened(name, limit) if name and {ord(c) for c in name} <= _drawable() else f"class {class_id}"


def drawable(texts: Sequence[str], limit: int | None = None) -> list[str]:
    """Texts in letters that the font has, others as "?"; what became the same by that is numbered."""
    plain = ["".join(c if ord(c) in _drawable() else "?" for c in printable(text)) for text in texts]
    shown = plain if limit is None else [shortened(text, limit) for text in plain]
    changed = [text != printable(original) for text, original in zip(plain, texts, strict=True)]
    return [
        f"{text} ({shown[: place + 1].count(text)})" if changed[place] and shown.count(text) > 1 else text
        for place, text in enumerate(shown)
    ]


def percent_text(value: float) -> str:
    """A share in percent with two digits that matter."""
    return "0" if value == 0 else f"{value:.2g} %" if value < 1 else f"{value:.1f} %"


def scale_to_shares(axes: Axes, shares: Sequence[float]) -> None:
    """A logarithm where the rarest class would not be seen beside the most frequent one."""
    if max(shares) > 50 * min(shares):
        axes.set_xscale("log")
        axes.set_xlim(min(shares) / 3, max(shares) * 4)
        axes.set_xlabel("share of pixels, % (logarithmic)")
    else:
        axes.set_xlim(0, max(shares) * 1.15)
        axes.set_xlabel("share of pixels, %")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the path's ending; the same figure gives the same bytes."""
    metadata = {"CreationDate": None} if path.suffix == ".pdf" else {}
    with mpl.rc_context({"pdf.fonttype": 42}):
        write_with(path, lambda aside: figure.savefig(aside, dpi=200, metadata=metadata))


def svg(figure: Figure) -> bytes:
    """A figure as SVG with a clear background and its letters as outlines: it needs no font to be read."""
    buffer = BytesIO()
    with mpl.rc_context({"svg.hashsalt": "isdm"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()
