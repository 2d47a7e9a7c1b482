"""What mask pixels mean, found from all masks of a source at once, or read as somebody says; always stated.

    reading      masks                                       becomes
    ids          grey or palette values, 8 or 16 bits        classes; 255, in 16 bits also 65535, is ignored
    binary       anything                                    one class, above a threshold
    colours      RGB or a palette                            one class a colour, black (or the table's first) is none
    instances    grey or palette values, 8 or 16 bits        one class; every value but 0 is an object of it
    alpha        any with transparency                       one class, less transparent than a threshold
    one-hot      RGB(A), TIFF pages, NumPy (H, W, C)         one class a plane
    auto         the one of these that fits all masks; refused where several could

All masks are read once to find the rule, on all cores, and none is kept.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from isdm.config import MaskReading
from isdm.data.mask_rules.class_table import ClassTable, read_class_table
from isdm.data.mask_rules.colours import as_colours, colours_rule
from isdm.data.mask_rules.counting import Tally, Totals, tally
from isdm.data.mask_rules.decoding import RawMask, read_raw, read_values
from isdm.data.mask_rules.found import found_rule
from isdm.data.mask_rules.grey import brightness, ids_rule, instances_rule, numbers, opacity, threshold_rule
from isdm.data.mask_rules.planes import one_hot_rule, plane_tally, planes_or_raw
from isdm.data.mask_rules.rule import Answer, MaskRule, Question
from isdm.errors import DataError
from isdm.parallel import in_threads
from isdm.progress import track

__all__ = ["ClassTable", "MaskRule", "find_rule", "read_class_table", "read_values", "rule_and_problems"]

DEFAULT_THRESHOLD = 127

Look = Callable[[Path], RawMask | Tally]


class _Reading(NamedTuple):
    look: Look
    view: Callable[[Path], RawMask]
    settle: Callable[[Totals, Question], Answer]


_READINGS: dict[MaskReading, _Reading] = {
    "auto": _Reading(planes_or_raw, read_raw, found_rule),
    "ids": _Reading(partial(numbers, reading="ids"), partial(numbers, reading="ids"), ids_rule),
    "binary": _Reading(brightness, brightness, partial(threshold_rule, reading="binary")),
    "colours": _Reading(as_colours, as_colours, colours_rule),
    "instances": _Reading(
        partial(numbers, reading="instances"), partial(numbers, reading="instances"), instances_rule
    ),
    "alpha": _Reading(opacity, opacity, partial(threshold_rule, reading="alpha")),
    "one-hot": _Reading(plane_tally, read_raw, one_hot_rule),
}


def find_rule(
    paths: Sequence[Path],
    declared_names: tuple[str, ...] | ClassTable | None,
    reading: MaskReading = "auto",
    threshold: int = DEFAULT_THRESHOLD,
) -> tuple[MaskRule, list[str]]:
    """Find the rule that all masks of a source follow.

    Args:
        paths: the mask files.
        declared_names: class names, background first, where the source declares them, or a table with colours.
        reading: what masks are, where somebody says so.
        threshold: values above it are foreground, in 8 bits.

    Returns:
        The rule, and a line for each mask that cannot be read or does not follow it.

    Raises:
        DataError: the masks follow no rule, or could follow several.
    """
    rule, problems = rule_and_problems(paths, declared_names, reading, threshold)
    return rule, list(problems.values())


def rule_and_problems(
    paths: Sequence[Path],
    declared_names: tuple[str, ...] | ClassTable | None,
    reading: MaskReading = "auto",
    threshold: int = DEFAULT_THRESHOLD,
) -> tuple[MaskRule, dict[Path, str]]:
    """As `find_rule`, with the problems by the mask's file."""
    table = ClassTable(declared_names) if isinstance(declared_names, tuple) else declared_names
    chosen = _READINGS[reading]
    totals, problems = Totals(), dict[Path, str]()
    looked = in_threads(partial(_tallied, look=chosen.look, table=table), paths)
    for path, one in track(looked, "Reading masks", total=len(paths), unit="masks"):
        if isinstance(one, DataError):
            problems[path] = str(one)
        else:
            totals.add(path, one)
    folder = paths[0].parent if paths else Path()
    question = Question(folder, table, threshold, chosen.view, is_explicit=reading != "auto")
    if not totals.kinds:  # nothing was read, so that nothing can contradict
        return ids_rule(totals, question).rule if table else found_rule(totals, question).rule, problems
    try:
        answer = chosen.settle(totals, question)
    except DataError as error:
        raise DataError("\n".join([str(error), *problems.values()])) from None
    return answer.rule, problems | answer.problems


def _tallied(path: Path, look: Look, table: ClassTable | None) -> tuple[Path, Tally | DataError]:
    try:
        seen = look(path)
        return path, seen if isinstance(seen, Tally) else tally(seen, table)
    except DataError as error:
        return path, error
