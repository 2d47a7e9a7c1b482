"""A model trained for a moment, for stages that only need one that paints."""

from pathlib import Path

import pytest

from isdm.config import TrainConfig, build, with_preset
from isdm.data.dataset import SegmentationDataset
from isdm.training.diffusion import train


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
