"""What a run watches: the mean loss of its epochs, and the loss on a fixed grid of images, steps and noise.

The loss of a sample depends above all on its step t and its noise; on a fixed grid of both, with the averaged
weights, two measurements differ by the network alone. Measured on training images and on images held out from
the gradient, it also shows when a model begins to copy: from then on only the first falls.
"""

import math
from collections.abc import Callable
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isdm.config import TrainConfig
from isdm.pipeline import within_memory
from isdm.training.batches import Batch, TrainingImages
from isdm.training.checkpoint import Counters
from isdm.training.geometry import NUM_LABELS
from isdm.training.randomness import grid_choice, grid_noise

GRID_IMAGES = 32
GRID_STEPS = 8
DIVERGENCE = 10.0
"""Times its lowest value that the mean loss may rise to."""
DIVERGENCE_SAMPLES = 1000
"""Samples, at the least, that this mean is over: in a healthy run that of few varies as much by the draw of t."""

LossOf = Callable[[Batch], Tensor]
"""The loss (B,) of the averaged weights on a batch."""


def count_samples(counters: Counters, rows: list[list[float]], num_images: int, monitor_samples: int) -> float | None:
    """Add samples (loss, mse, vb) to their epochs.

    Returns:
        Where an epoch ended: the mean loss over the last epochs that hold `monitor_samples`, or infinity as long
        as there are fewer (the mean of those is a matter of luck). Else None.

    Raises:
        FloatingPointError: an epoch's mean loss is not finite.
    """
    monitored = None
    for row in rows:
        counters.epoch_losses = [a + b for a, b in zip(counters.epoch_losses, row, strict=True)]
        counters.epoch_samples += 1
        if counters.epoch_samples == num_images:
            monitored = _end_epoch(counters, -(-monitor_samples // num_images))
    return monitored


def _end_epoch(counters: Counters, window: int) -> float:
    loss, mse, vb = (total / counters.epoch_samples for total in counters.epoch_losses)
    if not math.isfinite(loss):
        raise FloatingPointError(f"The loss became {loss} in epoch {counters.epoch}")
    recent = [*_recent_losses(counters, window - 1), loss]
    monitored = sum(recent) / len(recent)
    counters.metrics.append(
        {
            "epoch": counters.epoch,
            "step": counters.step,
            "loss": loss,
            "monitored": monitored,
            "mse": mse,
            "vb": vb,
            "seconds": round(counters.seconds, 2),
        }
    )
    counters.epoch += 1
    counters.epoch_losses, counters.epoch_samples = [0.0, 0.0, 0.0], 0
    return monitored if len(recent) == window else math.inf


def _recent_losses(counters: Counters, num_epochs: int) -> list[float]:
    """Mean losses of the last epochs, the oldest first."""
    latest_first = (line["loss"] for line in reversed(counters.metrics) if "loss" in line)
    return list(islice(latest_first, num_epochs))[::-1]


def divergence(counters: Counters, num_images: int) -> tuple[float, float] | None:
    """After an epoch, the lowest mean loss so far and the present one, if the training diverges; else None."""
    window = -(-DIVERGENCE_SAMPLES // num_images)
    recent = _recent_losses(counters, window)
    if len(recent) < window:
        return None
    mean = sum(recent) / window
    if counters.lowest_loss is None or mean < counters.lowest_loss:
        counters.lowest_loss = mean
    return (counters.lowest_loss, mean) if 0 < DIVERGENCE * counters.lowest_loss < mean else None


class Grid:
    """Every chosen image at every chosen step, with noise that never changes.

    Place p of it is image p // 8 at step p % 8. A batch of places is put together when it is measured: a map of many
    classes is far larger than its picture.
    """

    def __init__(self, images: TrainingImages, chosen: list[int], config: TrainConfig) -> None:
        self.images, self.chosen, self.seed = images, chosen, config.seed
        self.steps = [int((place + 0.5) * config.num_train_timesteps / GRID_STEPS) for place in range(GRID_STEPS)]
        self._fitting: int | None = None  # places that memory suffices for at a time, where it did not for more

    def __len__(self) -> int:
        return len(self.chosen) * GRID_STEPS

    def batch(self, start: int, stop: int) -> Batch:
        """Places `start` to `stop`."""
        places = [divmod(place, GRID_STEPS) for place in range(start, stop)]
        rows, steps = [self.chosen[row] for row, _ in places], [self.steps[column] for _, column in places]
        shape = self.images.image_shape
        noise = [grid_noise(self.seed, row, step, shape) for row, step in zip(rows, steps, strict=True)]
        return Batch(
            self.images.x_start(rows),
            self.images.semantic_maps(rows),
            torch.tensor(steps),
            torch.from_numpy(np.stack(noise)),
            torch.zeros(len(rows), NUM_LABELS),
        )

    def losses(self, loss_of: LossOf, batch_size: int) -> NDArray[np.float64]:
        """Mean loss (M,) of each image over the steps, measured `batch_size` places at a time or fewer."""
        size = min(batch_size, self._fitting or batch_size)

        def measured(start: int, stop: int) -> Tensor:
            return loss_of(self.batch(start, stop)).double().cpu()

        of_places, fitting = within_memory(measured, len(self), size, done="measured")
        if fitting < min(size, len(self)):
            self._fitting = fitting
        of_images: NDArray[np.float64] = of_places.numpy().reshape(len(self.chosen), GRID_STEPS).mean(axis=1)
        return of_images


def make_grid(images: TrainingImages, config: TrainConfig) -> Grid | None:
    """Up to 32 images at 8 steps, one in the middle of each eighth of the process; None without images."""
    chosen = grid_choice(config.seed, len(images), GRID_IMAGES).tolist()
    return Grid(images, chosen, config) if chosen else None


def judge_grid(counters: Counters, train: NDArray[np.float64], held_out: NDArray[np.float64] | None) -> float:
    """Record a measurement and watch for copying; returns the loss that a checkpoint is chosen by.

    Copying shows when the held-out loss lies above its lowest by more than two standard errors of the paired
    difference over images, while the training loss lies below what it was then.
    """
    line: dict[str, float] = {"step": counters.step, "train_grid_loss": float(train.mean())}
    counters.metrics.append(line)
    if held_out is None:
        return float(train.mean())
    line["held_out_grid_loss"] = float(held_out.mean())
    if counters.best_held_out is None or held_out.mean() < np.mean(counters.best_held_out):
        counters.best_held_out, counters.best_train_loss = held_out.tolist(), float(train.mean())
        counters.rises = 0
        return float(held_out.mean())
    assert counters.best_train_loss is not None
    rise = held_out - np.asarray(counters.best_held_out)
    standard_error = rise.std(ddof=1) / math.sqrt(len(rise)) if len(rise) > 1 else 0.0
    copies = rise.mean() > 2 * standard_error and train.mean() < counters.best_train_loss
    counters.rises = counters.rises + 1 if copies else 0
    return float(held_out.mean())
