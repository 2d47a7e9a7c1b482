"""Memory of this machine: how much is free, and arrays and rows on disk for what does not fit. No torch needed."""

import errno
import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from isdm.errors import DataError

GIB = 2**30


def free_host_bytes(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Memory that this process can still take: what the system has, or a control group of it where that is less.

    A system that does not tell (no `/proc/meminfo`) counts as half free.
    """
    return max(0, min([_available(proc), *_left_in_control_groups(proc, cgroups)]))


def _available(proc: Path) -> int:
    if not (proc / "meminfo").is_file():
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    lines = (line.split() for line in (proc / "meminfo").read_text().splitlines())
    return next(int(line[1]) * 1024 for line in lines if line[0] == "MemAvailable:")


def _left_in_control_groups(proc: Path, cgroups: Path) -> Iterator[int]:
    """What each memory limit above this process leaves; pages that only cache files count as free."""
    if not (proc / "self" / "cgroup").is_file():
        return
    for line in (proc / "self" / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2: one tree for everything
            root, limit, usage, cache = cgroups, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, limit = cgroups / "memory", "memory.limit_in_bytes"
            usage, cache = "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        own = root / path.lstrip("/")
        for group in (own, *own.parents):
            if (group / limit).is_file() and (group / limit).read_text().strip() != "max":
                stat = dict(entry.split() for entry in (group / "memory.stat").read_text().splitlines())
                used = int((group / usage).read_text()) - int(stat.get(cache, 0))
                yield int((group / limit).read_text()) - used
            if group == root:
                break


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
        raise _no_space(file, num_bytes, os.strerror(errno.ENOSPC))
    try:
        os.posix_fallocate(file.fileno(), 0, num_bytes)
    except OSError as error:
        raise _no_space(file, num_bytes, str(error.strerror)) from None


def _no_space(file: IO[bytes], num_bytes: int, why: str) -> DataError:
    is_named = isinstance(file.name, str)  # a temporary file has a number
    place = str(Path(file.name).parent) if is_named else tempfile.gettempdir()
    remedy = "make room there" if is_named else "set TMPDIR to a folder with more space"
    size = f"{num_bytes / GIB:.1f} GiB" if num_bytes >= GIB else f"{num_bytes / 2**20:.1f} MiB"
    return DataError(f"{size} do not fit into {place} ({why}); {remedy}.")
