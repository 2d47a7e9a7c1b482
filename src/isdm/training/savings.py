"""What the monitored checkpoint saves against one kept every 10,000 steps, as the published SDM code does."""

from pathlib import Path

from isdm.progress import format_seconds
from isdm.training.checkpoint import RAW_WEIGHTS, Counters, model_bytes, state_bytes

PUBLISHED_INTERVAL_STEPS = 10_000


def checkpoint_savings(folder: Path, counters: Counters) -> str:
    """Say which model was kept, and what its disk space and writing time are against fixed checkpoints.

    A published checkpoint is the weights, their average and the optimiser's two moments: four times the
    weights. The time to write those is reckoned from the speed at which this run wrote its own.
    """
    weights_bytes = (folder / RAW_WEIGHTS).stat().st_size
    num_fixed = counters.step // PUBLISHED_INTERVAL_STEPS + 1  # one at the end, whatever the interval
    fixed_bytes = 4 * weights_bytes * num_fixed
    fixed_seconds = counters.save_seconds * fixed_bytes / max(counters.saved_bytes, 1)
    kept_bytes = model_bytes(folder) + state_bytes(folder)
    loss = "the last, too few epochs to compare"
    if counters.best_loss is not None:
        loss = f"monitored loss {counters.best_loss:.4f}"
    return (
        f"Kept the model of step {counters.best_step:,} ({loss}).\n"
        f"Checkpoints: {kept_bytes / 1e6:.0f} MB on disk, {format_seconds(counters.save_seconds)} of writing; one "
        f"every {PUBLISHED_INTERVAL_STEPS:,} steps would be {num_fixed} of {fixed_bytes / num_fixed / 1e6:.0f} MB, "
        f"{fixed_bytes / 1e6:.0f} MB in all, {format_seconds(fixed_seconds)} of writing."
    )
