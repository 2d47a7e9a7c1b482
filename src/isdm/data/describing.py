"""What a dataset holds, gathered in one pass over its masks: the numbers behind `isdm data describe`.

Masks are decoded one at a time. What is kept of a pair is which classes it shows (a bit each) and its group; what
is kept of the objects is how often each area occurs. So memory hardly grows with the number of pairs. Images are
not decoded here, but for those that a contact sheet shows later; `isdm data check` opens them all.
"""

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from isdm.data.dataset import DatasetInfo, Pair, SegmentationClass, SegmentationDataset, Split
from isdm.data.image_files import MaskArray
from isdm.data.regions import connected_regions
from isdm.errors import DataError
from isdm.progress import track

KEPT_PERCENT = 5
"""Classes above this share of all foreground pixels are kept, as the paper chose its own."""
NUM_SHOWN_PAIRS = 24
"""Pairs on a contact sheet; more only where fewer cannot show every class."""


@dataclass(frozen=True)
class SplitStatistics:
    """What one split holds."""

    num_pairs: int
    group_sizes: Mapping[int, int]
    """Size of a group in this split: how many groups have it."""
    class_px: NDArray[np.int64]
    """(K,) pixels of each class."""
    class_pairs: NDArray[np.int64]
    """(K,) pairs that show each class."""
    ignored_px: int
    num_without_foreground: int

    @property
    def num_groups(self) -> int:
        """Groups of this split."""
        return sum(self.group_sizes.values())

    @property
    def largest_group(self) -> int:
        """Pairs of the largest group of this split."""
        return max(self.group_sizes, default=0)


@dataclass(frozen=True)
class ObjectSizes:
    """Areas of a class's objects: pixels of the class that touch by a side or a corner are one object."""

    areas_px: NDArray[np.int64]
    """(M,) the areas that occur, ascending."""
    counts: NDArray[np.int64]
    """(M,) how many objects have each."""

    @property
    def count(self) -> int:
        """Number of objects."""
        return int(self.counts.sum())

    def quantile(self, share: float) -> float | None:
        """Area that a share of the objects does not exceed, between two by a straight line; None without objects."""
        if not self.count:
            return None
        place = share * (self.count - 1)
        ends = np.cumsum(self.counts)
        below, above = (
            int(self.areas_px[np.searchsorted(ends, index, side="right")])
            for index in (int(np.floor(place)), int(np.ceil(place)))
        )
        return below + (above - below) * (place % 1)


def equivalent_diameter_px(area_px: float) -> float:
    """Diameter of the circle that has this area."""
    return float(2 * np.sqrt(area_px / np.pi))


@dataclass(frozen=True)
class Statistics:
    """What a whole dataset holds; all classes are foreground but the background, where there is one."""

    info: DatasetInfo
    splits: Mapping[Split, SplitStatistics]
    objects: tuple[ObjectSizes, ...]
    """One for each foreground class, in the order of their ids."""
    image_sizes: Mapping[tuple[int, int], int]
    """Width and height: how many pairs have them, the most frequent first."""
    num_groups: int
    largest_group: str
    largest_group_size: int
    num_parted_groups: int
    """Groups that lie in more than one split."""
    shown: tuple[tuple[Split, Pair], ...]
    """Pairs for a contact sheet: together they show every class that occurs, and a pair without foreground."""

    @property
    def num_pairs(self) -> int:
        """Pairs of all splits."""
        return sum(split.num_pairs for split in self.splits.values())

    @property
    def num_without_foreground(self) -> int:
        """Pairs whose masks hold no foreground."""
        return sum(split.num_without_foreground for split in self.splits.values())

    @property
    def ignored_px(self) -> int:
        """Pixels without a class."""
        return sum(split.ignored_px for split in self.splits.values())

    @property
    def class_px(self) -> NDArray[np.int64]:
        """(K,) pixels of each class in all splits."""
        return sum((split.class_px for split in self.splits.values()), np.zeros(self.info.num_classes, np.int64))

    @property
    def class_pairs(self) -> NDArray[np.int64]:
        """(K,) pairs of all splits that show each class."""
        return sum((split.class_pairs for split in self.splits.values()), np.zeros(self.info.num_classes, np.int64))

    @property
    def foreground(self) -> tuple[SegmentationClass, ...]:
        """All classes but the background."""
        return self.info.classes[self.info.first_foreground :]

    @property
    def foreground_px(self) -> int:
        """Pixels of all foreground classes in all splits."""
        return int(self.class_px[self.info.first_foreground :].sum())

    def objects_of(self, entry: SegmentationClass) -> ObjectSizes | None:
        """Sizes of a class's objects; None for the background."""
        place = entry.id - self.info.first_foreground
        return self.objects[place] if place >= 0 else None

    @property
    def frequent(self) -> tuple[SegmentationClass, ...]:
        """The foreground classes above `KEPT_PERCENT` of the foreground pixels of all splits."""
        pixels = [int(count) for count in self.class_px]
        total = self.foreground_px
        return tuple(entry for entry in self.foreground if 100 * pixels[entry.id] > KEPT_PERCENT * total)


