"""What is too large for memory: arrays, rows and records in files, and sequences that are made when asked for."""

import errno
import json
import os
import sqlite3
import tempfile
import weakref
from array import array
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Any, Generic, TypeVar, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from isdm.errors import DataError
from isdm.memory import GIB

Item = TypeVar("Item")
Value = TypeVar("Value", bound=Hashable)

_BYTES_AT_ONCE = 2**18


class RowsOnDisk:
    """Rows (N, ...) of one form in a file, read and written piece by piece from any thread.

    A mapped array would count as this process's memory as far as it was ever touched; this never does.

    Args:
        count: number of rows; those that were never written are zero.
        row_shape: form of a row.
        dtype: type of its values.
        path: a file that stays, with the rows that it has; without one, a temporary file.
    """

    def __init__(self, count: int, row_shape: tuple[int, ...], dtype: DTypeLike, path: Path | None = None) -> None:
        self.shape = (count, *row_shape)
        self.dtype = np.dtype(dtype)
        self._row_bytes = int(np.prod(row_shape, dtype=np.int64)) * self.dtype.itemsize
        if path is not None:
            path.touch()
        with tempfile.TemporaryFile() if path is None else path.open("r+b") as file:
            _reserve(file, count * self._row_bytes)
            self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.integer]) -> NDArray[Any]:
        """A copy of some rows, by a slice without steps or by their numbers."""
        if isinstance(rows, slice):
            start, end, step = rows.indices(len(self))
            assert step == 1, "rows lie one behind the other"
            found = np.empty((max(end - start, 0), *self.shape[1:]), self.dtype)
            self._read_into(found, start)
            return found
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for place, row in enumerate(rows.tolist()):
            self._read_into(found[place], row)
        return found

    def write(self, start: int, rows: NDArray[Any]) -> None:
        """Put `rows` (M, ...) in the place of those from `start` on."""
        assert rows.shape[1:] == self.shape[1:], f"rows of {rows.shape[1:]} among rows of {self.shape[1:]}"
        assert 0 <= start <= len(self) - len(rows), f"rows {start} to {start + len(rows)} of {len(self)}"
        left = np.ascontiguousarray(rows, self.dtype).reshape(-1).view(np.uint8).data
        at = start * self._row_bytes
        while left:
            written = os.pwrite(self._descriptor, left, at)
            left, at = left[written:], at + written

    def flush(self) -> None:
        """Make what was written durable."""
        os.fsync(self._descriptor)

    def _read_into(self, found: NDArray[Any], start: int) -> None:
        left = found.reshape(-1).view(np.uint8).data
        at = start * self._row_bytes
        while left:
            count = os.preadv(self._descriptor, [left], at)
            assert count, f"row {at // self._row_bytes} of {len(self)} is beyond the file's end"
            left, at = left[count:], at + count


class RecordsOnDisk:
    """Values of JSON in a temporary file, in the order in which they came; once all came, any thread may read them.

    Raises:
        DataError: the folder for temporary files has too little space; so does `append`.
    """

    def __init__(self, records: Iterable[Any] = ()) -> None:
        self._ends = array("q", [0])
        self._waiting = bytearray()
        self._num_written = 0
        with tempfile.TemporaryFile() as file:
            self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        for record in records:
            self.append(record)
        self._write()

    def append(self, record: Any) -> int:
        """Add a value; gives its position."""
        text = json.dumps(record).encode()
        self._ends.append(self._ends[-1] + len(text))
        self._waiting += text
        if len(self._waiting) >= _BYTES_AT_ONCE:
            self._write()
        return len(self) - 1

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> Any:
        """The record at a position; lists and tuples come back as lists."""
        place = range(len(self))[index]
        start, end = self._ends[place], self._ends[place + 1]
        if end > self._num_written:
            self._write()
        return json.loads(os.pread(self._descriptor, end - start, start))

    def _write(self) -> None:
        left = memoryview(bytes(self._waiting))
        self._waiting.clear()
        while left:
            try:
                written = os.pwrite(self._descriptor, left, self._num_written)
            except OSError as error:
                raise _no_space(self._num_written + len(left), str(error.strerror)) from None
            left, self._num_written = left[written:], self._num_written + written


def distinct_sorted(values: Iterable[bytes]) -> Iterator[bytes]:
    """Each different value once, in ascending order, through a temporary file.

    Raises:
        DataError: the folder for temporary files has too little space.
    """
    with closing(sqlite3.connect("")) as database:  # without a name it lies in a file that vanishes with it
        database.execute("CREATE TABLE found (value BLOB PRIMARY KEY) WITHOUT ROWID")
        try:
            database.executemany("INSERT OR IGNORE INTO found VALUES (?)", ((value,) for value in values))
        except sqlite3.OperationalError as error:
            place = tempfile.gettempdir()
            raise DataError(f"{error} in {place}; set TMPDIR to a folder with more space.") from None
        yield from (value for (value,) in database.execute("SELECT value FROM found ORDER BY value"))


class LazySequence(Sequence[Item], Generic[Item]):
    """`count` items, each made by `make(position)` whenever it is asked for."""

    def __init__(self, count: int, make: Callable[[int], Item]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        """One item by its position, or some by a slice."""
        places = range(self._count)[index]
        return [self._make(place) for place in places] if isinstance(places, range) else self._make(places)


def repeated(values: Callable[[], Iterable[Value]]) -> dict[Value, int]:
    """The values that occur more than once, and how often; of the others, only the hashes are in memory.

    Args:
        values: gives all of them, the same each time; it is called twice.
    """
    hashes = np.sort(np.fromiter(map(hash, values()), np.int64))
    suspects = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
    times = Counter(value for value in values() if hash(value) in suspects)
    return {value: number for value, number in times.items() if number > 1}


def array_on_disk(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array to be filled, in a temporary file that vanishes with it, however the process ends.

    Raises:
        DataError: the folder for temporary files has too little space.
    """
    num_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    with tempfile.TemporaryFile() as file:
        _reserve(file, num_bytes)
        return np.memmap(file, dtype, "r+", shape=shape)


def _reserve(file: IO[bytes], num_bytes: int) -> None:
    """Make a file at least so long; a full disk is found here, not while filling it."""
    more = num_bytes - os.fstat(file.fileno()).st_size
    if more <= 0:
        return
    disk = os.fstatvfs(file.fileno())
    if more > disk.f_bavail * disk.f_frsize:  # asked first: to try would fill the disk before it fails
        raise _no_space(num_bytes, os.strerror(errno.ENOSPC), _folder_of(file))
    try:
        os.posix_fallocate(file.fileno(), 0, num_bytes)
    except OSError as error:
        raise _no_space(num_bytes, str(error.strerror), _folder_of(file)) from None


def _folder_of(file: IO[bytes]) -> Path | None:
    return Path(file.name).parent if isinstance(file.name, str) else None  # a temporary file has a number


def _no_space(num_bytes: int, why: str, folder: Path | None = None) -> DataError:
    place = folder or tempfile.gettempdir()
    remedy = "make room there" if folder else "set TMPDIR to a folder with more space"
    size = f"{num_bytes / GIB:.1f} GiB" if num_bytes >= GIB else f"{num_bytes / 2**20:.1f} MiB"
    return DataError(f"{size} do not fit into {place} ({why}); {remedy}.")
