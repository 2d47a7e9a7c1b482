"""Working off tasks with the workers of a Ray cluster (extra `cluster`), any of which may be lost on the way.

A stage brings a class of workers, of which Ray makes actors, and its tasks; here is what all stages share: to reach
the cluster, to see that every machine sees the stage's folder, and to give a lost worker's task to another.
"""

import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from isdm.errors import ConfigError, OutputError, UsageError
from isdm.files import write_text
from isdm.signals import handlers_kept

REACH_SECONDS = 10.0
RESTART_SECONDS = 1.0
MOST_ATTEMPTS = 3
"""Times that a cluster is called which listens and does not answer, as one that has only just been started."""
MOST_CALLS = 300
"""Seconds that a lost worker has to come back."""
_TOKEN = ".shared"

Task = TypeVar("Task")


class Worker:
    """What every worker answers, whatever it does."""

    def sees(self, folder: Path, token: str) -> bool:
        """Whether the folder is here the one into which the driver has just written `token`."""
        path = folder / _TOKEN
        return path.is_file() and path.read_text("utf-8") == token

    def is_ready(self) -> bool:
        """Answer, which says that the worker has been started."""
        return True


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray, connected to a cluster or started on this machine, and left again at the end.

    Args:
        address: `auto` for workers on this machine alone, or the address of a running cluster's head.

    Raises:
        ConfigError: Ray is not installed or the cluster cannot be reached.
    """
    if find_spec("ray") is None:
        raise ConfigError("--ray needs the extra `cluster`: pip install 'isdm[cluster]'.")
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
    if address != "auto":
        options = {"log_to_driver": False, "logging_level": "ERROR"}
        _require_reachable(address)
    for attempt in range(1, MOST_ATTEMPTS + 1):
        try:
            with handlers_kept():  # Ray's own would end the process without a word on how to go on
                ray.init(address="local" if address == "auto" else address, **options)
            break
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            ray.shutdown()
            if attempt == MOST_ATTEMPTS:
                reason = str(error).splitlines()[0]
                raise ConfigError(
                    f"--ray {address}: no cluster answers there ({reason}). Start one with `ray start --head`, or "
                    f"give auto."
                ) from None
            time.sleep(RESTART_SECONDS)
    try:
        yield ray
    finally:
        ray.shutdown()


def _require_reachable(address: str) -> None:
    """Refuse an address at once where nothing listens; Ray itself tries for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        raise UsageError(f"--ray {address!r} is neither auto nor HOST:PORT of a cluster started with `ray start`.")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS):
            pass
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"--ray {address}: nothing answers there ({error}). Start one with `ray start --head`, or give auto."
        ) from None


def require_shared_folder(ray: Any, workers: Sequence[Any], out: Path) -> None:
    """Make sure that all workers, actors of a `Worker`, see the folder that is written to.

    Raises:
        OutputError: one of them does not.
    """
    token = uuid4().hex
    write_text(out / _TOKEN, token)
    try:
        if not all(ray.get([worker.sees.remote(out, token) for worker in workers])):
            raise OutputError(f"A worker does not see {out}; give a folder that all machines share under one path.")
    finally:
        (out / _TOKEN).unlink()


def work_off(
    ray: Any,
    workers: Sequence[Any],
    tasks: Iterable[Task],
    begin: Callable[[Any, Task], Any],
    finished: Callable[[Task], None],
    lost: Callable[[Task, int], Task | None],
) -> None:
    """Give each task to a worker that is idle, until all are finished.

    Args:
        ray: what `connected` gives.
        workers: actors of a `Worker`, which Ray starts again when they are lost.
        tasks: in the order in which they are begun.
        begin: starts a task on a worker; gives Ray's reference to its result.
        finished: called with each task that is finished.
        lost: called with a task whose worker was lost and the number of workers that it has cost; gives what is
            left of it for another worker, None for nothing, or raises where it has cost too many.

    Raises:
        OutputError: a lost worker does not come back.
        Exception: what a task raised.
    """
    waiting = deque((task, 0) for task in tasks)
    idle = deque(workers)
    running: dict[Any, tuple[Any, Task | None, int]] = {}
    while waiting or running:
        while idle and waiting:
            worker, (begun, losses) = idle.popleft(), waiting.popleft()
            running[begin(worker, begun)] = worker, begun, losses
        done, _ = ray.wait(list(running), num_returns=1)
        worker, task, count = running.pop(done[0])
        try:
            ray.get(done[0])
        except ray.exceptions.RayActorError:  # Ray starts it again; it gets work when it answers
            calls = 0 if task is not None else _called_again(count)
            running[worker.is_ready.remote()] = worker, None, calls
            if task is not None and (left := lost(task, count + 1)) is not None:
                waiting.append((left, count + 1))
            continue
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        idle.append(worker)
        if task is not None:
            finished(task)


def _called_again(calls: int) -> int:
    """How often a lost worker has now been called in vain; waits a moment before the next call.

    Raises:
        OutputError: it does not come back.
    """
    if calls == MOST_CALLS:
        raise OutputError("A worker that was lost does not come back; what is finished is kept, go on later.")
    time.sleep(RESTART_SECONDS)
    return calls + 1
