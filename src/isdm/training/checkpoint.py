"""What a training run keeps on disk: the monitored model, and what going on needs.

    unet/, scheduler/, model_index.json   the model of the best epoch so far (EMA weights)
    training/raw_weights.safetensors      its weights before averaging; fine-tuning starts there
    training/state.pt                     where the run stands: weights, EMA, optimiser, counters

Every file is replaced whole, the model before the state: a run that is killed in between repeats the steps
since the last state and finds the same model again.
"""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler
from safetensors.torch import save_file
from torch import Tensor

from isdm.config import read_yaml
from isdm.diffusion.schedule import REFERENCE_TIMESTEPS
from isdm.errors import ModelError
from isdm.files import sha256_of_file, write_json, write_text, write_with
from isdm.model_info import ModelInfo, training_scheduler
from isdm.models.model_files import own_file
from isdm.models.state_files import UnreadableStateError, load_plain_tensors, load_weights
from isdm.models.unet import SemanticUNet
from isdm.pipeline import SemanticDiffusionPipeline
from isdm.provenance import check_format_version

AVERAGED_WEIGHTS = Path("unet") / "diffusion_pytorch_model.safetensors"
RAW_WEIGHTS = Path("training") / "raw_weights.safetensors"
STATE = Path("training") / "state.pt"

STATE_FORMAT_VERSION = 1

_STATE_PARTS = ("weights", "ema", "optimizer", "counters")
_BEGIN_AGAIN = "remove it to begin again, from the folder's options alone"

Weights = dict[str, Tensor]


@dataclass
class Counters:
    """Where a run stands, besides its tensors."""

    step: int = 0
    samples: int = 0
    """Samples of the run's stream that all processes together have taken."""
    num_processes: int = 1
    seconds: float = 0.0
    epoch: int = 0
    epoch_losses: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Sums of loss, mse and vb over the current epoch's samples so far."""
    epoch_samples: int = 0
    best_loss: float | None = None
    best_step: int = 0
    lowest_loss: float | None = None
    """Lowest mean loss over enough samples to tell whether the training diverges."""
    metrics: list[dict[str, float]] = field(default_factory=list)
    best_held_out: list[float] | None = None
    """Loss of each held-out image on the fixed grid, when their mean was lowest."""
    best_train_loss: float | None = None
    """Loss of the training images on the grid at that time."""
    rises: int = 0
    """Measurements in a row that showed copying."""
    save_seconds: float = 0.0
    """Time spent writing checkpoints."""
    saved_bytes: int = 0
    """Bytes written for them."""


def snapshot(weights: Mapping[str, Tensor]) -> Weights:
    """Copy weights to the CPU."""
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in weights.items()}


def write_model(
    folder: Path, unet: SemanticUNet, ema: Weights, info: ModelInfo, scheduler: DDPMScheduler | None = None
) -> None:
    """Write the usable model: `ema` as the weights of a network configured like `unet`.

    `scheduler` describes the process that it was trained on, the published one unless given.
    """
    scheduler = scheduler or training_scheduler(REFERENCE_TIMESTEPS)
    index = {
        "_class_name": SemanticDiffusionPipeline.__name__,
        "scheduler": ["diffusers", "DDPMScheduler"],
        "unet": ["isdm", "SemanticUNet"],
    }
    write_with(folder / AVERAGED_WEIGHTS, lambda path: save_file(ema, path))
    write_text(folder / "unet" / "config.json", unet.to_json_string())
    write_text(folder / "scheduler" / "scheduler_config.json", scheduler.to_json_string())
    write_json(folder / "model_index.json", index)
    info.write(folder)


def write_raw_weights(folder: Path, weights: Weights) -> None:
    """Write the weights from which fine-tuning starts."""
    write_with(folder / RAW_WEIGHTS, lambda path: save_file(weights, path))


def read_raw_weights(folder: Path) -> Weights:
    """Read the weights from which fine-tuning starts; a model without them gives its EMA weights."""
    for name in (RAW_WEIGHTS, AVERAGED_WEIGHTS):
        if (folder / name).is_file():
            try:
                return load_weights(own_file(folder, name))
            except UnreadableStateError as reason:
                raise ModelError(f"{folder / name} cannot be loaded ({reason}); train the model again.") from None
    raise ModelError(f"{folder} holds no weights; train the model again.")


def check_weights(unet: SemanticUNet, weights: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights, held by `path`, that are not of this network's names and shapes.

    Raises:
        ModelError: naming one that does not fit.
    """
    own = {name: value.shape for name, value in unet.state_dict().items()}
    shapes = {name: value.shape for name, value in weights.items()}
    wrong = sorted(name for name in {*own, *shapes} if own.get(name) != shapes.get(name))
    if wrong:
        raise ModelError(
            f"{path} holds the weights of another network ({wrong[0]} does not fit); put this model's own file back, "
            f"or train the model again."
        )


def write_state(folder: Path, weights: Weights, ema: Weights, optimizer: Any, counters: Counters) -> None:
    """Write what a resumed run needs."""
    state = {
        "format_version": STATE_FORMAT_VERSION,
        "weights": weights,
        "ema": ema,
        "optimizer": optimizer.state_dict(),
        "counters": copy.deepcopy(vars(counters)),
    }
    write_with(folder / STATE, lambda path: torch.save(state, path))


def read_state(folder: Path, *, mapped: bool = False) -> dict[str, Any] | None:
    """Read what a resumed run needs, or with `mapped` what is looked at; None where the run had not saved yet.

    Raises:
        ModelError: the state is damaged, not this package's, or of a newer one.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        state = load_plain_tensors(own_file(folder, STATE), mapped=mapped)
    except UnreadableStateError as reason:
        raise ModelError(f"{path} cannot be read ({reason}); {_BEGIN_AGAIN}.") from None
    if not isinstance(state, dict) or not all(isinstance(state.get(part), dict) for part in _STATE_PARTS):
        raise ModelError(f"{path} is no state of a training run; {_BEGIN_AGAIN}.")
    check_format_version(state, path, STATE_FORMAT_VERSION, ModelError)
    unknown = sorted(str(name) for name in state["counters"] if name not in Counters.__dataclass_fields__)
    if unknown:
        raise ModelError(f"{path} counts {unknown[0]!r}, which this isdm does not know; {_BEGIN_AGAIN}.")
    return state


def steps_made(folder: Path) -> int | None:
    """Steps that a model was trained for, as far as its folder tells."""
    try:
        state = read_state(folder, mapped=True)
    except ModelError:
        state = None
    path = folder / "config.yaml"
    planned = read_yaml(path).get("steps") if path.is_file() else None
    steps = planned if state is None else state["counters"].get("step")
    return max(1, steps) if isinstance(steps, int) else None


def write_metrics(folder: Path, counters: Counters) -> None:
    """Write `metrics.jsonl`, one line an epoch."""
    write_text(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in counters.metrics))


def weights_fingerprint(folder: Path) -> str:
    """SHA-256 of the model's weights."""
    return sha256_of_file(own_file(folder, AVERAGED_WEIGHTS))


def model_bytes(folder: Path) -> int:
    """Size of the monitored model on disk: its averaged and its raw weights."""
    return sum((folder / path).stat().st_size for path in (AVERAGED_WEIGHTS, RAW_WEIGHTS))


def state_bytes(folder: Path) -> int:
    """Size on disk of what a resumed run needs."""
    return (folder / STATE).stat().st_size
