"""Verify a dataset folder: every pair opened, every rule checked, leaks between splits found, all listed at once."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from isdm.data.dataset import Pair, SegmentationDataset, Split
from isdm.data.image_files import DIGEST_CHARACTERS, picture_digest
from isdm.data.instances import load_instance_map
from isdm.data.near_duplicates import find_same
from isdm.data.similarity import SIDE_PX, thumbnail
from isdm.errors import DataError
from isdm.on_disk import LazySequence, RowsOnDisk
from isdm.parallel import in_threads
from isdm.progress import say, track

CLEAR_DEVIATIONS = 12.0
"""A finished dataset may hold small pictures, which are more alike than their sources: only clear leaks are told."""


def check_dataset(dataset: SegmentationDataset) -> int:
    """Open every pair; returns how many there are.

    Leaks (a group, or pictures of the same thing, in two splits) are problems, but only said aloud where the
    dataset was split by image on purpose.

    Raises:
        DataError: listing every pair that breaks a rule, and every leak.
    """
    rows = _rows(dataset)
    thumbnails = RowsOnDisk(len(rows), (SIDE_PX, SIDE_PX), np.uint8)
    problems: list[str] = []
    digests = np.zeros(len(rows), f"S{DIGEST_CHARACTERS}")

    def opened(index: int) -> tuple[str, str]:
        return _open(dataset, rows[index][1], thumbnails, index)

    looked_at = track(in_threads(opened, range(len(rows))), "Checking pairs", total=len(rows), unit="pairs")
    for index, (digest, problem) in enumerate(looked_at):
        digests[index] = digest.encode("ascii")
        if problem:
            problems.append(problem)
    with_instances = {bool(pair.instances): split for split, pair in rows}
    if len(with_instances) > 1:
        problems.append(f"{with_instances[False]} has no instance maps but {with_instances[True]} has: import again")
    leaks = [*_parted_groups(rows), *_same_pictures(rows, thumbnails, digests)]
    if dataset.info.split.get("by") == "image":
        for leak in leaks:
            say(f"Split by image, as asked: {leak}.")
    else:
        problems += leaks
    if problems:
        raise DataError(f"{len(problems)} problem(s) in {dataset.folder}:\n" + "\n".join(f"  {p}" for p in problems))
    return len(rows)


def _rows(dataset: SegmentationDataset) -> Sequence[tuple[Split, Pair]]:
    """The pairs of all splits, one split after the other, with their splits."""
    of_split = [(split, dataset.pairs(split)) for split in dataset.splits]
    starts = np.cumsum([0, *(len(pairs) for _, pairs in of_split)])

    def row(index: int) -> tuple[Split, Pair]:
        place = int(np.searchsorted(starts, index, side="right")) - 1
        split, pairs = of_split[place]
        return split, pairs[index - int(starts[place])]

    return LazySequence(int(starts[-1]), row)


def _open(dataset: SegmentationDataset, pair: Pair, thumbnails: RowsOnDisk, index: int) -> tuple[str, str]:
    """Hash of a pair's picture, or the problem with the pair."""
    try:
        image, _ = dataset.load(pair)
        if pair.instances is not None:
            load_instance_map(dataset, pair)
    except DataError as error:
        return "", str(error)
    thumbnails.write(index, thumbnail(image)[None])
    return picture_digest(image), ""


def _parted_groups(rows: Sequence[tuple[Split, Pair]]) -> list[str]:
    splits_of_group: dict[str, set[str]] = {}
    for split, pair in rows:
        splits_of_group.setdefault(pair.group, set()).add(split)
    return [
        f"group {group!r} lies in {' and '.join(sorted(splits))}: import again with --group-by"
        for group, splits in splits_of_group.items()
        if len(splits) > 1
    ]


def _same_pictures(
    rows: Sequence[tuple[Split, Pair]], thumbnails: RowsOnDisk, digests: NDArray[np.bytes_]
) -> list[str]:
    """A line for each pair of pictures that show the same thing in two splits and are of different groups."""
    matches = find_same(thumbnails, digests, CLEAR_DEVIATIONS)
    splits = _numbered(split for split, _ in rows)
    groups = _numbered(pair.group for _, pair in rows)
    one, other = matches.firsts, matches.seconds
    lines = []
    for match in matches[(splits[one] != splits[other]) & (groups[one] != groups[other])]:
        (split, pair), (other_split, other_pair) = rows[match.first], rows[match.second]
        kind = "the same picture as" if digests[match.first] == digests[match.second] else "nearly the same as"
        lines.append(
            f"{split}/{pair.image.name} shows {kind} {other_split}/{other_pair.image.name} (similarity "
            f"{match.similarity:.2f}): import again with --near-duplicates, or name the groups with --groups"
        )
    return lines


def _numbered(names: Iterable[str]) -> NDArray[np.int64]:
    """A number (N,) for each name, the same for equal ones."""
    number_of: dict[str, int] = {}
    return np.fromiter((number_of.setdefault(name, len(number_of)) for name in names), np.int64)
