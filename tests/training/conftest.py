"""A training small enough to be run many times."""

from typing import Any

import pytest


@pytest.fixture
def small() -> dict[str, Any]:
    """Options of a tiny float32 training on the CPU."""
    return {
        "preset": "tiny",
        "unet": {
            "base_channels": 16,
            "norm_groups": 4,
            "channel_multipliers": [1, 2],
            "spade_channels": 8,
            "attention_downsamplings": [2],
        },
        "batch_size": 4,
        "precision": "float32",
        "device": "cpu",
        "seed": 3,
    }
