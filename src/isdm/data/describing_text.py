"""The statistics of a dataset in words, for the terminal and for the page.

Names of classes, groups and images are strangers' text: `printable` keeps them on one line and harmless to a
terminal; a page escapes them besides.
"""

import json
import shlex
from dataclasses import dataclass

from isdm.data.describing import KEPT_PERCENT, Statistics
from isdm.text import printable


def share_text(part: int, whole: int) -> str:
    """A share in percent; a dash where there is nothing to share."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 0.001:
        return "< 0.001 %"
    return f"{percent:.2f} %" if percent >= 1 else f"{percent:.2g} %"


def area_text(area_px: float) -> str:
    """An area; halves, which medians have, are not rounded away."""
    return f"{area_px:,.1f}".removesuffix(".0")


@dataclass(frozen=True)
class ClassChoice:
    """Which classes the paper's rule keeps."""

    option: str
    """For `isdm data import`, or a line of an experiment file; empty where there is nothing to choose."""
    sentence: str


def class_choice(statistics: Statistics) -> ClassChoice | None:
    """Choose the classes above `KEPT_PERCENT` of the foreground pixels; None with one class or no foreground."""
    foreground, kept = statistics.foreground, statistics.frequent
    total = statistics.foreground_px
    if len(foreground) < 2 or not total:
        return None
    rule = f"above {KEPT_PERCENT} % of the defective pixels"
    if len(kept) == len(foreground):
        return ClassChoice("", f"All {len(foreground)} classes are {rule}.")
    if not kept:
        return ClassChoice("", f"None of the {len(foreground)} classes is {rule}.")
    named = ", ".join(f"{printable(one.name)} {share_text(int(statistics.class_px[one.id]), total)}" for one in kept)
    dropped = len(foreground) - len(kept)
    sentence = f"keeps the classes {rule}: {named}; drops {dropped} other{'' if dropped == 1 else 's'}"
    return ClassChoice(_option([entry.name for entry in kept]), sentence)


def _option(names: list[str]) -> str:
    """The names as the command line takes them; it parts them at commas, so some only an experiment file can say."""
    if all(name and name == printable(name).strip() and "," not in name for name in names):
        return f"--classes {shlex.quote(','.join(names))}"
    return f"classes: {printable(json.dumps(names, ensure_ascii=False))}"
