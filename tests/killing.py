"""Kill or interrupt a stage at any moment, start it again, and compare with a run that nobody disturbed.

A run is a forked child of a process that has loaded everything, so that starting costs nothing. This process must
never compute itself before it forks: the threads of PyTorch and polars do not survive that.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch
from PIL import Image
from safetensors import safe_open

from isdm import files
from isdm.files import ASIDE_MARK, LOCK_NAME
from isdm.signals import StopRequestedError, stop_on_signals

HOOKED_SHARE = 1 / 3
"""Kills between opening and renaming a file; the others come at any instant."""
TIMES = frozenset({"seconds", "train_seconds", "save_seconds", "saved_bytes"})
"""What two equal runs differ in."""
UNCOMPARED = frozenset({"training", "logs", "figures", "gallery"})
"""Folders whose files hold times, or are pictures of what is compared as numbers."""


@dataclass(frozen=True)
class Stage:
    """A stage that writes one folder, `folder/name`, from others that are there already."""

    name: str
    run: Callable[[Path], object]
    """Runs it; takes the folder that holds the stages' folders."""


@dataclass
class Killed:
    """What happened to one stage."""

    kills: int = 0
    between_writing_and_renaming: int = 0
    slowest_leaving_seconds: float = 0.0
    """From the signal to the end of the process."""
    differences: list[str] = field(default_factory=list)


def kill_and_compare(
    stage: Stage,
    given: Path,
    work: Path,
    num_kills: int,
    rng: random.Random,
    by: signal.Signals = signal.SIGKILL,
) -> Killed:
    """Kill a stage `num_kills` times, wherever it is, and let it end in between whenever it does.

    What it makes when nobody disturbs it is left in `work / "whole"`.

    Args:
        stage: the stage.
        given: folder with all that it reads.
        work: an empty folder.
        num_kills: how often.
        rng: chooses the instants.
        by: the signal; another than SIGKILL comes at any instant, and the stage is to leave with its exit code.
    """
    at_work, whole = work / "at-work", work / "whole"
    shutil.copytree(given, at_work)
    seconds, renames = _undisturbed(stage, at_work)
    at_work.rename(whole)  # paths stand in the records, so all runs take place in one folder
    result = Killed()
    expected = -by if by is signal.SIGKILL else StopRequestedError(by).exit_code
    while result.kills < num_kills:
        shutil.copytree(given, at_work)
        for _ in range(4):
            hooked = by is signal.SIGKILL and rng.random() < HOOKED_SHARE and renames > 0
            at = rng.randrange(renames) if hooked else rng.uniform(0, seconds)
            after = None if hooked else (at, by)
            code, leaving = _run(stage, at_work, kill_before_rename=int(at) if hooked else None, after=after)
            if code != expected:
                result.differences += [f"exit code {code}"] if code else []
                break
            result.kills += 1
            result.between_writing_and_renaming += hooked
            result.slowest_leaving_seconds = round(max(result.slowest_leaving_seconds, leaving), 2)
            result.differences += _in_child(partial(half_files, at_work))
        code, _ = _run(stage, at_work)
        result.differences += [f"exit code {code} at the end"] if code else []
        result.differences += _in_child(partial(differences, whole / stage.name, at_work / stage.name))
        shutil.rmtree(at_work)
    return result


def run_to_the_end(stage: Stage, folder: Path) -> None:
    """Run a stage that nobody disturbs."""
    code, _ = _run(stage, folder)
    assert code == 0, f"{stage.name} ends with {code}; see {folder.parent / 'output.log'}"


def _undisturbed(stage: Stage, folder: Path) -> tuple[float, int]:
    """Run a stage to its end; gives its seconds and how many files it renames."""
    counter = folder / "renames"
    start = time.monotonic()
    code, _ = _run(stage, folder, count_renames=counter)
    assert code == 0, f"{stage.name} ends with {code} when nobody disturbs it"
    seconds = time.monotonic() - start
    renames = counter.stat().st_size if counter.exists() else 0
    counter.unlink(missing_ok=True)
    return seconds, renames


