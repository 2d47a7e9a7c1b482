"""The lines of finished samples while a synthetic dataset is made: `metadata.parts/*.jsonl`, merged at the end.

Each process appends to a file of its own, after the files of a pair are written. A kill can leave a cut last
line and, in a run of several processes, a sample that two of them painted: the first whole line counts, and both
wrote the same files. Memory holds a few numbers for each sample, never the lines.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from isdm.errors import DataError

Indices = NDArray[np.int64]


class Parts:
    """The folder of the lines of finished samples."""

    def __init__(self, split_folder: Path) -> None:
        self.folder = split_folder / "metadata.parts"
        self.folder.mkdir(parents=True, exist_ok=True)

    def own(self, name: str) -> Path:
        """The file that the process `name` appends to."""
        return self.folder / f"{name}.jsonl"

    def finished(self) -> Indices:
        """Numbers of the finished samples, ascending."""
        return self._places()[0]

    def lines(self) -> Iterator[dict[str, Any]]:
        """The lines in the order of their samples, each once."""
        _, files, offsets = self._places()
        opened = [path.open("rb") for path in self._files()]
        try:
            for file, offset in zip(files, offsets, strict=True):
                opened[file].seek(offset)
                yield dict(json.loads(opened[file].readline()))
        finally:
            for stream in opened:
                stream.close()

    def remove(self) -> None:
        """Remove the folder, once `metadata.jsonl` is written."""
        for path in self._files():
            path.unlink()
        self.folder.rmdir()

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.jsonl"))

    def _places(self) -> tuple[Indices, Indices, Indices]:
        """Sample numbers, ascending, each with its file and the place of its line there."""
        found: list[tuple[int, int, int]] = []
        for number, path in enumerate(self._files()):
            with path.open("rb") as file:
                found += [(index, number, offset) for index, offset in _whole_lines(file, path)]
        table = np.array(found, np.int64).reshape(-1, 3)
        indices, first = np.unique(table[:, 0], return_index=True)
        return indices, table[first, 1], table[first, 2]


def _whole_lines(file: BinaryIO, path: Path) -> Iterator[tuple[int, int]]:
    """Sample number and place of each line that is not cut."""
    offset = 0
    for number, line in enumerate(file, start=1):
        if line.endswith(b"\n"):
            try:
                yield int(json.loads(line)["sample_index"]), offset
            except (ValueError, KeyError, TypeError, RecursionError):
                raise DataError(f"{path}, line {number} is not what `isdm sample` writes; remove it.") from None
        offset += len(line)
