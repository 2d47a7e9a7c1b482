"""A training diverges when its loss rises, not when one sample of few is drawn at a costly step."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isdm.config import TrainConfig, build, with_preset
from isdm.data.dataset import SegmentationDataset
from isdm.diffusion.process import HybridLoss
from isdm.errors import ModelError
from isdm.training import run
from isdm.training.checkpoint import AVERAGED_WEIGHTS, Counters
from isdm.training.diffusion import train
from isdm.training.monitor import DIVERGENCE_SAMPLES, count_samples, divergence
from isdm.training.randomness import epoch_steps

LOSS_OF_STEP = np.where(np.arange(1000) < 2, 4.0, 0.03)
"""Of a trained network: the likelihood's bits in the first steps, next to nothing elsewhere."""


def watch(losses: np.ndarray[Any, Any], num_images: int, counters: Counters) -> list[tuple[float, float]]:
    """Rises that are found in the losses (E, N) of epochs."""
    found = []
    for epoch in losses:
        count_samples(counters, [[loss, loss, 0.0] for loss in epoch], num_images, monitor_samples=1)
        rise = divergence(counters, num_images)
        found += [] if rise is None else [rise]
    return found


@pytest.mark.parametrize("num_images", [1, 3, 20])
def test_few_images_of_a_healthy_run_are_no_divergence(num_images: int) -> None:
    epochs = 4000 // num_images
    for seed in range(2):
        counters = Counters()
        steps = np.stack([epoch_steps(seed, epoch, num_images, 1000) for epoch in range(epochs)])
        assert watch(LOSS_OF_STEP[steps], num_images, counters) == []
        epoch_losses = [line["loss"] for line in counters.metrics]
        assert max(epoch_losses) > 6 * min(epoch_losses), "which a single epoch's mean would have told as one"


@pytest.mark.parametrize("num_images", [1, 7, 1000, 3000])
def test_a_rise_is_found_whatever_the_number_of_images(num_images: int) -> None:
    epochs = -(-DIVERGENCE_SAMPLES // num_images)
    losses = np.concatenate([np.full((epochs, num_images), 0.1), np.full((epochs, num_images), 1.5)])
    found = watch(losses, num_images, Counters())
    assert found[-1] == pytest.approx((0.1, 1.5))


def test_a_training_that_diverges_ends_and_keeps_its_best_model(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unet = small["unet"] | {"base_channels": 8, "channel_multipliers": [1], "patch_size": 4}
    options = small | {"unet": unet, "batch_size": 64, "monitor_samples": 1, "steps": 60, "epochs": None}
    real, passes = run.hybrid_loss, []

    def rises(*inputs: Any) -> HybridLoss:
        passes.append(1)
        losses = real(*inputs)
        factor = 1.0 if len(passes) < 20 else 100.0
        return HybridLoss(factor * losses.mse, factor * losses.vb)

    monkeypatch.setattr(run, "hybrid_loss", rises)
    with pytest.raises(ModelError, match=r"the training diverges. The model of step 1?\d is kept"):
        train(build(TrainConfig, with_preset(options)), fruit, tmp_path / "model")
    assert len(passes) < 60
    assert (tmp_path / "model" / "unet" / "diffusion_pytorch_model.safetensors").is_file()


@pytest.mark.parametrize(("healthy", "told"), [(0, "no model was kept yet"), (12, r"the model of step \d+ is kept")])
def test_a_training_whose_gradients_are_no_numbers_keeps_its_best_model(
    fruit: SegmentationDataset,
    small: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    healthy: int,
    told: str,
) -> None:
    """Also one that it had not written yet, as the next save was minutes away."""
    real = run.Run._update

    def no_numbers(training: run.Run) -> None:
        if training.counters.step >= healthy:
            next(training.unet.parameters()).grad = torch.full_like(next(training.unet.parameters()), torch.nan)
        real(training)

    monkeypatch.setattr(run.Run, "_update", no_numbers)
    options = small | {"unet": small["unet"] | {"patch_size": 4}, "steps": 40, "monitor_samples": 1}
    with pytest.raises(ModelError, match=f"6 steps in a row are no numbers, up to step {healthy + 6}; {told}"):
        train(build(TrainConfig, with_preset(options)), fruit, tmp_path / "model")
    assert (tmp_path / "model" / AVERAGED_WEIGHTS).is_file() == bool(healthy)