def _run(
    stage: Stage,
    folder: Path,
    *,
    after: tuple[float, signal.Signals] | None = None,
    kill_before_rename: int | None = None,
    count_renames: Path | None = None,
) -> tuple[int, float]:
    """Run a stage in a child that gets a signal after some seconds, or is killed before a rename.

    Returns:
        Its exit code (-9 if killed), and the seconds from the signal to its end.
    """
    child = os.fork()
    if child == 0:
        _prepare_child(folder)
        files.before_rename = _hook(kill_before_rename, count_renames)
        _leave(lambda: stage.run(folder))
    start = time.monotonic()
    sent = None
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), 0.0 if sent is None else time.monotonic() - sent
        if after is not None and sent is None and time.monotonic() - start >= after[0]:
            os.kill(child, after[1])
            sent = time.monotonic()
        time.sleep(0.002)


def _prepare_child(folder: Path) -> None:
    sys.stdout = sys.stderr = (folder.parent / "output.log").open("a", buffering=1)
    torch.set_num_threads(1)
    stop_on_signals()  # as the command line does


def _leave(work: Callable[[], object]) -> NoReturn:
    """End a child without the clean-up that belongs to its parent."""
    try:
        work()
        code = 0
    except StopRequestedError as stop:
        code = stop.exit_code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stderr.flush()
    os._exit(code)


def _hook(kill_before_rename: int | None, count_renames: Path | None) -> Callable[[Path], None] | None:
    seen = 0

    def kill(aside: Path) -> None:
        nonlocal seen
        if seen == kill_before_rename:
            if aside.is_file():  # as if only half of it had been written
                os.truncate(aside, aside.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

    def count(_: Path) -> None:
        assert count_renames is not None
        with count_renames.open("ab") as file:
            file.write(b".")

    if kill_before_rename is not None:
        return kill
    return count if count_renames is not None else None


def _in_child(look: Callable[[], list[str]]) -> list[str]:
    """What a look at the files finds; in a child, as reading them may start threads."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)

        def report() -> None:
            with os.fdopen(writer, "w") as pipe:
                json.dump(look(), pipe)

        _leave(report)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else ["the comparison broke off"]


def half_files(folder: Path) -> list[str]:
    """Files under final names that cannot be read whole."""
    problems = []
    for path in sorted(folder.rglob("*")):
        names = path.relative_to(folder).parts
        if path.is_dir() or any(name.startswith((ASIDE_MARK, LOCK_NAME)) for name in names):
            continue
        try:
            _read(path, tolerate_cut_tail="metadata.parts" in names)
        except Exception as error:
            problems.append(f"half a file: {'/'.join(names)} ({type(error).__name__}: {error})")
    return problems


def _read(path: Path, *, tolerate_cut_tail: bool = False) -> Any:
    if path.suffix == ".jsonl":
        return files.read_json_lines(path, tolerate_cut_tail=tolerate_cut_tail)
    reader = _READERS.get(path.suffix)
    return None if reader is None else reader(path)


def _pixels(path: Path) -> str:
    with Image.open(path) as image:
        image.load()
        return hashlib.sha256(image.tobytes()).hexdigest()


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, "pt") as tensors:
        return {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118


def _page(path: Path) -> None:
    assert path.read_text("utf-8").rstrip().endswith("</html>"), "the page breaks off"


def _table(path: Path) -> list[dict[str, Any]]:
    import polars as pl

    table = pl.read_parquet(path)
    return table.drop(TIMES & set(table.columns)).to_dicts()


_READERS: dict[str, Callable[[Path], Any]] = {
    ".json": lambda path: json.loads(path.read_text("utf-8")),
    ".png": _pixels,
    ".safetensors": _tensors,
    ".pt": lambda path: torch.load(path, weights_only=True),
    ".html": _page,
    ".parquet": _table,
}


def differences(whole: Path, killed: Path) -> list[str]:
    """What the folder of the disturbed run has otherwise than that of the other."""
    found = half_files(killed)
    ours, expected = (_compared(folder) for folder in (killed, whole))
    found += [f"lost: {name}" for name in sorted(expected - ours)]
    found += [f"left over: {name}" for name in sorted(ours - expected)]
    for name in sorted(ours & expected):
        one, other = (_without_times(_read(folder / name)) for folder in (killed, whole))
        if not _equal(one, other):
            found.append(f"other content: {name}")
    return found


def _compared(folder: Path) -> set[str]:
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(name) for name in names if not UNCOMPARED & set(name.parts)}


def _without_times(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_times(inner) for key, inner in value.items() if key not in TIMES}
    return [_without_times(inner) for inner in value] if isinstance(value, list) else value


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return bool(torch.equal(one, other))
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return bool(one == other)
