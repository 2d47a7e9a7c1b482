"""Fixtures for all tests: no network, few threads, small data."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers are compared with this process: sums differ by the threads

import pytest
import torch

from isdm.config import DataConfig, TrainConfig, build, with_preset
from isdm.data.builtin import write_fruit_source
from isdm.data.dataset import SegmentationDataset
from isdm.data.importing import import_dataset
from isdm.training.diffusion import train

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def sdm_reference() -> Path:
    """Reference vectors of the published SDM, where they are."""
    folder = SHARED / "reference" / "sdm"
    if not folder.is_dir():
        pytest.skip("the published SDM's reference vectors are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def magnetic_tiles() -> Path:
    """The magnetic tile photographs, where they are."""
    folder = SHARED / "data" / "magnetic-tile"
    if not folder.is_dir():
        pytest.skip("the magnetic tile photographs are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def fruit(tmp_path_factory: pytest.TempPathFactory) -> SegmentationDataset:
    """A small fruit dataset of 32x32 images: 12 fruits from 2 sides."""
    folder = tmp_path_factory.mktemp("fruit")
    write_fruit_source(folder / "source", num_fruits=12, num_views=2, size_px=32, seed=0)
    config = build(DataConfig, {"source": folder / "source", "group_by": r"(fruit\d+)"})
    return import_dataset(config, folder / "data")


@pytest.fixture(scope="session")
def model(fruit: SegmentationDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder; its pictures are noise with a hint of fruit."""
    values = {
        "preset": "tiny",
        "unet": {"base_channels": 16, "norm_groups": 4, "channel_multipliers": [1, 2], "spade_channels": 8},
        "batch_size": 8,
        "learning_rate": 2e-3,
        "steps": 30,
        "precision": "float32",
        "device": "cpu",
    }
    folder = tmp_path_factory.mktemp("trained") / "model"
    train(build(TrainConfig, with_preset(values)), fruit, folder)
    return folder


@pytest.fixture(scope="session")
def aside_of_dead_process() -> Callable[[Path], Path]:
    """Gives the temporary path that a process which no longer lives would have used for a file or folder."""
    script = "from pathlib import Path\nfrom isdm.files import written_aside\nwith written_aside(Path('x')) as a:\n"
    script += "    print(a.name.removesuffix('x'), flush=True)\n    import os; os._exit(0)"
    named = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return lambda path: path.with_name(named.stdout.strip() + path.name)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small networks are fastest on one thread, and parallel tests do not fight for the cores."""
    torch.set_num_threads(1)
