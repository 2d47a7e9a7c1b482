"""Pictures that show the same thing, and the groups that they make."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

CERTAIN_SIMILARITY = 0.9
"""Above it pictures are the same beyond doubt, whatever the others are like."""
LARGEST_GROUP = 30
"""What is merely alike must not chain together: only certain duplicates make a larger group."""


class Match(NamedTuple):
    """Two pictures that show the same thing, by their positions (smaller first), and how alike they are."""

    first: int
    second: int
    similarity: float


@dataclass(frozen=True, eq=False)
class Matches(Sequence[Match]):
    """Matches as columns: frames of a film have millions of them."""

    firsts: NDArray[np.integer]
    seconds: NDArray[np.integer]
    similarities: NDArray[np.floating]

    @staticmethod
    def of(matches: Sequence[Match]) -> "Matches":
        """The same matches as columns."""
        return Matches(
            np.array([match.first for match in matches], np.int32),
            np.array([match.second for match in matches], np.int32),
            np.array([match.similarity for match in matches], np.float32),
        )

    def __len__(self) -> int:
        return len(self.firsts)

    @overload
    def __getitem__(self, index: int) -> Match: ...
    @overload
    def __getitem__(self, index: slice | NDArray[np.integer] | NDArray[np.bool_]) -> "Matches": ...
    def __getitem__(self, index: int | slice | NDArray[np.integer] | NDArray[np.bool_]) -> "Match | Matches":
        """One match, or some by a slice, by their positions or by a mask."""
        if isinstance(index, int):
            return Match(int(self.firsts[index]), int(self.seconds[index]), float(self.similarities[index]))
        return Matches(self.firsts[index], self.seconds[index], self.similarities[index])

    def keys(self, count: int) -> NDArray[np.int64]:
        """A number for each match that no other one among `count` pictures has."""
        return self.firsts.astype(np.int64) * count + self.seconds

    def renumbered(self, places: NDArray[np.integer]) -> "Matches":
        """The same matches, with `places` (N,) of the pictures as their new positions."""
        return Matches(places[self.firsts], places[self.seconds], self.similarities)

    def most_similar_first(self) -> "Matches":
        """In order of similarity; of equals, as they stand."""
        return self[np.argsort(-self.similarities, kind="stable")]


def joined(parts: Sequence[Matches]) -> Matches:
    """All matches of several parts, one part after the other."""
    return Matches(
        np.concatenate([part.firsts for part in parts]),
        np.concatenate([part.seconds for part in parts]),
        np.concatenate([part.similarities for part in parts]),
    )


def joined_groups(groups: Sequence[str], matches: Sequence[Match]) -> list[str]:
    """Join the groups (N,) of pictures that match, the most similar first.

    A join that would make a group of more than `LARGEST_GROUP` pictures is left out, unless it is certain. A
    joined group has the name of its first picture's.
    """
    names = list(dict.fromkeys(groups))
    number = {name: index for index, name in enumerate(names)}
    parent = list(range(len(names)))
    size = [0] * len(names)
    for group in groups:
        size[number[group]] += 1

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for match in matches:
        one, other = sorted((root(number[groups[match.first]]), root(number[groups[match.second]])))
        if one == other or (size[one] + size[other] > LARGEST_GROUP and match.similarity < CERTAIN_SIMILARITY):
            continue
        parent[other] = one
        size[one] += size[other]
    return [names[root(number[group])] for group in groups]
