"""Segmenters that train in seconds, for studies in tests."""

from typing import Any

QUICK: dict[str, Any] = {
    "epochs": 1,
    "encoder": "resnet18",
    "encoder_weights": "none",
    "batch_size": 8,
    "precision": "float32",
    "device": "cpu",
}
"""Options of `EvaluateConfig`."""
