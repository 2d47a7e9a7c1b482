"""When a training run stops, and its clock."""

import math
import time
from dataclasses import dataclass

from isdm.config import TrainConfig
from isdm.errors import UsageError
from isdm.training.checkpoint import Counters

COPYING_PATIENCE = 3
"""Measurements in a row that must show copying."""


@dataclass(frozen=True)
class StopRule:
    """Limits of a run; whichever is met first ends it."""

    max_steps: int
    max_seconds: float | None
    patience_steps: int | None
    stop_on_copying: bool = False

    @staticmethod
    def of(config: TrainConfig, num_images: int, num_processes: int = 1, done: Counters | None = None) -> "StopRule":
        """Read the limits of a configuration; `done` is where the run stands.

        Epochs are counted in samples: steps made by another number of processes took others than those to come.
        """
        done = done or Counters()
        limits = [config.steps] if config.steps is not None else []
        if config.epochs is not None:
            left = max(config.epochs * num_images - done.samples, 0)
            limits.append(done.step + math.ceil(left / (config.batch_size * num_processes)))
        if not limits:
            raise UsageError("Neither steps nor epochs limits the training; give --steps or --epochs.")
        return StopRule(min(limits), config.max_time, config.patience_steps, config.stop_on_copying)

    def reason(self, counters: Counters) -> str | None:
        """Why the run is over, or None."""
        if counters.step >= self.max_steps:
            return f"all {self.max_steps:,} steps are done"
        if self.max_seconds is not None and counters.seconds >= self.max_seconds:
            return f"the time of {self.max_seconds:.0f} s is used"
        if self.patience_steps is not None and counters.step - counters.best_step >= self.patience_steps:
            return f"no better epoch for {self.patience_steps:,} steps"
        if self.stop_on_copying and counters.rises >= COPYING_PATIENCE:
            step = _lowest_held_out_step(counters)
            return f"copying sets in: since step {step:,} the loss fell on training images alone"
        return None


def _lowest_held_out_step(counters: Counters) -> int:
    """Step of the lowest held-out loss on the grid; the kept model may be another's, chosen by the epochs."""
    measured = [line for line in counters.metrics if "held_out_grid_loss" in line]
    return int(min(measured, key=lambda line: line["held_out_grid_loss"])["step"])


class Clock:
    """Adds wall time to the counters, step by step."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def tick(self, counters: Counters) -> None:
        """Add the time since the last tick."""
        now = time.monotonic()
        counters.seconds += now - self._last
        self._last = now
