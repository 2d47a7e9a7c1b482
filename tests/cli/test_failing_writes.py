"""A write that fails anywhere in a stage: a few lines, and the same command ends as if nothing had been."""

import errno
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from isdm.cli import main
from isdm.data.dataset import SegmentationDataset
from isdm.files import ASIDE_MARK

MOST_LINES = 3
PATIENCE_SECONDS = 120.0
NETWORK = "--preset tiny --set unet.base_channels=16 --set unet.norm_groups=4 --set unet.channel_multipliers=[1,2]"
NETWORK += " --set unet.spade_channels=8 --set unet.attention_downsamplings=[2]"
NETWORK += " --set batch_size=2 --set precision=float32"
CELLS = "--architectures fpn --encoder resnet18 --encoder-weights none --repeats 1 --epochs 1 --set precision=float32"


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    error: str

    def is_orderly(self) -> bool:
        return "Traceback" not in self.error and 1 <= len(self.complaint) <= MOST_LINES

    @property
    def complaint(self) -> list[str]:
        lines = self.error.strip().splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith(("Error: ", "Interrupted: "))]
        return lines[starts[-1] :] if starts else []


Isdm = Callable[[str], Outcome]


@pytest.fixture
def isdm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Isdm]:
    """Run a command as the installed script would."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(line: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["isdm", *line.split()])
        with pytest.raises(SystemExit) as caught:
            main()
        return Outcome(int(caught.value.code or 0), capsys.readouterr().err)

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@contextmanager
def running(line: str, log: Path) -> Iterator[multiprocessing.process.BaseProcess]:
    """The command in a process of its own, which has imported all already."""

    def child() -> None:
        sys.argv = ["isdm", *line.split()]
        with log.open("w", buffering=1) as file:
            sys.stdout = sys.stderr = file
            main()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def wait_for(is_there: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_there():
        assert time.monotonic() < end
        time.sleep(0.02)


@dataclass(frozen=True)
class Stages:
    """The commands whose writes are disturbed, and what an undisturbed run of each gives."""

    folder: Path
    commands: dict[str, str]

    def result(self, out: Path) -> dict[str, bytes]:
        """Every file that does not say how long something took."""
        named = [path for path in out.rglob("*") if path.is_file() and path.suffix in (".png", ".safetensors")]
        return {path.relative_to(out).as_posix(): path.read_bytes() for path in named}


@pytest.fixture(scope="module")
def stages(fruit: SegmentationDataset, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    folder = tmp_path_factory.mktemp("undisturbed")
    data, source = fruit.folder, fruit.folder.parent / "source"
    commands = {
        "import": rf"data import {source} OUT --group-by (fruit\d+)",
        "train": f"train {data} --out OUT --steps 6 {NETWORK} --set save_interval=0.001",
        "sample": f"sample {folder}/train --data {data} --out OUT -n 4 --steps 2 --batch-size 2",
        "evaluate": f"evaluate {data} --synthetic {folder}/sample --out OUT --synthetic-counts 0,4 {CELLS}",
    }
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with pytest.MonkeyPatch.context() as patch:
        for name, line in commands.items():
            patch.setattr(sys, "argv", ["isdm", *line.replace("OUT", f"{folder}/{name}").split()])
            with pytest.raises(SystemExit) as caught:
                main()
            assert not caught.value.code, name
    for number, handler in handlers.items():
        signal.signal(number, handler)
    return Stages(folder, commands)


@contextmanager
def disturbed(monkeypatch: pytest.MonkeyPatch, call: int, disturb: Callable[[int], None]) -> Iterator[None]:
    """Let a write go wrong at its end: the given call of fsync."""
    calls = [0]
    true_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] >= call:
            disturb(descriptor)
        true_fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield
    assert calls[0] >= call, f"only {calls[0]} writes"


def fail_with(code: int) -> Callable[[int], None]:
    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code), str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    return fail


def remove_file(descriptor: int) -> None:
    path = Path(f"/proc/self/fd/{descriptor}").readlink()
    if path.is_file():
        path.unlink()


@pytest.mark.parametrize(
    ("stage", "call", "disturb", "words"),
    [
        ("train", 1, fail_with(errno.EROFS), "Allow writing there"),
        ("train", 9, fail_with(errno.ENOSPC), "Make room"),
        ("train", 25, remove_file, "Nothing else may remove files"),
        ("sample", 5, fail_with(errno.ENOSPC), "Make room"),
        ("sample", 16, remove_file, "Nothing else may remove files"),
        ("evaluate", 10, fail_with(errno.EIO), os.strerror(errno.EIO)),
    ],
)
def test_a_write_that_fails_costs_nothing_that_is_finished(
    stages: Stages,
    stage: str,
    call: int,
    disturb: Callable[[int], None],
    words: str,
    tmp_path: Path,
    isdm: Isdm,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = stages.commands[stage].replace("OUT", str(tmp_path / "out"))
    with disturbed(monkeypatch, call, disturb):
        failed = isdm(command)
    assert failed.code == 1, failed.error
    assert failed.is_orderly(), failed.error
    assert words in failed.error
    assert not list(tmp_path.rglob(f"{ASIDE_MARK}*")), "nothing half-written stays"
    again = isdm(command)
    assert again.code == 0, again.error
    assert stages.result(tmp_path / "out") == stages.result(stages.folder / stage)


def test_an_import_that_fills_the_disk_shows_nothing(stages: Stages, tmp_path: Path, isdm: Isdm) -> None:
    command = stages.commands["import"].replace("OUT", str(tmp_path / "out"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        failed = isdm(command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failed.code == 1, failed.error
    assert failed.is_orderly(), failed.error
    assert os.strerror(errno.EFBIG) in failed.error
    assert not (tmp_path / "out").exists()
    assert isdm(command).code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert stages.result(tmp_path / "out") == stages.result(stages.folder / "import")


def test_sampling_stops_at_once_and_keeps_what_it_painted(stages: Stages, tmp_path: Path) -> None:
    command = stages.commands["sample"].replace("-n 4", "-n 1000").replace("OUT", str(tmp_path / "out"))
    lines = tmp_path / "out" / "train" / "metadata.parts" / "0.jsonl"
    with running(command, tmp_path / "log") as process:
        wait_for(lambda: lines.is_file() and lines.read_bytes().count(b"\n") >= 3)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGTERM)
        process.join(PATIENCE_SECONDS)
        assert process.exitcode == 143
    ended = Outcome(143, (tmp_path / "log").read_text())
    assert ended.is_orderly(), ended.error
    assert not list(tmp_path.rglob(f"{ASIDE_MARK}*"))
    assert len(list((tmp_path / "out" / "train" / "images").iterdir())) >= lines.read_bytes().count(b"\n") >= 3
