"""What the monitored checkpoint saves against one kept every 10,000 steps, as the published SDM code does."""

from pathlib import Path

from isdm.progress import format_seconds
from isdm.training.checkpoint import RAW_WEIGHTS, STATE, Counters

PUBLISHED_INTERVAL_STEPS = 10_000


def checkpoint_savings(folder: Path, counters: Counters) -> str:
    """Say what is on disk, what fixed checkpoints would take, and what training past the best epoch cost.

    A published checkpoint is the weights, their average and the optimiser's two moments: four times the
    weights.
    """
    model_bytes = (folder / RAW_WEIGHTS).stat().st_size
    kept = 2 * model_bytes + (folder / STATE).stat().st_size
    num_fixed = counters.step // PUBLISHED_INTERVAL_STEPS + 1  # one at the end, whatever the interval
    fixed = 4 * model_bytes * num_fixed
    share = counters.best_step / max(counters.step, 1)
    loss = "the last, too few epochs to compare" if counters.best_loss is None else f"loss {counters.best_loss:.4f}"
    return (
        f"Kept the model of step {counters.best_step:,} ({loss}); {kept / 1e6:.0f} MB on disk against "
        f"{fixed / 1e6:.0f} MB for {num_fixed} checkpoint(s) every {PUBLISHED_INTERVAL_STEPS:,} steps. It was "
        f"reached after {format_seconds(counters.seconds * share)} of {format_seconds(counters.seconds)}."
    )
