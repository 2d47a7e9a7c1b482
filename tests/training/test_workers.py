"""Two processes must follow the loss curve of one with twice the batch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from isdm.config import TrainConfig, build, with_preset
from isdm.data.dataset import SegmentationDataset
from isdm.training import checkpoint
from isdm.training.diffusion import train
from isdm.training.workers import Workers


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


UNLIKE = """
import os
import sys
from pathlib import Path

import yaml

from isdm.config import TrainConfig, build, with_preset
from isdm.data.dataset import SegmentationDataset
from isdm.training import run
from isdm.training.diffusion import train

rank = int(os.environ["RANK"])
data, options, out = map(Path, sys.argv[1:])


class Clock:
    def tick(self, counters):
        counters.seconds += (1.0, 3.0)[rank]


class Told(run.Run):
    def close_trackers(self):
        super().close_trackers()
        counters = self.counters
        losses = [line["train_grid_loss"] for line in counters.metrics if "loss" not in line]
        print(f"rank {rank}:", counters.step, counters.seconds, counters.best_step, losses)

    def _loss_of_average(self, batch):
        return super()._loss_of_average(batch) * (1 if rank == 0 else self.counters.step)


run.Clock = Clock
train.__wrapped__.__globals__["Run"] = Told
train(build(TrainConfig, with_preset(yaml.safe_load(options.read_text()))), SegmentationDataset(data), out)
"""
"""A training whose second process has a faster clock and measures other losses on the grid."""


def torchrun(folder: Path, options: dict[str, Any], dataset: SegmentationDataset, out: Path) -> str:
    """Start two processes as a user would; returns what they said."""
    config = folder / "options.yaml"
    config.write_text(yaml.safe_dump(options))
    arguments = ["-m", "isdm", "train", str(dataset.folder), "--out", str(out), "--config", str(config)]
    return of_two_processes(arguments)


def of_two_processes(arguments: list[str]) -> str:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    command = [sys.executable, *launcher, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout + ran.stderr


@pytest.mark.slow
def test_two_processes_equal_one_with_twice_the_batch(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path
) -> None:
    options = small | {"learning_rate": 2e-3, "max_gradient_norm": 1.0}
    said = torchrun(tmp_path, options | {"batch_size": 2, "steps": 14}, fruit, tmp_path / "two")
    assert said.count("One step takes") == said.count("Model: ") == 1  # the first process alone speaks
    train(build(TrainConfig, with_preset(options | {"batch_size": 4, "steps": 14})), fruit, tmp_path / "one")
    assert len(losses(tmp_path / "one")) >= 2
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    one, two = (checkpoint.read_state(tmp_path / name) for name in ("one", "two"))
    assert one is not None
    assert two is not None
    assert (two["counters"]["samples"], two["counters"]["num_processes"]) == (56, 2)
    for name, value in one["ema"].items():
        assert torch.allclose(two["ema"][name], value, atol=1e-4), name


@pytest.mark.slow
def test_processes_with_other_clocks_and_losses_end_at_the_same_step(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path
) -> None:
    options = small | {"unet": small["unet"] | {"patch_size": 4}, "batch_size": 2, "steps": 50, "max_time": 3.0}
    options |= {"monitor": "grid", "grid_interval_steps": 1, "trackers": []}
    (tmp_path / "options.yaml").write_text(yaml.safe_dump(options))
    (tmp_path / "unlike.py").write_text(UNLIKE)
    paths = [tmp_path / "unlike.py", fruit.folder, tmp_path / "options.yaml", tmp_path / "model"]
    said = of_two_processes([str(path) for path in paths]).splitlines()
    first, second = ([line[8:] for line in said if line.startswith(f"rank {rank}:")] for rank in (0, 1))
    assert first == second
    assert first[0].startswith("3 3.0 ")


def test_a_single_process_needs_no_launcher() -> None:
    workers = Workers("cpu")
    network = torch.nn.Linear(1, 1)
    rows = torch.ones(2, 3)
    assert (workers.count, workers.index, workers.is_main) == (1, 0, True)
    assert workers.wrap(network) is network
    assert workers.gather(rows) is rows
    assert workers.of_first(np.array([0.1, 0.2])).tolist() == [0.1, 0.2]
