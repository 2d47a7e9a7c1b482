"""Verify a dataset folder: every pair opened, every rule checked, all problems listed at once."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from isdm.data.dataset import Pair, SegmentationDataset
from isdm.data.instances import load_instance_map
from isdm.errors import DataError
from isdm.progress import track


def check_dataset(dataset: SegmentationDataset) -> int:
    """Open every pair; returns how many there are.

    Raises:
        DataError: listing every pair that breaks a rule and every group that lies in two splits.
    """
    problems = []
    splits_of_group: dict[str, set[str]] = {}
    with_instances: dict[bool, str] = {}
    count = 0
    for split in dataset.splits:
        pairs = dataset.pairs(split)
        with_instances.update({bool(pair.instances): split for pair in pairs})
        for pair in track(pairs, f"Checking {split}", total=len(pairs), unit="pairs"):
            count += 1
            splits_of_group.setdefault(pair.group, set()).add(split)
            try:
                dataset.load(pair)
                if pair.instances is not None:
                    load_instance_map(dataset, pair)
            except DataError as error:
                problems.append(str(error))
    problems += [
        f"group {group!r} lies in {' and '.join(sorted(splits))}: import again with --group-by"
        for group, splits in splits_of_group.items()
        if len(splits) > 1
    ]
    if len(with_instances) > 1:
        problems.append(f"{with_instances[False]} has no instance maps but {with_instances[True]} has: import again")
    if problems:
        raise DataError(f"{len(problems)} problem(s) in {dataset.folder}:\n" + "\n".join(f"  {p}" for p in problems))
    return count


def count_classes(dataset: SegmentationDataset, pairs: Iterable[Pair]) -> NDArray[np.int64]:
    """Pixels (K,) of each class over the masks of pairs."""
    total = np.zeros(256, np.int64)
    for pair in pairs:
        total += np.bincount(dataset.load(pair)[1].ravel(), minlength=256)
    return total[: dataset.info.num_classes]
