"""Two processes must follow the loss curve of one with twice the batch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

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


def torchrun(folder: Path, options: dict[str, Any], dataset: SegmentationDataset, out: Path) -> str:
    """Start two processes as a user would; returns what they said."""
    config = folder / "options.yaml"
    config.write_text(yaml.safe_dump(options))
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "isdm")
    command = [sys.executable, *launcher, "train", str(dataset.folder), "--out", str(out), "--config", str(config)]
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


def test_a_single_process_needs_no_launcher() -> None:
    workers = Workers("cpu")
    network = torch.nn.Linear(1, 1)
    rows = torch.ones(2, 3)
    assert (workers.count, workers.index, workers.is_main) == (1, 0, True)
    assert workers.wrap(network) is network
    assert workers.gather(rows) is rows
