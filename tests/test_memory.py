"""Free memory, read from made-up systems."""

import os
from pathlib import Path

import pytest
import torch

from isdm.hardware import free_memory_bytes
from isdm.memory import free_host_bytes

MIB = 2**20


def put(root: Path, **files: str | int) -> None:
    """Write small files; `__` in a name is a folder."""
    for name, content in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")


def group(folder: Path, limit: str | int, used: int, cache: int) -> None:
    """A control group of version 2."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {
        "memory.max": limit,
        "memory.current": used,
        "memory.stat": f"anon 5\ninactive_file {cache}\nfile 9",
    }.items():
        (folder / name).write_text(f"{content}\n")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A system with 1000 MiB available, though few pages are unused."""
    meminfo = f"MemTotal: {4000 * 1024} kB\nMemFree: {100 * 1024} kB\nMemAvailable: {1000 * 1024} kB"
    put(tmp_path / "proc", meminfo=meminfo)
    return tmp_path / "proc"


def test_what_the_system_has_available_counts(proc: Path, tmp_path: Path) -> None:
    assert free_host_bytes(proc, tmp_path / "none") == 1000 * MIB
    put(proc, self__cgroup="0::/")
    assert free_host_bytes(proc, tmp_path / "none") == 1000 * MIB


def test_a_control_group_leaves_less(proc: Path, tmp_path: Path) -> None:
    put(proc, self__cgroup="0::/user/job")
    group(tmp_path / "groups" / "user" / "job", limit=500 * MIB, used=300 * MIB, cache=50 * MIB)
    assert free_host_bytes(proc, tmp_path / "groups") == 250 * MIB


def test_the_groups_above_count_too(proc: Path, tmp_path: Path) -> None:
    put(proc, self__cgroup="0::/user/job")
    group(tmp_path / "groups" / "user" / "job", limit="max", used=300 * MIB, cache=0)
    group(tmp_path / "groups" / "user", limit=400 * MIB, used=320 * MIB, cache=0)
    group(tmp_path, limit=1, used=0, cache=0)  # beside the control groups, not one of them
    assert free_host_bytes(proc, tmp_path / "groups") == 80 * MIB


def test_a_container_sees_its_own_limit_at_the_root(proc: Path, tmp_path: Path) -> None:
    put(proc, self__cgroup="0::/../outside/of/the/container")
    group(tmp_path / "groups", limit=300 * MIB, used=100 * MIB, cache=0)
    assert free_host_bytes(proc, tmp_path / "groups") == 200 * MIB


def test_control_groups_of_version_1(proc: Path, tmp_path: Path) -> None:
    put(proc, self__cgroup="5:cpu,cpuacct:/a\n4:memory:/job\n1:name=systemd:/\n0::/")
    files = {"memory.limit_in_bytes": 200 * MIB, "memory.usage_in_bytes": 90 * MIB}
    job = tmp_path / "groups" / "memory" / "job"
    job.mkdir(parents=True)
    for name, content in files.items():
        (job / name).write_text(f"{content}\n")
    (job / "memory.stat").write_text(f"inactive_file 1\ntotal_inactive_file {30 * MIB}\n")
    assert free_host_bytes(proc, tmp_path / "groups") == 140 * MIB


def test_a_group_beyond_its_limit_leaves_nothing(proc: Path, tmp_path: Path) -> None:
    put(proc, self__cgroup="0::/job")
    group(tmp_path / "groups" / "job", limit=100 * MIB, used=200 * MIB, cache=0)
    assert free_host_bytes(proc, tmp_path / "groups") == 0


def test_this_machine_has_some_and_the_networks_are_told_the_same() -> None:
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < free_host_bytes() < installed
    assert free_memory_bytes(torch.device("cpu")) == pytest.approx(free_host_bytes(), rel=0.2)
