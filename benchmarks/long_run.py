"""Claim: memory and file handles stay flat over 10,000 training steps and over 10,000 samples.

A minute network on fruit of 16x16 pixels, for what leaks at each step leaks the same in a wide one. Memory is what
the process holds resident. After a quarter of the way, when every cache is filled, it may grow by 8 MiB until the
end, and open files and threads not at all. The training saves every ten seconds, so that saving is repeated too.
    python benchmarks/long_run.py
"""

import argparse
import gc
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from harness import RESULTS, machine, write_result
from isdm import SegmentationDataset, import_dataset, sample, train
from isdm.config import DataConfig, SampleConfig, TrainConfig, build, with_preset
from isdm.data.builtin import write_fruit_source
from isdm.files import ASIDE_MARK
from isdm.progress import Reporter

CLAIM = "From a quarter of the way to the end memory grows by at most 8 MiB, open files and threads by none."
MOST_MIB = 8.0
NUM_READINGS = 24
NETWORK = {"base_channels": 8, "norm_groups": 4, "channel_multipliers": [1, 2], "spade_channels": 8}
NETWORK |= {"num_res_blocks": 1, "attention_downsamplings": []}
OPEN_FILES = Path("/proc/self/fd")

Reading = dict[str, float]


def reading(done: int) -> Reading:
    """What the process holds after `done` steps or samples."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "done": done,
        "resident_mib": round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 2),
        "open_files": len(list(OPEN_FILES.iterdir())),
        "threads": threading.active_count(),
        "python_objects": len(gc.get_objects()),
    }


class Watcher:
    """Reads what the process holds, again and again, where a stage counts what it has done."""

    def __init__(self, total: int) -> None:
        self.readings: list[Reading] = []
        self._total, self._done = total, 0

    def advance(self, count: int = 1, note: str = "") -> None:
        self._done += count
        if self._done % max(1, self._total // NUM_READINGS) == 0:
            self.readings.append(reading(self._done))
            print(self.readings[-1], flush=True)


def watched(module: str, stage: Callable[[], object]) -> list[Reading]:
    """The readings of a stage, taken in the place of the progress that `module` shows."""
    watchers: list[Watcher] = []

    @contextmanager
    def progress(_: str, *, total: int, **__: Any) -> Iterator[Reporter]:
        watchers.append(Watcher(total))
        yield watchers[-1]

    with patch(f"{module}.progress", progress):
        stage()
    return watchers[-1].readings


def judged(readings: list[Reading]) -> dict[str, Any]:
    """Whether the readings are flat, by medians of the second and of the last quarter."""
    quarter = len(readings) // 4

    def medians(name: str) -> tuple[float, float]:
        values = [line[name] for line in readings]
        return float(np.median(values[quarter : 2 * quarter])), float(np.median(values[-quarter:]))

    grown = {name: round(end - start, 2) for name in readings[0] if name != "done" for start, end in [medians(name)]}
    flat = grown["resident_mib"] <= MOST_MIB and grown["open_files"] <= 0 and grown["threads"] <= 0
    return {"grown": grown, "met": flat, "readings": readings[:: max(1, len(readings) // 10)]}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--steps", type=int, default=10_000)
    options.add_argument("--samples", type=int, default=10_000)
    options.add_argument("--out", type=Path, default=RESULTS / "long_run.json")
    arguments = options.parse_args()
    result: dict[str, Any] = {"claim": CLAIM, "torch": torch.__version__, "machine": machine()}
    with TemporaryDirectory() as folder:
        work = Path(folder)
        dataset = fruit(work)
        readings = watched("isdm.training.diffusion", lambda: trained(arguments.steps, dataset, work / "model"))
        result["training"] = {"steps": arguments.steps, **judged(readings)}
        write_result(arguments.out, result)
        readings = watched(
            "isdm.synthesis.generate", lambda: sampled(arguments.samples, work / "model", dataset, work / "synthetic")
        )
        result["sampling"] = {"samples": arguments.samples, **judged(readings)}
        result["temporary_files_left"] = sorted(path.name for path in work.rglob(f"*{ASIDE_MARK}*"))
    write_result(arguments.out, result)


def fruit(work: Path) -> SegmentationDataset:
    write_fruit_source(work / "source", num_fruits=12, num_views=2, size_px=16, seed=0)
    return import_dataset(build(DataConfig, {"source": work / "source", "group_by": r"(fruit\d+)"}), work / "data")


def trained(steps: int, dataset: SegmentationDataset, out: Path) -> None:
    values = {"preset": "tiny", "unet": NETWORK, "batch_size": 1, "steps": steps, "save_interval": 10}
    train(build(TrainConfig, with_preset({**values, "device": "cpu"})), dataset, out)


def sampled(count: int, model: Path, dataset: SegmentationDataset, out: Path) -> None:
    values = {"num_samples": count, "sampler": "dpmsolver++", "steps": 2, "batch_size": 16, "masks": "augmented"}
    sample(build(SampleConfig, {**values, "device": "cpu"}), model, dataset, out)


if __name__ == "__main__":
    main()
