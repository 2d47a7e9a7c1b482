"""What a fine-tuning takes over from the training before it, and where it ends."""

from collections.abc import Collection, Mapping
from typing import Any

from isdm.config.training import LIMITS, FinetuneConfig

_OWN = {*LIMITS, "batch_size", "drop_rate"}
_MAY_END_EARLY = ("epochs", "max_time", "patience_steps", "stop_on_copying")


def inherited_by_finetuning(
    train: Mapping[str, Any], own: Mapping[str, Any], not_these: Collection[str] = ()
) -> dict[str, Any]:
    """Options of the training `train` that hold for a fine-tuning which has the options `own`.

    The drop rate has a default of its own, and so has the batch size, of which a smaller one is kept. Where `own`
    sets no limit, a quarter of the training's steps is one if it is known before, and else all are None (see
    `limited`). Where it sets a limit that is not in steps, the learning rate does not fall: nobody knows the step at
    which it would reach zero.
    """
    inherited = {key: value for key, value in train.items() if key not in {*_OWN, *not_these}}
    usual = FinetuneConfig.model_fields["batch_size"].default
    inherited["batch_size"] = min(usual, _count(train.get("batch_size")) or usual)
    if all(own.get(limit) is None for limit in LIMITS):
        steps = None if any(train.get(name) for name in _MAY_END_EARLY) else train.get("steps")
        inherited |= {"steps": max(1, steps // 4)} if isinstance(steps, int) else {"steps": None, "epochs": None}
    elif own.get("steps") is None:
        inherited.pop("learning_rate_decay", None)
    return inherited


def _count(value: Any) -> int | None:
    """A positive number as it stands in a file; None for what is none, which the training's own check tells."""
    try:
        count = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return count if count > 0 else None


def limited(config: FinetuneConfig, train_steps: int | None) -> FinetuneConfig:
    """With a quarter of the steps that the training made where nothing else ends it, or 20,000 epochs if unknown."""
    if any(getattr(config, limit) is not None for limit in LIMITS):
        return config
    if train_steps is not None:
        return config.model_copy(update={"steps": max(1, train_steps // 4)})
    return config.model_copy(update={"epochs": FinetuneConfig.model_fields["epochs"].default})
