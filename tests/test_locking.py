"""One run a folder: whoever comes second is told who is first, and nobody waits for the dead."""

import errno
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from isdm import locking
from isdm.errors import OutputError
from isdm.files import LOCK_NAME
from isdm.locking import beside, locked, one_at_a_time

HOLD = """
import sys, time
from pathlib import Path
from isdm.locking import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_second_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    with holder(tmp_path / "out") as process:
        expected = f"is in use by process {process.pid} on {socket.gethostname()}"
        with pytest.raises(OutputError, match=expected), locked(tmp_path / "out"):
            raise AssertionError("two at once")
        with locked(tmp_path / "another"):
            pass


def test_the_lock_of_a_killed_process_is_gone_with_it(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / LOCK_NAME).exists()
        with locked(tmp_path):
            assert json.loads((tmp_path / LOCK_NAME).read_text())["pid"] == os.getpid()
    assert not (tmp_path / LOCK_NAME).exists()


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"pid": 1', "\0" * 300])
def test_a_torn_file_is_no_lock(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK_NAME).write_text(content)
    with locked(tmp_path):
        pass


@pytest.fixture
def fast_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "BEAT_SECONDS", 0.05)


@pytest.mark.usefixtures("fast_beat")
def test_a_silent_machine_is_waited_for_and_taken_for_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / LOCK_NAME).write_text(json.dumps({"pid": 7, "host": "far-away", "beat": 3}))
    with locked(tmp_path):
        pass
    assert "process 7 on far-away" in capsys.readouterr().err


@pytest.mark.usefixtures("fast_beat")
def test_a_machine_whose_beat_goes_on_holds_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that hands no locks on to other machines."""
    path = tmp_path / LOCK_NAME
    path.write_text(json.dumps({"pid": 7, "host": "far-away", "beat": 3}))
    changed = json.dumps({"pid": 7, "host": "far-away", "beat": 4})
    monkeypatch.setattr(locking.time, "sleep", lambda _: path.write_text(changed))
    with pytest.raises(OutputError, match="process 7 on far-away"), locked(tmp_path):
        raise AssertionError("two at once")
    assert path.exists()


@pytest.mark.usefixtures("fast_beat")
def test_the_beat_grows(tmp_path: Path) -> None:
    with locked(tmp_path):
        first = (tmp_path / LOCK_NAME).read_text()
        locking.time.sleep(0.3)
        assert json.loads((tmp_path / LOCK_NAME).read_text())["beat"] > json.loads(first)["beat"]


def test_nothing_stays_of_a_stage_that_made_nothing(tmp_path: Path) -> None:
    with locked(tmp_path / "parent" / "out"):
        assert (tmp_path / "parent" / "out" / LOCK_NAME).exists()
    assert not (tmp_path / "parent" / "out").exists()
    with locked(beside(tmp_path / "out")):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"parent"}


def test_a_folder_of_the_user_stays_even_if_it_is_empty(tmp_path: Path) -> None:
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_stages_hold_their_output_however_it_is_given(tmp_path: Path) -> None:
    @one_at_a_time
    def stage(name: str, out: Path) -> bool:
        with locked(out):  # a stage within a stage
            return (out / LOCK_NAME).exists()

    assert stage("x", tmp_path)
    assert stage(out=tmp_path, name="x")
    assert not (tmp_path / LOCK_NAME).exists()


def test_the_other_processes_of_torchrun_share_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with holder(tmp_path), locked(tmp_path):
        pass


@pytest.mark.usefixtures("fast_beat")
def test_a_file_system_without_locks_is_judged_by_the_beat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    path = tmp_path / LOCK_NAME
    monkeypatch.setattr(locking.fcntl, "lockf", none)
    with locked(tmp_path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    path.write_text(json.dumps({"pid": 7, "host": socket.gethostname(), "beat": 3}))
    changed = json.dumps({"pid": 7, "host": socket.gethostname(), "beat": 4})
    monkeypatch.setattr(locking.time, "sleep", lambda _: path.write_text(changed))
    with pytest.raises(OutputError, match="process 7 on"), locked(tmp_path):
        raise AssertionError("two at once")


def test_of_many_that_start_at_once_one_holds_the_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, end = context.Barrier(6), context.Barrier(6)

    def compete() -> None:
        start.wait()
        try:
            with locked(tmp_path / "out"):
                end.wait()
        except OutputError:
            end.wait()
            sys.exit(1)
        sys.exit(0)

    for _ in range(5):
        processes = [context.Process(target=compete) for _ in range(6)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(30)
        assert sorted(process.exitcode or 0 for process in processes) == [0, 1, 1, 1, 1, 1]
        left = tmp_path / "out"  # stays where one that was refused had made it
        assert not left.exists() or not any(left.iterdir())
