"""Sampling by several workers through Ray (extra `cluster`): on this machine, or on all of a running cluster.

    isdm sample MODEL --data DATASET --out SYNTH -n 100000 --ray auto
    isdm sample MODEL --data DATASET --out SYNTH -n 100000 --ray 10.0.0.1:6379

One worker runs on each GPU, or on each core where there is none. A worker opens model and dataset from their
folders, paints blocks of samples, and notes each in a file of its own (`parts`), so all machines must see these
folders under the same paths. When a worker is lost, what it finished of its block counts and the rest is painted
by another; a sample depends on its number alone, so nothing is lost, doubled or different.
"""

import math
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch

from isdm.config import SampleConfig
from isdm.data.dataset import SegmentationDataset
from isdm.errors import ConfigError, OutputError, UsageError
from isdm.files import append_json_line, write_text
from isdm.pipeline import SemanticDiffusionPipeline
from isdm.progress import say
from isdm.signals import handlers_kept
from isdm.synthesis.painting import Job, open_job, paint
from isdm.synthesis.parts import Parts

REACH_SECONDS = 10.0
RESTART_SECONDS = 1.0
_RAY_UNITS = 10_000
"""Parts into which Ray divides a core."""
MOST_CALLS = 300
"""Seconds that a lost worker has to come back."""
MOST_LOSSES = 3
"""Workers that may be lost on one block until it counts as deadly."""


class Painter:
    """A worker: its own process, with its own copy of the network. Ray makes an actor of it."""

    def __init__(
        self, config: SampleConfig, model: Path, fingerprint: str, data: Path, out: Path, photographs: Sequence[Path]
    ) -> None:
        self._config = config
        self._model, self._fingerprint, self._data, self._out = model, fingerprint, data, out
        self._photographs = photographs
        self._job: Job | None = None
        self._name = f"worker-{uuid4().hex[:12]}"  # a restarted worker never appends to a file with a cut line

    def sees(self, token: str) -> bool:
        """Whether the output folder is here the one that the driver writes to."""
        return sees_token(self._out, token)

    def is_ready(self) -> bool:
        """Answer, which says that the worker has been started."""
        return True

    def paint(self, indices: Sequence[int]) -> int:
        """Paint these samples and note them; gives their number."""
        if self._job is None:
            if not torch.cuda.is_available():
                torch.set_num_threads(1)
            pipeline: SemanticDiffusionPipeline = SemanticDiffusionPipeline.from_pretrained(self._model)
            dataset = SegmentationDataset(self._data)
            job = open_job(self._config, pipeline, self._fingerprint, dataset, self._out, self._photographs)
            self._job = job.prepared()
        own = Parts(self._job.split_folder).own(self._name)
        for line in paint(self._job, indices):
            append_json_line(own, line)
        return len(indices)


_TOKEN = ".shared"


def sees_token(folder: Path, token: str) -> bool:
    """Whether the driver has just written `token` into this folder."""
    path = folder / _TOKEN
    return path.is_file() and path.read_text("utf-8") == token


