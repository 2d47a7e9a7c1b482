"""Which pictures belong together: told by the user, known to the layout, or found by looking at them."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isdm.config import DataConfig
from isdm.data.dataset import SPLITS
from isdm.data.layouts.source import Source, SourcePair
from isdm.data.matches import Matches, joined_groups
from isdm.data.pairs_on_disk import pairs_on_disk
from isdm.data.unicode_names import composed
from isdm.errors import DataError, UsageError
from isdm.text import from_spreadsheet_cell


def with_told_groups(source: Source, config: DataConfig) -> Source:
    """Give every pair the group that `group_by` or `groups` names, where either is given."""
    if config.group_by is not None:
        return replace(source, pairs=_by_expression(source.pairs, config.group_by))
    if config.groups is not None:
        return replace(source, pairs=_by_table(source.pairs, config.groups))
    return source


def _by_expression(pairs: Sequence[SourcePair], pattern: str) -> Sequence[SourcePair]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"group_by = {pattern!r} is not a regular expression: {error}.") from None

    def grouped(pair: SourcePair) -> SourcePair:
        match = expression.search(pair.stem)
        if match is None:
            raise DataError(f"group_by = {pattern!r} does not match {pair.stem!r}; every name must match.")
        return replace(pair, group=match.group(1) if expression.groups else match.group(0))

    return pairs_on_disk(map(grouped, pairs))


def _by_table(pairs: Sequence[SourcePair], path: Path) -> Sequence[SourcePair]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"groups = {path} cannot be read ({error}); give a CSV file in UTF-8.") from None
    group_of: dict[str, str] = {}
    for line, row in enumerate(rows, start=2):
        name, group = (from_spreadsheet_cell(row.get(column) or "") for column in ("name", "group"))
        if not name or not group:
            raise DataError(f"{path}, line {line} lacks a name or a group; the columns must be name,group.")
        if (before := group_of.setdefault(composed(name), group)) != group:
            raise DataError(f"{path}, line {line} puts {name!r} into {group!r}, but before into {before!r}.")
    missing = [pair.stem for pair in pairs if _listed_name(pair, group_of) is None]
    if missing:
        raise DataError(
            f"{path} has no group for {len(missing)} of {len(pairs)} images, such as {missing[0]!r}; add a line each."
        )
    return pairs_on_disk(replace(pair, group=group_of[_listed_name(pair, group_of) or ""]) for pair in pairs)


def _listed_name(pair: SourcePair, group_of: dict[str, str]) -> str | None:
    """How the table calls a picture: by the name it gets, or its file's, with or without the ending."""
    names = map(composed, (pair.stem, pair.image.name, pair.image.stem))
    return next((name for name in names if name in group_of), None)


def with_found_groups(pairs: Sequence[SourcePair], matches: Matches) -> tuple[Sequence[SourcePair], list[str]]:
    """Join the groups of pairs that show the same thing; where pairs have splits, only within each of them.

    What is for training alone has none, and joins what is held out before what is trained on: it can be left out.

    Returns:
        The pairs with their groups, and sentences that say what was joined.
    """
    own = [pair.group or f"{pair.split or ''}/{pair.stem}" for pair in pairs]
    splits = np.array([SPLITS.index(pair.split) if pair.split else -1 for pair in pairs], np.int8)
    if (splits >= 0).any():
        _follow(splits, matches, np.array([pair.train_only for pair in pairs], bool))
    is_within = splits[matches.firsts] == splits[matches.seconds]
    across = matches[~is_within]
    joined = joined_groups(own, matches[is_within])
    first_of: dict[str, str] = {}
    for pair, group in zip(pairs, joined, strict=True):
        first_of.setdefault(group, pair.group or pair.stem)
    notes = []
    before, after = len(set(own)), len(set(joined))
    if after < before:
        largest = max(Counter(joined).values())
        notes.append(
            f"pictures that look the same were joined: {before} groups became {after}, the largest of {largest}"
        )
    if len(across):
        one, other = pairs[across[0].first], pairs[across[0].second]
        notes.append(
            f"the source's own splits part {len(across)} pairs of pictures that look the same, such as "
            f"{one.stem} ({one.split}) and {other.stem} ({other.split}); --splits new keeps them together"
        )
    named = (replace(pair, group=first_of[group]) for pair, group in zip(pairs, joined, strict=True))
    return pairs_on_disk(named), notes


def _follow(splits: NDArray[np.int8], matches: Matches, is_extra: NDArray[np.bool_]) -> None:
    """Give each extra the split, in place, of what is held out and looks the same; without such, that of training."""
    held_out = splits > SPLITS.index("train")
    for one, other in ((matches.firsts, matches.seconds), (matches.seconds, matches.firsts)):
        leaking = is_extra[one] & held_out[other]
        splits[one[leaking]] = splits[other[leaking]]
    splits[is_extra & (splits < 0)] = SPLITS.index("train")
