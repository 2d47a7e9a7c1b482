"""Memory of this machine: how much is free. No torch needed."""

import os
from collections.abc import Iterator
from pathlib import Path

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
