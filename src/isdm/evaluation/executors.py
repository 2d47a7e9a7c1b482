"""Who trains the cells: this process, several on this machine, or the workers of a Ray cluster.

Cells are independent and each leaves its own file, so a worker that is lost costs the cell it was at; another takes
it up again. Workers open the datasets from their folders once each, and a cell depends on its row and seed alone.
"""

import contextlib
import multiprocessing
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from isdm.cluster import Worker, connected, require_shared_folder, work_off
from isdm.config import EvaluateConfig
from isdm.data.dataset import SegmentationDataset
from isdm.errors import IsdmError, OutputError, UsageError
from isdm.evaluation.cells import Cell, StudyData, load_study_data, run_cell
from isdm.parallel import num_cores
from isdm.progress import Reporter, progress, say

MOST_LOSSES = 3
"""Workers that may be lost on one cell until it counts as deadly."""


@dataclass(frozen=True)
class Execution:
    """Where the cells are trained."""

    jobs: int = 1
    """Processes on this machine."""
    ray: str | None = None
    """`auto` for workers on this machine, or the address of a running cluster."""
    gpu_share: float = 1.0
    """Share of a GPU that a worker of a cluster takes."""

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            UsageError: no process, a share out of range, or both kinds of workers.
        """
        if self.jobs < 1:
            raise UsageError(f"--jobs {self.jobs}: give 1 or more processes.")
        if not 0 < self.gpu_share <= 1:
            raise UsageError(f"--gpu-share {self.gpu_share}: give a share of a GPU above 0 and at most 1.")
        if self.ray is not None and self.jobs > 1:
            raise UsageError("--jobs goes with workers on this machine; with --ray the cluster decides.")


@dataclass(frozen=True)
class Work:
    """What a worker needs to know: small, for it travels."""

    config: EvaluateConfig
    dataset: Path
    synthetic: Mapping[str, Path]
    study: Path

    def data(self) -> StudyData:
        """Decode the images."""
        sets = {name: SegmentationDataset(folder) for name, folder in self.synthetic.items()}
        return load_study_data(SegmentationDataset(self.dataset), sets)


def run_cells(
    execution: Execution, work: Work, data: StudyData, missing: Sequence[Cell], cells: Sequence[Cell]
) -> None:
    """Train the missing ones of all cells.

    Raises:
        OutputError: workers die over and over on one cell, or do not see the study's folder.
        UsageError: see `isdm.cluster.connected`.
    """
    total = sum(cell.num_steps for cell in cells)
    done = total - sum(cell.num_steps for cell in missing)
    with progress("Evaluating", total=total, done=done) as bar:
        if execution.ray is not None:
            _run_on_ray(execution, work, missing, _Board(bar, len(cells), len(missing)))
        elif execution.jobs > 1:
            _run_in_processes(execution.jobs, work, missing, _Board(bar, len(cells), len(missing)))
        else:
            for number, cell in enumerate(missing, start=len(cells) - len(missing) + 1):
                note = f"cell {number}/{len(cells)}: {_name(cell)}"
                run_cell(work.config, cell, data, work.study, partial(bar.advance, note=note))


def _name(cell: Cell) -> str:
    return f"{cell.architecture}, {cell.slug.rsplit('_', 1)[0]}, repeat {cell.repeat + 1}"


class _Board:
    """What is shown of cells that others train."""

    def __init__(self, bar: Reporter, num_cells: int, num_missing: int) -> None:
        self._bar, self._num_cells, self._finished = bar, num_cells, num_cells - num_missing

    def finished(self, cell: Cell) -> None:
        self._finished += 1
        self._bar.advance(cell.num_steps, note=f"cell {self._finished}/{self._num_cells}: {_name(cell)}")


def _lost(cell: Cell, losses: int, remedy: str) -> None:
    """Say that a cell's worker was lost.

    Raises:
        OutputError: it has cost too many.
    """
    if losses == MOST_LOSSES:
        raise OutputError(
            f"{MOST_LOSSES} workers died training {_name(cell)}, perhaps for want of memory; {remedy}. "
            f"Finished cells are kept."
        )
    say(f"A worker was lost; {_name(cell)} is trained again by another.")


# --- processes on this machine ---------------------------------------------------------------------------------


def _serve(work: Work, num_threads: int, pipe: Connection) -> None:
    """What a worker process does: one cell after another until it is told to stop, or nobody is there to tell.

    A terminal sends Ctrl-C to all; the first process decides and ends the others.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(num_threads)
    data: StudyData | None = None
    with contextlib.suppress(EOFError, ConnectionError):
        while (cell := pipe.recv()) is not None:
            try:
                data = data or work.data()
                run_cell(work.config, cell, data, work.study, lambda: None)
            except (IsdmError, OSError) as error:
                pipe.send(error)
            else:
                pipe.send(None)


