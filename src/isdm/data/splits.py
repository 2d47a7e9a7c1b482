"""Splits that keep groups together and give every split its share of every class."""

from collections.abc import Mapping, Sequence

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
    groups: Sequence[str], presence: NDArray[np.bool_], sizes: Mapping[Split, int], seed: int
) -> list[Split]:
    """Assign every image to a split; images of one group stay together.

    Iterative stratification (Sechidis, Tsoumakas, Vlahavas 2011) over groups: the rarest class still to be
    spread goes first, to the split that lacks most of it.

    Args:
        groups: (N,) group of each image.
        presence: (N, K) which classes an image shows.
        sizes: wanted images a split; group sizes can make it miss them.
        seed: breaks ties and orders equal groups.

    Returns:
        (N,) the split of each image.
    """
    names, membership = np.unique(np.asarray(groups), return_inverse=True)
    labels = np.concatenate([presence, np.ones((len(groups), 1), bool)], axis=1).astype(np.float64)
    counts = np.zeros((len(names), labels.shape[1]))
    np.add.at(counts, membership, labels)  # (groups, K + 1); the last column counts images
    share = np.array([sizes[split] for split in SPLITS]) / max(sum(sizes.values()), 1)
    wanted = share[:, None] * counts.sum(axis=0)  # (splits, K + 1)
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
        need[:, wanted[:, -1] < 0.5] = -np.inf  # a full split takes no more, whatever it lacks of the label
        split = int(np.lexsort((-share, -need[1], -need[0]))[0])
        assigned[group] = split
        wanted[split] -= counts[group]
    return [SPLITS[assigned[group]] for group in membership]
