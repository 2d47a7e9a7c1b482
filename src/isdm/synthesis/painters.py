"""Sampling by several workers through Ray (extra `cluster`): on this machine, or on all of a running cluster.

    isdm sample MODEL --data DATASET --out SYNTH -n 100000 --ray auto
    isdm sample MODEL --data DATASET --out SYNTH -n 100000 --ray 10.0.0.1:6379

One worker runs on each GPU, or on each core where there is none. A worker opens model and dataset from their
folders, paints blocks of samples, and notes each in a file of its own (`parts`), so all machines must see these
folders under the same paths. When a worker is lost, what it finished of its block counts and the rest is painted
by another; a sample depends on its number alone, so nothing is lost, doubled or different.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch

from isdm.cluster import Worker, connected, require_shared_folder, work_off
from isdm.config import SampleConfig
from isdm.data.dataset import SegmentationDataset
from isdm.errors import OutputError
from isdm.files import append_json_line
from isdm.pipeline import SemanticDiffusionPipeline
from isdm.progress import say
from isdm.synthesis.painting import Job, open_job, paint
from isdm.synthesis.parts import Parts

_RAY_UNITS = 10_000
"""Parts into which Ray divides a core."""
MOST_LOSSES = 3
"""Workers that may be lost on one block until it counts as deadly."""


class Painter(Worker):
    """A worker: its own process, with its own copy of the network. Ray makes an actor of it."""

    def __init__(
        self, config: SampleConfig, model: Path, fingerprint: str, data: Path, out: Path, photographs: Sequence[Path]
    ) -> None:
        self._config = config
        self._model, self._fingerprint, self._data, self._out = model, fingerprint, data, out
        self._photographs = photographs
        self._job: Job | None = None
        self._name = f"worker-{uuid4().hex[:12]}"  # a restarted worker never appends to a file with a cut line

    def paint(self, indices: Sequence[int]) -> None:
        """Paint these samples and note them."""
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

    def begin(worker: Any, block: Sequence[int]) -> Any:
        return worker.paint.remote(list(block))

    def finished(block: Sequence[int]) -> None:
        advance(len(block))

    def lost(block: Sequence[int], losses: int) -> Sequence[int] | None:
        done = set(parts.finished().tolist())
        left = [index for index in block if index not in done]
        advance(len(block) - len(left))
        if losses == MOST_LOSSES:
            raise OutputError(
                f"{MOST_LOSSES} workers died painting samples {block[0]} to {block[-1]}, perhaps for want of "
                f"memory; go on with a smaller --batch-size or without --ray."
            )
        say(f"A worker was lost; {len(left)} samples are painted again by another.")
        return left or None

    with connected(address) as ray:
        workers = _start(ray, painter())
        require_shared_folder(ray, workers, out)
        work_off(ray, workers, blocks, begin, finished, lost)


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