def gather(dataset: SegmentationDataset) -> Statistics:
    """Read every mask of a dataset once and count.

    Raises:
        DataError: a mask cannot be read or holds an undeclared class, or there are no pairs.
    """
    splits: dict[Split, SplitStatistics] = {}
    first = dataset.info.first_foreground
    areas: list[Counter[int]] = [Counter() for _ in dataset.info.classes[first:]]
    sizes: Counter[tuple[int, int]] = Counter()
    number_of: dict[str, int] = {}  # of each group
    groups = array("l")
    presence = bytearray()
    in_splits: list[NDArray[np.int64]] = []  # members (G,) of each group
    for split in dataset.splits:
        tally = _Tally(dataset.info)
        pairs = dataset.pairs(split)
        start = len(groups)
        for pair in track(pairs, f"Counting {split}", total=len(pairs), unit="pairs"):
            mask = dataset.load_mask(pair)
            presence += np.packbits(tally.add(mask)).tobytes()
            _add_objects(areas, mask, first)
            sizes[mask.shape[1], mask.shape[0]] += 1
            groups.append(number_of.setdefault(pair.group, len(number_of)))
        in_splits.append(np.bincount(groups[start:]))
        splits[split] = tally.result(Counter(in_splits[-1][in_splits[-1] > 0].tolist()))
    if not groups:
        raise DataError(f"{dataset.folder} holds no pairs; import it again, or select fewer out.")
    group_numbers = np.array(groups)
    members = np.bincount(group_numbers)
    num_splits = sum(np.bincount(np.flatnonzero(of_split), minlength=len(number_of)) for of_split in in_splits)
    shows = np.unpackbits(
        np.frombuffer(presence, np.uint8).reshape(len(groups), -1), axis=1, count=dataset.info.num_classes
    )
    return Statistics(
        info=dataset.info,
        splits=splits,
        objects=tuple(_object_sizes(of_class) for of_class in areas),
        image_sizes=dict(sizes.most_common()),
        num_groups=len(number_of),
        largest_group=next(islice(number_of, int(members.argmax()), None)),
        largest_group_size=int(members.max()),
        num_parted_groups=int(np.sum(num_splits > 1)),
        shown=_numbered_pairs(dataset, choose_shown(shows[:, first:].astype(bool), group_numbers)),
    )


class _Tally:
    """Counts of one split while it is read."""

    def __init__(self, info: DatasetInfo) -> None:
        self._info = info
        self._px = np.zeros(256, np.int64)
        self._pairs = np.zeros(info.num_classes, np.int64)
        self._num_pairs = self._without_foreground = 0

    def add(self, mask: MaskArray) -> NDArray[np.bool_]:
        """Count a mask (H, W); gives (K,) which classes it shows."""
        pixels = np.bincount(mask.ravel(), minlength=256)
        shown = pixels[: self._info.num_classes] > 0
        self._px += pixels
        self._pairs += shown
        self._num_pairs += 1
        self._without_foreground += not shown[self._info.first_foreground :].any()
        return shown

    def result(self, group_sizes: Mapping[int, int]) -> SplitStatistics:
        """The sums."""
        return SplitStatistics(
            num_pairs=self._num_pairs,
            group_sizes=dict(sorted(group_sizes.items())),
            class_px=self._px[: self._info.num_classes],
            class_pairs=self._pairs,
            ignored_px=int(self._px[self._info.ignore_index]),
            num_without_foreground=self._without_foreground,
        )


def _add_objects(areas: list[Counter[int]], mask: MaskArray, first: int) -> None:
    """Count the areas of a mask's objects (H, W) of the classes from `first`, each within its bounding box alone."""
    from_one = mask.astype(np.int16) + (1 - first)
    for index, box in enumerate(ndimage.find_objects(from_one, max_label=len(areas))):
        if box is not None:
            numbered, _ = connected_regions(mask[box] == index + first)
            areas[index].update(np.bincount(numbered.ravel())[1:].tolist())


def _object_sizes(areas: Mapping[int, int]) -> ObjectSizes:
    ascending = sorted(areas)
    return ObjectSizes(np.array(ascending, np.int64), np.array([areas[area] for area in ascending], np.int64))


