"""One run at a time in an output folder.

A lock of the operating system (POSIX record lock) on a file in the folder: it goes with its process, however that
ends, so nothing has to be guessed about processes on this machine. The file also says who holds it and carries a
beat, which other machines on a shared file system watch where that hands no locks on, and everybody does where it has
none at all; no clocks are compared.
"""

import contextlib
import errno
import fcntl
import functools
import inspect
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from isdm.errors import OutputError
from isdm.files import ASIDE_MARK, LOCK_NAME
from isdm.progress import say

BEAT_SECONDS = 3.0
SILENT_BEATS = 4
"""Beats of another machine that may be missed before its run counts as gone."""

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What file systems say that have no locks."""

Options = ParamSpec("Options")
Result = TypeVar("Result")

_held: set[Path] = set()


def one_at_a_time(stage: Callable[Options, Result]) -> Callable[Options, Result]:
    """Let a stage hold its output folder, its argument `out`, while it runs."""
    signature = inspect.signature(stage)

    @functools.wraps(stage)
    def alone(*args: Options.args, **kwargs: Options.kwargs) -> Result:
        out: Path = signature.bind(*args, **kwargs).arguments["out"]
        with locked(out):
            return stage(*args, **kwargs)

    return alone


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder`, made if need be; what this process made and is empty in the end is removed again.

    What is no folder is left to the stage, which refuses it. Processes that `torchrun` started besides the first
    share its lock, and so does a stage within another of the same folder.

    Raises:
        OutputError: another process holds it.
    """
    key = folder.resolve()
    shares = key in _held or os.environ.get("RANK", "0") != "0"
    if shares or (folder.exists() and not folder.is_dir()):
        yield
        return
    is_ours = not folder.exists() or folder.name.startswith(ASIDE_MARK)
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = _acquire(folder)
    _held.add(key)
    stopped = threading.Event()
    beat = threading.Thread(target=_beat, args=(descriptor, stopped), daemon=True)
    beat.start()
    try:
        yield
    finally:
        stopped.set()
        beat.join()
        _held.discard(key)
        (folder / LOCK_NAME).unlink(missing_ok=True)
        os.close(descriptor)
        if is_ours and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def beside(out: Path) -> Path:
    """A folder to hold instead of `out`, for a stage that makes its output elsewhere and moves it there whole."""
    return out.parent / f"{ASIDE_MARK}lock-{out.name}"


def _acquire(folder: Path) -> int:
    """Open and lock the file; gives its descriptor."""
    path = folder / LOCK_NAME
    has_locks = True
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                holder = _read(descriptor)
                os.close(descriptor)
                raise OutputError(_in_use(folder, holder)) from None
            if error.errno not in _NO_LOCKS:
                os.close(descriptor)
                raise
            has_locks = False
        if _is_still(path, descriptor):
            break
        os.close(descriptor)  # the run before removed it in between
    holder = _read(descriptor)
    if holder and (not has_locks or holder.get("host") != socket.gethostname()):
        _wait_for_silence(folder, descriptor, holder)
    _write(descriptor, 0)
    return descriptor


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _wait_for_silence(folder: Path, descriptor: int, holder: dict[str, object]) -> None:
    """Watch the beat that another machine's run has left; refuse the folder where it goes on.

    File systems that hand locks on would not have let us get here, but not all do.
    """
    say(f"{folder} was last used by process {holder.get('pid')} on {holder.get('host')}; looking if that still runs.")
    for _ in range(SILENT_BEATS):
        time.sleep(BEAT_SECONDS)
        now = _read(descriptor)
        if now != holder:
            os.close(descriptor)
            raise OutputError(_in_use(folder, now))


def _in_use(folder: Path, holder: dict[str, object]) -> str:
    return (
        f"{folder} is in use by process {holder.get('pid', 'unknown')} on {holder.get('host', 'another host')}. "
        f"Wait until that has ended, or give another output folder."
    )


def _beat(descriptor: int, stopped: threading.Event) -> None:
    """Go on writing a number that grows."""
    number = 1
    while not stopped.wait(BEAT_SECONDS):
        _write(descriptor, number)
        number += 1


def _write(descriptor: int, beat: int) -> None:
    text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "beat": beat})
    with contextlib.suppress(OSError):  # a full disk is the stage's to report, where it writes what counts
        os.pwrite(descriptor, text.ljust(256).encode(), 0)


def _read(descriptor: int) -> dict[str, object]:
    try:
        value = json.loads(os.pread(descriptor, 1024, 0))
    except ValueError:  # not yet written, or torn
        return {}
    return value if isinstance(value, dict) else {}
