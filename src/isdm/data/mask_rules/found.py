"""The reading `auto`: what all masks of a source together show, and a refusal where that is more than one thing."""

from collections import Counter
from copy import copy
from dataclasses import replace

import numpy as np

from isdm.data.dataset import IGNORE_INDEX
from isdm.data.mask_rules.colours import colours_rule, table_explains
from isdm.data.mask_rules.counting import Counts, Totals
from isdm.data.mask_rules.decoding import LARGEST_VALUE
from isdm.data.mask_rules.grey import (
    MANY_IDS,
    MOST_IDS_TO_FIND,
    SOFT_SHARE,
    brightness,
    ids_rule,
    looks_smoothed,
    opacity,
    threshold_rule,
    to_8_bits,
    two_values_rule,
)
from isdm.data.mask_rules.planes import one_hot_rule
from isdm.data.mask_rules.rule import Answer, Question
from isdm.errors import DataError

_SAY = (
    "say what they are: --masks ids (each value is a class), --masks instances (each is an object of one class) or "
    "--masks binary (what is above a threshold is the one class)"
)


def found_rule(totals: Totals, question: Question) -> Answer:
    """The rule that all masks follow.

    Raises:
        DataError: they do not follow one, or could follow several.
    """
    if totals.kinds["planes"]:
        return _planes(totals, question)
    if totals.alpha_alone and totals.transparency_means_something:
        return _alpha(totals, question)
    if totals.kinds["colour"]:
        _refuse_wide_beside_colour(totals)
        return colours_rule(totals, question)
    if table_explains(totals, question):
        return colours_rule(totals, question)
    if totals.palette_clash is not None and question.names is None:
        index, first, second = totals.palette_clash
        raise DataError(
            f"{first} and {second} have different colours for the index {index} of their palettes; say which counts: "
            f"--masks ids (the index) or --masks colours (the colour)."
        )
    if totals.black_index and question.names is None:
        raise DataError(
            f"The palette of {totals.first_of['palette']} has black not at the index 0 but at {totals.black_index}; "
            f"say what is background: --masks ids (the index 0) or --masks colours (black)."
        )
    return _grey(totals, question)


def _grey(totals: Totals, question: Question) -> Answer:
    """A rule for masks that hold one number a pixel."""
    counts, _ = totals.visible(totals.by_value)
    values = sorted(counts)
    others = [value for value in values if value]
    may_be_two = question.names is None or len(question.names) == 2
    is_one_wide = len(others) == 1 and others[0] > IGNORE_INDEX
    if may_be_two and (set(others) <= {IGNORE_INDEX, LARGEST_VALUE} or others == [1] or is_one_wide):
        return two_values_rule(totals, question, others)
    if may_be_two and _has_soft_borders(totals):
        return _soft_borders(totals, question)
    if question.names is not None:
        return ids_rule(totals, question)
    if totals.odd_values:
        largest = max(values)
        raise DataError(
            f"The masks in {question.folder} have {len(values):,} values up to {largest}, too large for class ids (0 "
            f"to {IGNORE_INDEX - 1}), and no soft borders between 0 and {LARGEST_VALUE}; {_SAY}."
        )
    if len(values) > MOST_IDS_TO_FIND:
        raise DataError(
            f"The masks in {question.folder} have {len(values)} values, too many to be taken for class ids (at most "
            f"{MOST_IDS_TO_FIND}), and they fill areas, which soft borders do not; {_SAY}."
        )
    if len(others) > MANY_IDS and _fills_no_area(totals, others):
        raise DataError(
            f"The masks in {question.folder} have {len(values)} values that fill no areas as classes do, but no "
            f"white either, as soft borders would; {_SAY}."
        )
    if totals.looks_numbered:
        raise DataError(
            f"The masks in {question.folder} hold 1, 2, 3, … without a gap, as many in each as it needs, up to "
            f"{max(value for value in values if value < IGNORE_INDEX)}: that may be classes, but looks like objects "
            f"that are numbered; {_SAY}."
        )
    return ids_rule(totals, question)


def _fills_no_area(totals: Totals, values: list[int]) -> bool:
    pixels, solid, _ = np.sum([totals.by_value[value] for value in values], axis=0)
    return bool(solid < SOFT_SHARE * pixels)


def _has_soft_borders(totals: Totals) -> bool:
    """Whether the values are those of one class from 0 to white, in 8 or (all masks) 16 bits."""
    scaled = _needs_scaling(totals)
    if (scaled and set(totals.kinds) != {"wide"}) or not totals.palette_is_grey:
        return False
    counts = np.zeros((2, 256), np.int64)
    for value, (pixels, solid, _) in _in_8_bits(totals, scaled).items():
        counts[:, value] = pixels, solid
    return looks_smoothed(*counts)


def _soft_borders(totals: Totals, question: Question) -> Answer:
    scaled = _needs_scaling(totals)
    seen = copy(totals)
    seen.by_value = _in_8_bits(totals, scaled)
    seen.kinds = Counter({"wide": totals.kinds["wide"]} if scaled else {"grey": totals.kinds.total()})
    view = brightness if scaled else question.view
    return threshold_rule(seen, replace(question, view=view), "binary", found=True)


def _needs_scaling(totals: Totals) -> bool:
    return max(totals.by_value, default=0) > IGNORE_INDEX


def _in_8_bits(totals: Totals, scaled: bool) -> dict[int, Counts]:
    if not scaled:
        return totals.by_value
    sums: dict[int, Counts] = {}
    for value, counts in totals.by_value.items():
        grey = int(to_8_bits(np.array(value, np.uint16)))
        sums[grey] = sums.get(grey, np.zeros(3, np.int64)) + counts
    return sums


def _alpha(totals: Totals, question: Question) -> Answer:
    seen = copy(totals)
    seen.transparency_means_something = False
    seen.kinds = Counter({"grey": totals.kinds.total()})
    seen.by_value = {level: np.array([n, n, 0]) for level, n in enumerate(totals.alpha.tolist()) if n}
    answer = threshold_rule(seen, replace(question, view=opacity), "alpha")
    note = f"what is visible has one colour in all masks, so that transparency is the mask: {answer.rule.note}"
    return Answer(replace(answer.rule, note=note))


def _planes(totals: Totals, question: Question) -> Answer:
    other = next((path for kind, path in totals.first_of.items() if kind != "planes"), None)
    if other is not None:
        raise DataError(
            f"{totals.first_of['planes']} has several planes but {other} has one; all masks must have as many: save "
            f"them alike."
        )
    return one_hot_rule(totals, question)


def _refuse_wide_beside_colour(totals: Totals) -> None:
    if _needs_scaling(totals):
        raise DataError(
            f"{totals.first_of['wide']} has 16 bits but {totals.first_of['colour']} is in colour; all masks must be "
            f"read by one rule: save them alike."
        )
