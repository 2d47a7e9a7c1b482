"""Splits that keep groups together and give every split its share of every class."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isdm.data.dataset import SPLITS, Split
from isdm.errors import ConfigError


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

    Iterative stratification (Sechidis, Tsoumakas, Vlahavas 2011) over groups, of the images that show a class
    and of the class's pixels: the rarest label still to be spread goes first, to the part that lacks most of it.

    Args:
        groups: (N,) group of each image.
        pixels: (N, K) pixels of each class in an image.
        sizes: wanted images a part; group sizes can make it miss them.
        seed: breaks ties and orders equal groups.

    Returns:
        (N,) the part of each image, as its position in `sizes`.
    """
    names, membership = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.zeros((len(names), 2 * pixels.shape[1] + 1))
    np.add.at(counts, membership, _labels(pixels))  # (groups, labels); the last column counts images
    share = np.array(sizes) / max(sum(sizes), 1)
    wanted = share[:, None] * counts.sum(axis=0)  # (parts, labels)
    rng = np.random.default_rng(seed)
    tie = rng.permutation(len(names))
    assigned = np.full(len(names), -1)
    while (assigned < 0).any():
        open_groups = np.flatnonzero(assigned < 0)
        remaining = counts[open_groups].sum(axis=0)
        label = int(np.argmin(np.where(remaining > 0, remaining, np.inf)))
        holders = open_groups[counts[open_groups, label] > 0]
        group = holders[np.lexsort((tie[holders], -counts[holders, label]))[0]]
        need = np.stack([wanted[:, label], wanted[:, -1]])
        need[:, wanted[:, -1] < 0.5] = -np.inf  # a full part takes no more, whatever it lacks of the label
        part = int(np.lexsort((-share, -need[1], -need[0]))[0])
        assigned[group] = part
        wanted[part] -= counts[group]
    return [int(assigned[group]) for group in membership]


def _labels(pixels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Labels (N, 2K + 1): which classes an image shows, its pixels of each in images' worth, and 1 for itself."""
    shown = (pixels > 0).astype(np.float64)
    total = pixels.sum(axis=0)
    worth = pixels * (shown.sum(axis=0) / np.maximum(total, 1))
    return np.concatenate([shown, worth, np.ones((len(pixels), 1))], axis=1)