def sample_on_ray(
    address: str,
    painter: Callable[[], tuple[Any, ...]],
    blocks: Sequence[Sequence[int]],
    parts: Parts,
    out: Path,
    advance: Callable[[int], None],
) -> None:
    """Let workers paint all blocks.

    Args:
        address: `auto` for workers on this machine alone, or the address of a running cluster's head.
        painter: gives the arguments of a `Painter`.
        blocks: numbers of the samples to paint.
        parts: where workers note what they finished.
        out: folder of the synthetic dataset.
        advance: called with the number of samples whenever some are finished.

    Raises:
        ConfigError: Ray is not installed or the cluster cannot be reached.
        OutputError: a worker does not see the output folder, or workers die over and over on one block.
    """
    with connected(address) as ray:
        workers = _start(ray, painter())
        require_shared_folder(ray, workers, out)
        waiting = deque((list(block), 0) for block in blocks)
        running: dict[Any, tuple[Any, list[int], int]] = {}
        idle = deque(workers)
        while waiting or running:
            while idle and waiting:
                worker = idle.popleft()
                block, losses = waiting.popleft()
                running[worker.paint.remote(block)] = (worker, block, losses)
            done, _ = ray.wait(list(running), num_returns=1)
            worker, block, losses = running.pop(done[0])
            try:
                painted = ray.get(done[0])
                advance(painted if block else 0)
                idle.append(worker)
            except ray.exceptions.RayActorError:  # Ray starts it again; it gets work when it answers
                calls = calls_after_loss(not block, losses)
                running[worker.is_ready.remote()] = worker, [], calls
                if not block:
                    continue
                finished = set(parts.finished().tolist())
                left = [index for index in block if index not in finished]
                advance(len(block) - len(left))
                if losses + 1 == MOST_LOSSES:
                    raise OutputError(
                        f"{MOST_LOSSES} workers died painting samples {block[0]} to {block[-1]}, perhaps for want of "
                        f"memory; go on with a smaller --batch-size or without --ray."
                    ) from None
                say(f"A worker was lost; {len(left)} samples are painted again by another.")
                if left:
                    waiting.append((left, losses + 1))
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray, connected to a cluster or started on this machine, and left again at the end.

    Raises:
        ConfigError: see `sample_on_ray`.
    """
    if find_spec("ray") is None:
        raise ConfigError("--ray needs the extra `cluster`: pip install 'isdm[cluster]'.")
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
    if address != "auto":
        options = {"log_to_driver": False, "logging_level": "ERROR"}
        _require_reachable(address)
    try:
        with handlers_kept():  # Ray's own would end the process without a word on how to go on
            ray.init(address="local" if address == "auto" else address, **options)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"--ray {address}: no cluster answers there ({reason}). Start one with `ray start --head`, or give auto."
        ) from None
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


def _start(ray: Any, arguments: tuple[Any, ...]) -> list[Any]:
    num_workers, share = shares_of(ray.nodes())
    on_each = "GPU" if "num_gpus" in share else "core"
    beside = f" with {share['num_cpus']:g} of a core" if share["num_cpus"] < 1 else ""
    say(f"{num_workers} workers paint, one on each {on_each}{beside}.")
    actor = ray.remote(Painter).options(max_restarts=-1, **share)
    return [actor.remote(*arguments) for _ in range(num_workers)]


def shares_of(nodes: Sequence[Mapping[str, Any]]) -> tuple[int, dict[str, float]]:
    """How many workers a cluster holds at once, one on each GPU or core, and what Ray is asked for each.

    A worker with a GPU is content with a share of a core: where a machine has fewer cores than GPUs, workers that
    ask for a whole one would wait for ever.

    Args:
        nodes: the machines as `ray.nodes` lists them.
    """
    machines = [node["Resources"] for node in nodes if node.get("Alive", True)]
    with_gpus = [(int(one["GPU"]), float(one.get("CPU", 0))) for one in machines if one.get("GPU", 0) >= 1]
    if not with_gpus:
        return max(1, sum(int(one.get("CPU", 0)) for one in machines)), {"num_cpus": 1}
    cores = min(1.0, *(num_cores / num_gpus for num_gpus, num_cores in with_gpus))
    share = math.floor(cores * _RAY_UNITS) / _RAY_UNITS
    return sum(num_gpus for num_gpus, _ in with_gpus), {"num_gpus": 1, "num_cpus": share}


def calls_after_loss(was_call: bool, calls: int) -> int:
    """How often a worker that was lost has been called in vain; waits a moment before the next call.

    Raises:
        OutputError: it does not come back.
    """
    if not was_call:
        return 0
    if calls == MOST_CALLS:
        raise OutputError("A worker that was lost does not come back; what is finished is kept, go on later.")
    time.sleep(RESTART_SECONDS)
    return calls + 1


def require_shared_folder(ray: Any, workers: Sequence[Any], out: Path) -> None:
    """Make sure that all workers, each with a method `sees(token)`, see the folder that is written to.

    Raises:
        OutputError: one of them does not.
    """
    token = uuid4().hex
    write_text(out / _TOKEN, token)
    try:
        if not all(ray.get([worker.sees.remote(token) for worker in workers])):
            raise OutputError(f"A worker does not see {out}; give a folder that all machines share under one path.")
    finally:
        (out / _TOKEN).unlink()
