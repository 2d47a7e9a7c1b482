"""Which split each pair of an import goes to: the source's own, a fold's, or a new one."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from isdm.config import DataConfig
from isdm.data.dataset import Split
from isdm.data.layouts.source import SourcePair
from isdm.data.pairs_on_disk import pairs_on_disk
from isdm.data.splits import folded_split, grouped_parts, grouped_split, split_sizes, taken_from_train
from isdm.errors import ConfigError, DataError
from isdm.on_disk import LazySequence

Pixels = NDArray[np.int64]
Rows = NDArray[np.int64]


def with_source_splits(pairs: Sequence[SourcePair], config: DataConfig) -> tuple[Sequence[SourcePair], list[str]]:
    """Pairs with the source's own splits where these are kept, else with none.

    They are kept where the options do not ask for new ones and the source has pairs to train on and others to test or
    validate with. What no split names is then a training pair.

    Returns:
        The pairs, and sentences that say what was decided for some of them.
    """
    given = {pair.split for pair in pairs if not pair.train_only}
    keeps = config.splits == "source" and config.folds is None and "train" in given and given & {"test", "validation"}
    if not keeps:
        return (pairs_on_disk(replace(pair, split=None) for pair in pairs) if given != {None} else pairs), []
    nowhere = [pair.stem for pair in pairs if pair.split is None and not pair.train_only]
    if not nowhere:
        return pairs, []
    named = (replace(pair, split=pair.split or (None if pair.train_only else "train")) for pair in pairs)
    return pairs_on_disk(named), [
        f"the source's own splits do not name {len(nowhere)} of the pairs, such as {nowhere[0]}; they count as "
        "training pairs"
    ]


def splits_of(pairs: Sequence[SourcePair], pixels: Pixels, config: DataConfig) -> tuple[list[Split], str]:
    """The split of each pair (N,), for the pixels (N, K) of each class, and by what it was split.

    Pairs that have a split keep it, see `with_source_splits`; those that are for training alone have no part in the
    choice.
    """
    own = [index for index, pair in enumerate(pairs) if not pair.train_only]
    if not own:
        raise DataError("every pair is for training alone; nothing is left to validate and test with.")
    chosen, by = _of_own(LazySequence(len(own), lambda place: pairs[own[place]]), pixels[own], config)
    splits: list[Split] = ["train"] * len(pairs)
    for index, split in zip(own, chosen, strict=True):
        splits[index] = split
    return splits, by


def _of_own(pairs: Sequence[SourcePair], pixels: Pixels, config: DataConfig) -> tuple[list[Split], str]:
    by_image = config.split_by == "image"
    groups = [f"{pair.split}/{pair.stem}" if by_image else _group(pair) for pair in pairs]
    given: list[Split] = [pair.split for pair in pairs if pair.split is not None]
    assert len(given) in (0, len(pairs)), "either all pairs have a split or none"
    if given:
        chosen = given
        if "test" not in given:
            chosen = taken_from_train(groups, pixels, chosen, "test", config.test, config.seed)
        if "validation" not in given:
            chosen = taken_from_train(groups, pixels, chosen, "validation", config.validation, config.seed)
        _refuse_parted_groups(pairs, chosen)
        return chosen, "source"
    if config.folds is not None:
        return folded_split(groups, pixels, config.folds, config.fold, config.validation, config.seed), "fold"
    sizes = split_sizes(len(groups), config.test, config.validation)
    return grouped_split(groups, pixels, sizes, config.seed), config.split_by


def empty_splits(pairs: Sequence[SourcePair], splits: Sequence[Split], config: DataConfig) -> list[str]:
    """A sentence for each split that the options ask for and that got no pair, as whole groups are too few."""
    sizes = split_sizes(len(splits), 0 if config.folds is not None else config.test, config.validation)
    missing = [split for split, size in sizes.items() if size > 0 and split not in splits]
    if not missing:
        return []
    num_groups = len({_group(pair) for pair in pairs})
    return [
        f"nothing is left for {' and '.join(missing)}: the pictures are of {num_groups} group(s), which stay whole"
    ]


def _refuse_parted_groups(pairs: Sequence[SourcePair], splits: Sequence[Split]) -> None:
    """The source's own splits must not part a group that it, or the user, names."""
    found: dict[str, set[str]] = {}
    for pair, split in zip(pairs, splits, strict=True):
        found.setdefault(pair.group or f"{split}/{pair.stem}", set()).add(split)
    parted = sorted(group for group, places in found.items() if len(places) > 1)
    if parted:
        raise DataError(
            f"The source's own splits part {len(parted)} group(s), such as {parted[0]!r} in "
            f"{' and '.join(sorted(found[parted[0]]))}; make new splits with --splits new."
        )


def without_leaking_extras(pairs: Sequence[SourcePair], splits: Sequence[Split]) -> tuple[Rows, list[str]]:
    """Leave out what is for training alone where its group is in another split.

    Returns:
        Positions (R,) of the pairs that stay, and sentences that say how many do not.
    """
    held_out = {
        _group(pair) for pair, split in zip(pairs, splits, strict=True) if split != "train" and not pair.train_only
    }
    stays = np.array([not pair.train_only or _group(pair) not in held_out for pair in pairs], bool)
    left_out = int((~stays).sum())
    notes = [f"{left_out} defect-free pictures were left out: the validation or test split has their groups"]
    return np.flatnonzero(stays), notes if left_out else []


def with_fewer_to_train_on(
    pairs: Sequence[SourcePair], splits: Sequence[Split], pixels: Pixels, config: DataConfig
) -> tuple[Rows, list[str]]:
    """Keep `config.train` training images by whole groups, as even in their classes as all were.

    Pictures that are for training alone are not counted, and stay.

    Returns:
        Positions (R,) of the pairs that stay, and sentences that say how many do not.

    Raises:
        ConfigError: there are not so many.
    """
    wanted = config.train
    rows = [index for index, split in enumerate(splits) if split == "train" and not pairs[index].train_only]
    if wanted is None or wanted == len(rows):
        return np.arange(len(pairs)), []
    if wanted > len(rows):
        raise ConfigError(f"train = {wanted} but the other splits leave {len(rows)} training images; lower it.")
    groups = [_group(pairs[row]) for row in rows]
    parts = grouped_parts(groups, pixels[rows], [wanted, len(rows) - wanted], config.seed)
    left_out = [row for row, part in zip(rows, parts, strict=True) if part == 1]
    if len(left_out) == len(rows):
        raise ConfigError(f"train = {wanted} is less than the smallest group of images has; raise it.")
    note = f"{len(rows) - len(left_out)} of {len(rows)} training images were kept (train = {wanted})"
    return np.setdiff1d(np.arange(len(pairs)), left_out), [note]


def _group(pair: SourcePair) -> str:
    return pair.group or pair.stem
