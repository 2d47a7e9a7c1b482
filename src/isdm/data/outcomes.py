"""What an import makes of its source pairs, as columns: there may be hundreds of thousands."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isdm.data.image_files import DIGEST_CHARACTERS


@dataclass(frozen=True, slots=True)
class Output:
    """A finished pair in the pool: what tells it from others of the same source pair, and its pixels a class.

    Pixels are those of the source's mask, before it was fitted.
    """

    suffix: str
    pixels: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What became of a source pair: its outputs, or a problem."""

    index: int
    outputs: tuple[Output, ...] = ()
    digest: str = ""
    """Hash of the decoded picture, the same for exact duplicates; "" where nobody looks for them."""
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Outputs:
    """Finished pairs, M of them, in the order of their source pairs."""

    indices: NDArray[np.int64]
    """(M,) the source pair of each."""
    suffixes: Sequence[str]
    pixels: NDArray[np.int64]
    """(M, K) of each class."""

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, rows: NDArray[np.integer]) -> "Outputs":
        """Some of them, by their positions (R,)."""
        return Outputs(self.indices[rows], [self.suffixes[row] for row in rows.tolist()], self.pixels[rows])


class Outcomes:
    """What became of `num_pairs` source pairs; `add` each, in any order.

    Args:
        num_pairs: source pairs in all.
        num_classes: classes of the dataset to be.
    """

    def __init__(self, num_pairs: int, num_classes: int) -> None:
        self.is_done = np.zeros(num_pairs, bool)
        """(N,) pairs that were added, also those with a problem."""
        self.digests: NDArray[np.bytes_] = np.zeros(num_pairs, f"S{DIGEST_CHARACTERS}")
        """(N,) see `Prepared.digest`."""
        self._num_classes = num_classes
        self._problems: dict[int, str] = {}
        self._indices, self._pixels = array("q"), array("q")
        self._suffixes: list[str] = []
        self._known_suffixes: dict[str, str] = {}

    def add(self, record: Prepared) -> None:
        """Take note of what became of a pair."""
        self.is_done[record.index] = True
        self.digests[record.index] = record.digest.encode("ascii")
        if record.problem:
            self._problems[record.index] = record.problem
        for output in record.outputs:
            assert len(output.pixels) == self._num_classes, f"{len(output.pixels)} classes of {self._num_classes}"
            self._indices.append(record.index)
            self._pixels.extend(output.pixels)
            self._suffixes.append(self._known_suffixes.setdefault(output.suffix, output.suffix))

    @property
    def problems(self) -> list[str]:
        """What is wrong, in the order of the source pairs."""
        return [problem for _, problem in sorted(self._problems.items())]

    @property
    def is_good(self) -> NDArray[np.bool_]:
        """(N,) pairs without a problem."""
        good = self.is_done.copy()
        good[[*self._problems]] = False
        return good

    def outputs(self, is_wanted: NDArray[np.bool_]) -> Outputs:
        """The outputs of those source pairs (N,) that are wanted."""
        indices = _as_numbers(self._indices)
        rows = np.argsort(indices, kind="stable")  # an interrupted run's pairs were added first
        pixels = _as_numbers(self._pixels).reshape(len(indices), self._num_classes)
        return Outputs(indices, self._suffixes, pixels).take(rows[is_wanted[indices[rows]]])


def _as_numbers(column: "array[Any]") -> NDArray[np.int64]:
    return np.frombuffer(column, np.int64) if len(column) else np.zeros(0, np.int64)
