"""What a model folder says of itself: classes, images, the process it was trained on; and what fits it."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import DDPMScheduler
from numpy.typing import NDArray

from isdm.config import NoiseScheduleName, Prediction
from isdm.data.dataset import KINDS, SegmentationClass, read_classes
from isdm.diffusion.schedule import named_betas
from isdm.errors import ModelError
from isdm.files import write_json
from isdm.model_folder import check_model_folder
from isdm.models.model_files import read_settings
from isdm.progress import say
from isdm.provenance import check_format_version

FORMAT_VERSION = 1

BETA_SCHEDULES: dict[NoiseScheduleName, str] = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
PREDICTION_TYPES: dict[Prediction, str] = {"eps": "epsilon", "v": "v_prediction"}
"""Our names and those of diffusers, in which the model folder keeps them."""


@dataclass(frozen=True)
class ModelInfo:
    """What `isdm.json` holds: what the network paints and what it was trained on."""

    classes: tuple[SegmentationClass, ...]
    channels: int
    image_size: tuple[int, int]
    """Height and width of the training images."""
    drop_rate: float
    """Largest rate at which the mask was dropped in training; guidance needs more than 0."""
    bit_depth: int = 8
    trained_on: dict[str, Any] = field(default_factory=dict)
    """Dataset name, number of training images, fingerprint of the training split."""
    instances: bool = False
    """Whether the network also reads the borders between objects of one class."""
    format_version: int = FORMAT_VERSION

    @property
    def num_map_channels(self) -> int:
        """Channels of the semantic map: one a class, and the borders."""
        return len(self.classes) + self.instances

    def write(self, folder: Path) -> None:
        """Write `isdm.json`."""
        write_json(folder / "isdm.json", asdict(self))

    @staticmethod
    def read(folder: Path) -> "ModelInfo":
        """Read `isdm.json`; a folder without it is no model."""
        check_model_folder(folder)
        values = read_settings(folder, "isdm.json")
        check_format_version(values, folder / "isdm.json", FORMAT_VERSION, ModelError)
        try:
            classes = read_classes(values["classes"])
            height, width = values["image_size"]
            info = ModelInfo(
                classes,
                int(values["channels"]),
                (int(height), int(width)),
                float(values["drop_rate"]),
                int(values["bit_depth"]),
                dict(values["trained_on"]),
                bool(values.get("instances", False)),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ModelError(f"{folder}/isdm.json lacks or misstates {error}; train the model again.") from None
        if (
            (info.channels, info.bit_depth) not in KINDS
            or not min(info.image_size) > 0
            or not 0 <= info.drop_rate <= 1
        ):
            raise ModelError(
                f"{folder}/isdm.json speaks of images of {info.image_size}, {info.channels} channels and "
                f"{info.bit_depth} bits, drop rate {info.drop_rate}: isdm trains no such model; train it again."
            )
        return info


def training_scheduler(
    num_train_timesteps: int, noise_schedule: NoiseScheduleName = "linear", prediction: Prediction = "eps"
) -> DDPMScheduler:
    """The diffusers scheduler of the training process, kept in the model folder for sampling and for other tools."""
    betas = named_betas(noise_schedule, num_train_timesteps)
    return DDPMScheduler(
        num_train_timesteps=num_train_timesteps,
        beta_schedule=BETA_SCHEDULES[noise_schedule],
        beta_start=float(betas[0]),
        beta_end=float(betas[-1]),
        variance_type="learned_range",
        prediction_type=PREDICTION_TYPES[prediction],
        clip_sample=True,
    )


def trained_process(scheduler: DDPMScheduler) -> tuple[NoiseScheduleName, Prediction]:
    """Read back which process `training_scheduler` wrote, and what the network predicts in it.

    Raises:
        ModelError: the scheduler describes a process that this package does not train.
    """
    beta_schedule, prediction_type = scheduler.config.beta_schedule, scheduler.config.prediction_type
    names = [ours for ours, theirs in BETA_SCHEDULES.items() if theirs == beta_schedule]
    predictions = [ours for ours, theirs in PREDICTION_TYPES.items() if theirs == prediction_type]
    if not names or not predictions:
        raise ModelError(
            f"scheduler_config.json has beta_schedule {beta_schedule!r} and prediction_type {prediction_type!r}; "
            f"isdm samples {' or '.join(BETA_SCHEDULES.values())} with {' or '.join(PREDICTION_TYPES.values())}: "
            f"train the model again."
        )
    return names[0], predictions[0]


def check_masks(masks: NDArray[np.integer[Any]], info: ModelInfo) -> None:
    """Refuse masks that the network cannot take.

    Raises:
        ModelError: they are not (N, H, W) whole numbers, are empty, or hold an id that is none of the model's.
    """
    if getattr(masks, "ndim", None) != 3:
        form = f"of shape {tuple(masks.shape)}" if hasattr(masks, "shape") else f"as a {type(masks).__name__}"
        raise ModelError(f"Masks {form} are not (N, H, W); stack them: np.stack([np.asarray(mask), …]).")
    if 0 in masks.shape:
        raise ModelError(f"Masks of shape {tuple(masks.shape)} hold no pixel; give one mask at least.")
    ids = np.unique(masks)
    if ids.dtype.kind not in "iub":
        raise ModelError(f"Masks of {ids.dtype} numbers are not class ids; give whole numbers, such as uint8.")
    wrong = ids[((ids >= len(info.classes)) & (ids != 255)) | (ids < 0)]
    if len(wrong):
        raise ModelError(f"Class id {wrong[0]} is not one of the model's {len(info.classes)} classes.")


def check_instances(
    instances: NDArray[np.integer[Any]] | None, masks: NDArray[np.integer[Any]], info: ModelInfo
) -> None:
    """Refuse instance maps that do not fit the masks, or that the network does not read, or that it lacks."""
    if instances is None and info.instances:
        raise ModelError("This model was trained with instance maps; give those of the masks with instances=….")
    if instances is not None and not info.instances:
        raise ModelError("This model was trained without instance maps; leave instances out.")
    if instances is not None and instances.shape != masks.shape:
        raise ModelError(f"Instance maps of shape {instances.shape} do not fit masks of shape {masks.shape}.")


def warn_of_useless_guidance(info: ModelInfo, guidance_scale: float) -> None:
    """Say so when guidance is asked of a model that never saw the null map."""
    if guidance_scale != 1 and info.drop_rate == 0:
        say(
            f"Warning: guidance {guidance_scale} asks for predictions without a mask, which this model never "
            f"learnt (drop rate 0). Fine-tune it with --drop-rate 0.2, or sample with --guidance 1."
        )
