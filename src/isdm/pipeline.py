"""SemanticDiffusionPipeline: a model folder in, pictures out."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from diffusers import DDPMScheduler, DiffusionPipeline
from numpy.typing import NDArray
from torch import Tensor

from isdm.config import Sampler, Timesteps
from isdm.data.dataset import SegmentationClass
from isdm.data.image_files import ImageArray
from isdm.data.semantic_map import semantic_map
from isdm.data.transforms import from_model_range
from isdm.diffusion.samplers import sample_images, sampling_schedule
from isdm.diffusion.schedule import linear_betas
from isdm.errors import ModelError
from isdm.files import read_json, write_json
from isdm.hardware import free_memory_bytes
from isdm.models.unet import SemanticUNet
from isdm.progress import say

FORMAT_VERSION = 1


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
    format_version: int = FORMAT_VERSION

    def write(self, folder: Path) -> None:
        """Write `isdm.json`."""
        write_json(folder / "isdm.json", asdict(self))

    @staticmethod
    def read(folder: Path) -> "ModelInfo":
        """Read `isdm.json`; a folder without it is no model."""
        if not (folder / "isdm.json").is_file() or not (folder / "unet" / "config.json").is_file():
            raise ModelError(
                f"{folder} is not a model folder (it needs isdm.json and unet/); make one with `isdm train`."
            )
        values = read_json(folder / "isdm.json")
        version = values.get("format_version")
        if not isinstance(version, int) or version > FORMAT_VERSION:
            raise ModelError(
                f"{folder}/isdm.json has format version {version}; this isdm reads up to {FORMAT_VERSION}."
            )
        try:
            classes = tuple(
                SegmentationClass(int(entry["id"]), str(entry["name"]), tuple(entry["colour"]))
                for entry in values["classes"]
            )
            height, width = values["image_size"]
            return ModelInfo(
                classes,
                int(values["channels"]),
                (int(height), int(width)),
                float(values["drop_rate"]),
                int(values["bit_depth"]),
                dict(values["trained_on"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{folder}/isdm.json lacks or misstates {error}; train the model again.") from None


def training_scheduler(num_train_timesteps: int) -> DDPMScheduler:
    """The diffusers scheduler of the training process, kept in the model folder for other tools."""
    return DDPMScheduler(
        num_train_timesteps=num_train_timesteps,
        beta_schedule="linear",
        beta_start=float(linear_betas(num_train_timesteps)[0]),
        beta_end=float(linear_betas(num_train_timesteps)[-1]),
        variance_type="learned_range",
        prediction_type="epsilon",
        clip_sample=True,
    )


def sample_generator(seed: int, index: int) -> torch.Generator:
    """The random stream of one sample, on the CPU: a picture depends on (seed, index) alone."""
    digest = hashlib.sha256(f"{seed}/{index}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


class SemanticDiffusionPipeline(DiffusionPipeline):  # type: ignore[misc]
    """A trained semantic diffusion model, ready to paint images for masks.

    Load one with `SemanticDiffusionPipeline.from_pretrained(folder)`.
    """

    unet: SemanticUNet
    scheduler: DDPMScheduler

    def __init__(self, unet: SemanticUNet, scheduler: DDPMScheduler) -> None:
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)
        self.info: ModelInfo | None = None
        self._said_over_budget = False

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], **options: Any) -> Self:
        """Load a model folder.

        Raises:
            ModelError: when the folder is not a model, or its files are damaged.
        """
        path = Path(folder)
        info = ModelInfo.read(path)
        try:
            unet = SemanticUNet.from_pretrained(path / "unet", low_cpu_mem_usage=False, **options)
            scheduler = DDPMScheduler.from_pretrained(path / "scheduler")
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(f"{path} cannot be loaded ({reason}); train the model again.") from None
        pipeline = cls(unet, scheduler)
        pipeline.info = info
        pipeline.unet.eval()
        return pipeline

    def save_pretrained(self, folder: str | os.PathLike[str], **options: Any) -> None:
        """Write the model folder, `isdm.json` included."""
        super().save_pretrained(folder, **options)
        if self.info is not None:
            self.info.write(Path(folder))

    def prepare(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Bring the network to a device and arithmetic, its weights in channels_last."""
        self.unet.to(device=device)
        if dtype != self.unet.dtype:
            torch.nn.Module.to(self.unet, dtype=dtype)
        self.unet.to(memory_format=torch.channels_last)
        return self

    @torch.no_grad()
    def __call__(
        self,
        masks: NDArray[np.integer[Any]],
        *,
        sample_indices: Sequence[int] | None = None,
        seed: int = 0,
        sampler: Sampler = "ddpm",
        num_sampling_steps: int = 300,
        timesteps: Timesteps = "respaced",
        guidance_scale: float = 1.5,
        on_step: Callable[[], None] = lambda: None,
    ) -> ImageArray:
        """Paint one image for each mask.

        Args:
            masks: (N, H, W) integer class ids; 255 is ignored (the null vector).
            sample_indices: N numbers that, with `seed`, fix each picture; 0 to N - 1 by default.
            seed: see `sample_indices`.
            sampler: method of the walk from noise to image.
            num_sampling_steps: its number of steps.
            timesteps: `respaced` or `rescaled` (see `isdm.diffusion.schedule`).
            guidance_scale: classifier-free guidance; 1 is off.
            on_step: called after every step.

        Returns:
            (N, H, W, C) uint8, or uint16 where the model paints 16 bits.
        """
        assert self.info is not None, "a pipeline made by hand needs its ModelInfo"
        check_masks(masks, self.info, self.unet.size_divisor)
        indices = range(len(masks)) if sample_indices is None else sample_indices
        generators = [sample_generator(seed, index) for index in indices]
        schedule = sampling_schedule(
            self.scheduler.config.num_train_timesteps, num_sampling_steps, sampler, timesteps
        )
        device = self.unet.device
        shape = (1, self.info.channels, *masks.shape[1:])
        x_T = torch.cat([torch.randn(shape, generator=generator) for generator in generators])  # noqa: N806
        one_hot = semantic_map(torch.from_numpy(np.asarray(masks, np.int64)), len(self.info.classes))

        budget = free_memory_bytes(device) // 4
        conditions = self.unet.conditions(channels_last(one_hot.to(device)), budget)
        null_conditions = self.unet.conditions(channels_last(torch.zeros_like(one_hot[:1]).to(device)), budget)
        images = sample_images(
            self.unet,
            conditions,
            null_conditions,
            schedule,
            sampler=sampler,
            guidance_scale=guidance_scale,
            generators=generators,
            x_T=channels_last(x_T.to(device)),
            on_step=on_step,
        )
        if conditions.over_budget and not self._said_over_budget:
            self._said_over_budget = True
            say("SPADE's gamma and beta do not all fit into a quarter of the free memory; a smaller batch is faster.")
        return from_model_range(images, self.info.bit_depth)


def channels_last(tensor: Tensor) -> Tensor:
    """The same values in the memory order that convolutions like best."""
    return tensor.contiguous(memory_format=torch.channels_last)


def check_masks(masks: NDArray[np.integer[Any]], info: ModelInfo, size_divisor: int) -> None:
    """Refuse masks that the network cannot take."""
    height, width = masks.shape[1:]
    if height % size_divisor or width % size_divisor:
        raise ModelError(
            f"Masks of {width}x{height} do not fit this network: height and width must be multiples of "
            f"{size_divisor}; import with --size."
        )
    ids = np.unique(masks)
    wrong = ids[(ids >= len(info.classes)) & (ids != 255)]
    if len(wrong):
        raise ModelError(f"Class id {wrong[0]} is not one of the model's {len(info.classes)} classes.")


def warn_of_useless_guidance(info: ModelInfo, guidance_scale: float) -> None:
    """Say so when guidance is asked of a model that never saw the null map."""
    if guidance_scale != 1 and info.drop_rate == 0:
        say(
            f"Warning: guidance {guidance_scale} asks for predictions without a mask, which this model never "
            f"learnt (drop rate 0). Fine-tune it with --drop-rate 0.2, or sample with --guidance 1."
        )