def choose_shown(presence: NDArray[np.bool_], groups: NDArray[np.int64], most: int = NUM_SHOWN_PAIRS) -> list[int]:
    """Choose pairs that show every class that occurs, then as many of each as fit.

    The rarest class that is not shown yet goes first, to the pair that shows most of the missing ones; a group
    that is on the sheet already comes last. Ties are broken by a fixed shuffling, so that neighbours in the
    folder are not preferred. One pair without foreground is shown where there is any.

    Args:
        presence: (N, K) which foreground classes each pair shows.
        groups: (N,) number of each pair's group.
        most: pairs wanted; exceeded where they cannot show all classes.

    Returns:
        Indices, ordered by the class that each was chosen for; without foreground last.
    """
    wanted = np.concatenate([presence, ~presence.any(axis=1, keepdims=True)], axis=1)
    frequency = wanted.sum(axis=0)
    num_shown = np.zeros(wanted.shape[1], np.int64)
    rank = np.random.default_rng(0).permutation(len(wanted))
    free = np.ones(len(wanted), bool)
    fresh = np.ones(len(wanted), bool)  # no pair of the same group is shown
    chosen: list[tuple[int, int]] = []
    while free.any():
        missing = (num_shown == 0) & (frequency > 0)
        if not missing.any() and len(chosen) >= most:
            break
        # A class can run out of pairs; pairs without foreground fill the sheet only when nothing else does.
        left = wanted[free].any(axis=0)
        last = np.arange(wanted.shape[1]) == wanted.shape[1] - 1
        label = int(np.lexsort((frequency, num_shown, last & ~missing, ~left))[0])
        candidates = np.flatnonzero(wanted[:, label] & free)
        gain = wanted[np.ix_(candidates, missing)].sum(axis=1)
        best = int(candidates[np.lexsort((rank[candidates], ~fresh[candidates], -gain))[0]])
        chosen.append((label, best))
        num_shown += wanted[best]
        free[best] = False
        fresh &= groups != groups[best]
    return [index for _, index in sorted(chosen)]


def _numbered_pairs(dataset: SegmentationDataset, numbers: list[int]) -> tuple[tuple[Split, Pair], ...]:
    """The pairs with these numbers, counted through all splits; lists are read anew rather than kept."""
    found: dict[int, tuple[Split, Pair]] = {}
    start = 0
    for split in dataset.splits:
        pairs = dataset.pairs(split)
        found |= {n: (split, pairs[n - start]) for n in numbers if start <= n < start + len(pairs)}
        start += len(pairs)
    return tuple(found[number] for number in numbers)


def as_json(statistics: Statistics) -> dict[str, Any]:
    """The statistics as plain values, for `statistics.json`; `areas_px` counts the objects of each area."""
    total, pairs = statistics.class_px, statistics.class_pairs
    frequent = {entry.id for entry in statistics.frequent}
    return {
        "name": _encodable(statistics.info.name),
        "num_pairs": statistics.num_pairs,
        "num_without_foreground": statistics.num_without_foreground,
        "ignored_px": statistics.ignored_px,
        "image_sizes": [
            {"width": width, "height": height, "num_pairs": count}
            for (width, height), count in statistics.image_sizes.items()
        ],
        "groups": {
            "num_groups": statistics.num_groups,
            "largest": _encodable(statistics.largest_group),
            "largest_size": statistics.largest_group_size,
            "num_in_several_splits": statistics.num_parted_groups,
        },
        "splits": {name: _split_json(split) for name, split in statistics.splits.items()},
        "classes": [
            {
                "id": entry.id,
                "name": _encodable(entry.name),
                "px": int(total[entry.id]),
                "num_pairs": int(pairs[entry.id]),
                **_objects_json(statistics.objects_of(entry), is_frequent=entry.id in frequent),
            }
            for entry in statistics.info.classes
        ],
    }


def _split_json(split: SplitStatistics) -> dict[str, Any]:
    return {
        "num_pairs": split.num_pairs,
        "num_groups": split.num_groups,
        "largest_group": split.largest_group,
        "group_sizes": {str(size): count for size, count in split.group_sizes.items()},
        "num_without_foreground": split.num_without_foreground,
        "ignored_px": split.ignored_px,
        "class_px": split.class_px.tolist(),
        "class_pairs": split.class_pairs.tolist(),
    }


def _objects_json(objects: ObjectSizes | None, *, is_frequent: bool) -> dict[str, Any]:
    if objects is None:
        return {}
    return {
        f"above_{KEPT_PERCENT}_percent": is_frequent,
        "num_objects": objects.count,
        "median_area_px": objects.quantile(0.5),
        "areas_px": dict(zip(map(str, objects.areas_px.tolist()), objects.counts.tolist(), strict=True)),
    }


def _encodable(text: str) -> str:
    """Halves of characters, which JSON can name but UTF-8 cannot hold, become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
