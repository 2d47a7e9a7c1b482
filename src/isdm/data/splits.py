"""Splits that keep groups together and give every split its share of every class."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isdm.data.dataset import SPLITS, Split
from isdm.errors import ConfigError

ATTEMPTS = 30
"""Further orders of the groups that are tried."""
MOST_GROUPS_TO_RETRY = 2000
"""Of more groups, one order is even enough, and trying several would take minutes."""


def split_sizes(total: int, test: float | int, validation: float | int) -> dict[Split, int]:
    """How many of `total` images each split should get.

    A value below 1 is a share (of `total` for test, of what test leaves for validation), otherwise a number.
    """
    num_test = round(total * test) if test < 1 else int(test)
    rest = total - num_test
    num_validation = round(rest * validation) if validation < 1 else int(validation)
    if rest - num_validation < 1:
        raise ConfigError(
            f"test = {test} and validation = {validation} leave no training image of {total}; lower them."
        )
    return {"train": rest - num_validation, "validation": num_validation, "test": num_test}


def grouped_split(
    groups: Sequence[str], pixels: NDArray[np.int64], sizes: Mapping[Split, int], seed: int
) -> list[Split]:
    """Assign every image to a split; images of one group stay together. See `grouped_parts`."""
    parts = grouped_parts(groups, pixels, [sizes[split] for split in SPLITS], seed)
    return [SPLITS[part] for part in parts]


def folded_split(
    groups: Sequence[str], pixels: NDArray[np.int64], folds: int, fold: int, validation: float | int, seed: int
) -> list[Split]:
    """Splits (N,) of one fold of a cross-validation: the fold is tested, the rest trained on and validated with.

    Every image is tested in exactly one fold, whatever `fold` is asked for, as long as the seed stays.
    """
    if len(set(groups)) < folds:
        raise ConfigError(f"folds = {folds} but there are {len(set(groups))} groups; take at most so many folds.")
    equal = [len(groups) // folds + (index < len(groups) % folds) for index in range(folds)]
    parts = grouped_parts(groups, pixels, equal, seed)
    chosen: list[Split] = ["test" if part == fold else "train" for part in parts]
    return taken_from_train(groups, pixels, chosen, "validation", validation, seed)


def taken_from_train(
    groups: Sequence[str],
    pixels: NDArray[np.int64],
    splits: Sequence[Split],
    wanted: Literal["validation", "test"],
    amount: float | int,
    seed: int,
) -> list[Split]:
    """Move a share (below 1) or a number of the training images, by whole groups, to the split `wanted`."""
    rows = [index for index, split in enumerate(splits) if split == "train"]
    number = round(len(rows) * amount) if amount < 1 else int(amount)
    if number >= len(rows):
        raise ConfigError(f"{wanted} = {amount} leaves no training image of {len(rows)}; lower it.")
    parts = grouped_parts([groups[row] for row in rows], pixels[rows], [len(rows) - number, number], seed)
    result = list(splits)
    for row, part in zip(rows, parts, strict=True):
        if part == 1:
            result[row] = wanted
    return result


def grouped_parts(groups: Sequence[str], pixels: NDArray[np.int64], sizes: Sequence[int], seed: int) -> list[int]:
    """Assign every image to a part; images of one group stay together.

    Iterative stratification (Sechidis, Tsoumakas, Vlahavas 2011) over groups: the rarest class still to be spread
    goes first, to the part that lacks most of it. As groups are lumpy, several orders of the groups are tried, and
    the one whose parts come nearest to their share of images and pixels of each class is taken.

    Args:
        groups: (N,) group of each image.
        pixels: (N, K) pixels of each class in an image.
        sizes: wanted images a part; group sizes can make it miss them.
        seed: breaks ties and orders the groups.

    Returns:
        (N,) the part of each image, as its position in `sizes`.
    """
    names, membership = np.unique(np.asarray(groups), return_inverse=True)
    empty = pixels[:, 1:].sum(axis=1) == 0
    shown = [pixels[:, index] > 0 for index in range(pixels.shape[1])]
    counts = _summed((*shown, empty, np.ones(len(groups))), membership, len(names))  # the last: images
    share = np.array(sizes) / max(sum(sizes), 1)
    rng = np.random.default_rng(seed)
    tie = rng.permutation(len(names))
    best = _assigned(counts, counts, share, tie)
    few = len(names) <= MOST_GROUPS_TO_RETRY
    amounts = np.concatenate([counts, _summed(list(pixels.T), membership, len(names))], axis=1) if few else counts
    for _ in range(ATTEMPTS if few else 0):
        other = _assigned(counts, counts * rng.lognormal(0, 0.5, (len(names), 1)), share, tie)
        best = min(best, other, key=lambda assigned: _unevenness(assigned, amounts, share, counts.shape[1]))
    _fill_empty(best, counts[:, -1], np.array(sizes))
    return [int(best[group]) for group in membership]


def _fill_empty(assigned: NDArray[np.int64], images: NDArray[np.float64], sizes: NDArray[np.int64]) -> None:
    """Give a part that should have images and has none, in place, the smallest group of the part with most groups."""
    for empty in np.flatnonzero((sizes > 0) & (np.bincount(assigned, minlength=len(sizes)) == 0)):
        fullest = int(np.bincount(assigned, minlength=len(sizes)).argmax())
        members = np.flatnonzero(assigned == fullest)
        if len(members) > 1:
            assigned[members[images[members].argmin()]] = empty


def _assigned(
    counts: NDArray[np.float64], order: NDArray[np.float64], share: NDArray[np.float64], tie: NDArray[np.int64]
) -> NDArray[np.int64]:
    """One greedy assignment (G,) of groups with `counts` (G, L) to parts, those first that `order` (G, L) puts so."""
    remaining = counts.sum(axis=0)
    wanted = share[:, None] * remaining  # (parts, labels)
    assigned = np.full(len(counts), -1)
    queues = []  # the groups that hold a label, the next one last
    for label in range(counts.shape[1]):
        holders = np.flatnonzero(counts[:, label])
        queues.append(holders[np.lexsort((tie[holders], -order[holders, label]))][::-1].tolist())
    for _ in range(len(counts)):
        label = int(np.argmin(np.where(remaining > 0, remaining, np.inf)))
        group = queues[label].pop()
        while assigned[group] >= 0:
            group = queues[label].pop()
        need = np.stack([wanted[:, label], wanted[:, -1]])
        need[:, wanted[:, -1] < 0.5] = -np.inf  # a full part takes no more, whatever it lacks of the label
        part = int(np.lexsort((-share, -need[1], -need[0]))[0])
        assigned[group] = part
        wanted[part] -= counts[group]
        remaining -= counts[group]
    return assigned


def _unevenness(
    assigned: NDArray[np.int64], amounts: NDArray[np.float64], share: NDArray[np.float64], num_labels: int
) -> float:
    """How far the parts are from their share of `amounts` (G, A), labels first; a missing label is worst."""
    got = _summed(list(amounts.T), assigned, len(share))
    total = np.maximum(amounts.sum(axis=0), 1e-9)
    missing = (got[:, :num_labels] == 0) & (share[:, None] * total[:num_labels] >= 0.5)
    return float(missing.sum()) + float(np.square(got / total - share[:, None]).sum())


def _summed(columns: Sequence[NDArray[Any]], place: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Sums (count, A) of the values that belong to each place, for A columns (N,); one is worked on at a time."""
    sums = np.empty((count, len(columns)))
    for index, column in enumerate(columns):
        sums[:, index] = np.bincount(place, column, count)
    return sums
