"""Memory of this machine: how much is free, and arrays on disk for what does not fit. Nothing here needs torch."""

import ctypes
import os
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from isdm.errors import DataError

GIB = 2**30

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3), from glibc's malloc.h."""


def reuse_freed_memory() -> None:
    """Let the C library keep what is freed for the next allocation, instead of handing it back to the system.

    Every step of a network on the CPU frees large arrays and takes as many again; each time the system would clear
    fresh pages for them (docs/decisions/freed-memory.md). Only glibc works so, elsewhere nothing is done. The process
    holds the memory of its largest step until it ends.
    """
    if platform.libc_ver()[0] == "glibc":
        allow_freed_memory(mapped_apart_from=GIB, kept_up_to=2 * GIB - 1)


def allow_freed_memory(*, mapped_apart_from: int, kept_up_to: int) -> None:
    """Set from how many bytes on glibc maps an allocation apart, and how many it may keep after they are freed."""
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, mapped_apart_from)
    libc.mallopt(_M_TRIM_THRESHOLD, kept_up_to)


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


def array_on_disk(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array to be filled, in a temporary file that vanishes with it, however the process ends.

    Raises:
        DataError: the folder for temporary files has too little space.
    """
    num_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    with tempfile.TemporaryFile() as file:
        try:
            os.posix_fallocate(file.fileno(), 0, num_bytes)  # a full disk is found here, not while filling it
        except OSError as error:
            raise DataError(
                f"{num_bytes / GIB:.1f} GiB do not fit into {tempfile.gettempdir()} ({error.strerror}); set TMPDIR "
                f"to a folder with more space."
            ) from None
        return np.memmap(file, dtype, "r+", shape=shape)