def _run_in_processes(jobs: int, work: Work, missing: Sequence[Cell], board: _Board) -> None:
    context = multiprocessing.get_context("spawn")
    num_threads = max(1, num_cores() // jobs)
    waiting = deque((cell, 0) for cell in missing)
    running: dict[Connection, tuple[Any, Cell, int]] = {}
    processes = []

    def start(process: Any = None, pipe: Connection | None = None) -> None:
        """Give the next cell to a worker, to a new one unless given."""
        cell, losses = waiting.popleft()
        if process is None or pipe is None:
            pipe, other_end = context.Pipe()
            process = context.Process(target=_serve, args=(work, num_threads, other_end), daemon=True)
            process.start()
            processes.append(process)
            other_end.close()
        pipe.send(cell)
        running[pipe] = (process, cell, losses)

    try:
        for _ in range(min(jobs, len(missing))):
            start()
        while running:
            for pipe in wait(list(running)):
                assert isinstance(pipe, Connection)
                process, cell, losses = running.pop(pipe)
                try:
                    error = pipe.recv()
                except (EOFError, ConnectionResetError):
                    process.join()
                    _lost(cell, losses + 1, "go on with fewer --jobs or a smaller batch_size")
                    waiting.append((cell, losses + 1))
                    start()
                    continue
                if error is not None:
                    raise error
                board.finished(cell)
                if waiting:
                    start(process, pipe)
                else:
                    pipe.send(None)
    finally:
        for process, _, _ in running.values():
            process.terminate()
        for process in processes:
            process.join()


# --- Ray ---------------------------------------------------------------------------------------------------------


class Trainer(Worker):
    """A worker: its own process with its own copy of the decoded images. Ray makes an actor of it."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._data: StudyData | None = None

    def train(self, cell: Cell) -> None:
        """Train a cell and keep its result."""
        if self._data is None:
            if not torch.cuda.is_available():
                torch.set_num_threads(1)
            self._data = self._work.data()
        run_cell(self._work.config, cell, self._data, self._work.study, lambda: None)


def _run_on_ray(execution: Execution, work: Work, missing: Sequence[Cell], board: _Board) -> None:
    assert execution.ray is not None

    def begin(worker: Any, cell: Cell) -> Any:
        return worker.train.remote(cell)

    def lost(cell: Cell, losses: int) -> Cell:
        _lost(cell, losses, "go on with a smaller batch_size or without --ray")
        return cell

    with connected(execution.ray) as ray:
        trainers = _start(ray, work, execution.gpu_share, len(missing))
        require_shared_folder(ray, trainers, work.study)
        work_off(ray, trainers, missing, begin, board.finished, lost)


def _start(ray: Any, work: Work, gpu_share: float, most: int) -> list[Any]:
    resources = ray.cluster_resources()
    num_gpus, num_cpus = int(resources.get("GPU", 0)), max(1, int(resources.get("CPU", 1)))
    share: dict[str, float] = {"num_cpus": 1}
    num_workers = min(num_cpus, most)
    if num_gpus:
        share["num_gpus"] = gpu_share
        num_workers = min(num_workers, num_gpus * int(1 / gpu_share))  # one more would wait for a CPU for ever
    say(f"{num_workers} workers train cells.")
    actor = ray.remote(Trainer).options(max_restarts=-1, **share)
    return [actor.remote(work) for _ in range(num_workers)]
