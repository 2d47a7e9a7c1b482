"""Trouble from outside while a stage runs: signals, a second run, a full disk, a folder without rights."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from isdm.data.dataset import SegmentationDataset

ISDM = Path(sys.executable).parent / "isdm"
TRAIN = ["--preset", "tiny", "--steps", "100000", "--set", "trackers=[]", "--set", "precision=float32"]
SMALL = ["--set", "unet.base_channels=16", "--set", "unet.norm_groups=4", "--set", "unet.channel_multipliers=[1,2]"]


def command(*arguments: str | Path) -> list[str]:
    return [str(ISDM), *map(str, arguments)]


@contextmanager
def running(*arguments: str | Path, until: str) -> Iterator[subprocess.Popen[str]]:
    """A command that has printed a line with the words `until`."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if until in line:
            break
    assert until in seen[-1], "".join(seen)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_training_saves_and_leaves_on_a_signal_and_refuses_company(
    fruit: SegmentationDataset, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    train = ("train", fruit.folder, "--out", out, *TRAIN, *SMALL)
    with running(*train, until="One step takes") as process:
        second = subprocess.run(command(*train), capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert f"in use by process {process.pid} on" in " ".join(second.stderr.split())
        process.send_signal(signal.SIGTERM)
        text, _ = process.communicate(timeout=60)
        assert process.returncode == 143, text
        assert "the same command goes on" in " ".join(text.split())
        assert "Traceback" not in text
    state = torch.load(out / "training" / "state.pt", weights_only=True)
    done = state["counters"]["step"]
    assert done >= 8, "nothing was lost but the step at hand"
    with running(*train, until=f"Going on at step {done:,}") as process:
        process.send_signal(signal.SIGINT)
        text, _ = process.communicate(timeout=60)
        assert process.returncode == 130, text


FULL_DISK = """
import resource, sys
from isdm.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
main()
"""


def with_full_disk(limit: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A command that can write no file of more than `limit` bytes, as where a disk or a quota is full."""
    return subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(limit), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def test_a_full_disk_is_one_line_and_costs_nothing_that_is_finished(
    fruit: SegmentationDataset, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    options = ["--steps", "3", *TRAIN[:2], *TRAIN[4:], *SMALL]
    ended = with_full_disk(100_000, "train", fruit.folder, "--out", out, *options)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "File too large" in ended.stderr
    assert str(out) in "".join(ended.stderr.split("\n"))
    assert not list(out.rglob(".aside-*"))
    drawn = tmp_path / "drawn"
    sample = ["sample", model, "--data", fruit.folder, "--out", drawn, "-n", "6", "--steps", "2", "--sampler", "ddim"]
    ended = with_full_disk(2_000, *sample)
    assert (ended.returncode, "Traceback" in ended.stderr) == (1, False), ended.stderr
    whole = subprocess.run(command(*sample), capture_output=True, text=True, check=False)
    assert whole.returncode == 0, whole.stderr
    assert len(SegmentationDataset(drawn).pairs("train")) == 6


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights_is_named(fruit: SegmentationDataset, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    out = tmp_path / "closed" / "model"
    ended = subprocess.run(
        command("train", fruit.folder, "--out", out, *TRAIN), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "Permission denied" in ended.stderr
