"""SemanticDiffusionPipeline: a model folder in, pictures out."""

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import numpy as np
import torch
from accelerate.utils.memory import should_reduce_batch_size
from diffusers import DDPMScheduler, DiffusionPipeline
from numpy.typing import NDArray
from torch import Tensor

from isdm.config import Sampler, Timesteps
from isdm.data.image_files import ImageArray
from isdm.data.semantic_map import semantic_map
from isdm.data.transforms import from_model_range, to_model_range
from isdm.diffusion.guidance import Denoiser
from isdm.diffusion.samplers import Known, sample_images, sampling_schedule
from isdm.errors import ModelError
from isdm.hardware import free_memory_bytes, select_memory_format
from isdm.model_info import ModelInfo, check_instances, check_masks, trained_process
from isdm.models.model_files import check_scheduler, check_unet
from isdm.models.spade import Conditions
from isdm.models.unet import SemanticUNet
from isdm.progress import say

_LOCAL_AND_PLAIN = {"low_cpu_mem_usage": False, "use_safetensors": True, "local_files_only": True}


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
        self._memory_format = torch.contiguous_format
        self._denoiser: Denoiser = unet
        self._null: dict[tuple[Any, ...], Conditions] = {}
        self._fitting: dict[tuple[int, ...], int] = {}
        """Pictures of a size that memory suffices for at a time, where it did not for more."""
        self._said_over_budget = False

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], **options: Any) -> Self:
        """Load a model folder; no code in it is ever run, and nothing is fetched.

        Raises:
            ModelError: when the folder is not a model, or its files are damaged.
        """
        path = Path(folder)
        info = ModelInfo.read(path)
        check_unet(path)
        settings = check_scheduler(path)
        try:
            unet = SemanticUNet.from_pretrained(path / "unet", **_LOCAL_AND_PLAIN, **options)
            scheduler = DDPMScheduler.from_config(settings)
        except (OSError, ValueError, RuntimeError, TypeError, NotImplementedError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ModelError(f"{path} cannot be loaded ({reason}); train the model again.") from None
        trained_process(scheduler)  # refuses here what could only be sampled wrongly
        if unet.config.num_classes != info.num_map_channels:
            raise ModelError(
                f"{path}: the network reads maps of {unet.config.num_classes} channels but isdm.json speaks of "
                f"{info.num_map_channels}; train the model again."
            )
        if unet.config.in_channels != info.channels:
            raise ModelError(
                f"{path}: the network paints {unet.config.in_channels} channels but isdm.json speaks of "
                f"{info.channels}; train the model again."
            )
        pipeline = cls(unet, scheduler)
        pipeline.info = info
        pipeline.unet.eval()
        return pipeline

    def save_pretrained(self, folder: str | os.PathLike[str], **options: Any) -> None:
        """Write the model folder, `isdm.json` included."""
        super().save_pretrained(folder, **options)
        if self.info is not None:
            self.info.write(Path(folder))

    def prepare(self, device: torch.device, dtype: torch.dtype, compile_network: bool = False) -> Self:
        """Bring the network to a device and arithmetic, its weights in the order that suits them; returns itself.

        Args:
            device: see `isdm.hardware.select_device`.
            dtype: float32 or bfloat16.
            compile_network: compile both halves of the network at their first use.
        """
        self.unet.to(device=device)
        if dtype != self.unet.dtype:
            torch.nn.Module.to(self.unet, dtype=dtype)
        self._memory_format = select_memory_format(device, dtype)
        self.unet.to(memory_format=self._memory_format)
        self._null.clear()
        self._fitting.clear()
        self._denoiser = _compiled_halves(self.unet) if compile_network else self.unet
        return self

    @torch.no_grad()
    def __call__(
        self,
        masks: NDArray[np.integer[Any]],
        *,
        instances: NDArray[np.integer[Any]] | None = None,
        backgrounds: ImageArray | None = None,
        painted: NDArray[np.floating[Any]] | None = None,
        sample_indices: Sequence[int] | None = None,
        seed: int = 0,
        sampler: Sampler = "ddpm",
        num_sampling_steps: int = 300,
        timesteps: Timesteps = "respaced",
        guidance_scale: float = 1.5,
        guidance_interval: tuple[float, float] = (0.0, 1000.0),
        on_step: Callable[[], None] = lambda: None,
        on_prediction: Callable[[int, Tensor], None] | None = None,
    ) -> ImageArray:
        """Paint one image for each mask.

        Args:
            masks: (N, H, W) integer class ids; 255 is ignored (the null vector).
            instances: (N, H, W) ids of objects, for a model trained with instance maps and only for one.
            backgrounds: (N, H, W, C) uint8 or uint16 pictures to paint into, instead of whole new ones.
            painted: (N, H, W) in [0, 1], given with `backgrounds`: 1 where to paint, 0 where to keep.
            sample_indices: N numbers that, with `seed`, fix each picture; 0 to N - 1 by default.
            seed: see `sample_indices`.
            sampler: method of the walk from noise to image.
            num_sampling_steps: its number of steps.
            timesteps: `respaced` or `rescaled` (see `isdm.diffusion.schedule`).
            guidance_scale: classifier-free guidance; 1 is off.
            guidance_interval: guide only at t within, on the scale of 1000; elsewhere one pass is made.
            on_step: called after every step.
            on_prediction: called in every step with the number of the first of some pictures and those pictures
                as they stand: (n, C, H, W) float32 in [-1, 1] on the network's device.

        Returns:
            (N, H, W, C) uint8, or uint16 where the model paints 16 bits. Where `painted` is 0 they are the
            backgrounds' own values.

        Raises:
            ModelError: the masks, instance maps or backgrounds are not what the network reads.
        """
        assert self.info is not None, "a pipeline made by hand needs its ModelInfo"
        check_masks(masks, self.info)
        check_instances(instances, masks, self.info)
        assert (backgrounds is None) == (painted is None), "backgrounds and painted go together"
        known_images = None if backgrounds is None else self._known_images(backgrounds, masks)
        channels = self.info.channels
        indices = list(range(len(masks)) if sample_indices is None else sample_indices)
        noise_schedule, prediction = trained_process(self.scheduler)
        schedule = sampling_schedule(
            self.scheduler.config.num_train_timesteps, num_sampling_steps, sampler, timesteps, noise_schedule
        )

        def paint(start: int, stop: int) -> Tensor:
            maps = self._semantic_maps(masks[start:stop], None if instances is None else instances[start:stop])
            generators = [sample_generator(seed, index) for index in indices[start:stop]]
            shape = (1, channels, *masks.shape[1:])
            x_T = torch.cat([torch.randn(shape, generator=generator) for generator in generators])  # noqa: N806
            null_conditions = self._null_conditions(maps[:1])
            conditions = self.unet.conditions(maps, self._budget_bytes())
            images = sample_images(
                self._denoiser,
                conditions,
                null_conditions,
                schedule,
                sampler=sampler,
                guidance_scale=guidance_scale,
                generators=generators,
                x_T=x_T.to(self.unet.device).contiguous(memory_format=self._memory_format),
                prediction=prediction,
                guidance_interval=guidance_interval,
                known=None if known_images is None else self._known(known_images, painted, slice(start, stop)),
                on_step=on_step,
                **({} if on_prediction is None else {"on_prediction": partial(on_prediction, start)}),
            )
            self._say_once_if_over_budget(conditions)
            refuse_no_numbers(images, indices[start:stop])
            return images

        size = masks.shape[1:]
        images, fitting = within_memory(paint, len(masks), self._fitting.get(size))
        if fitting < len(masks):
            self._fitting[size] = fitting
        return from_model_range(images, self.info.bit_depth)

    def _known_images(self, backgrounds: ImageArray, masks: NDArray[np.integer[Any]]) -> Tensor:
        """Backgrounds (N, H, W, C) as the network sees images: (N, C, H, W) in [-1, 1]."""
        assert self.info is not None
        expected = (*masks.shape, self.info.channels)
        bits = 8 * backgrounds.dtype.itemsize
        if backgrounds.shape != expected or bits != self.info.bit_depth:
            raise ModelError(
                f"Backgrounds of shape {backgrounds.shape} and {bits} bits do not fit; this model and these masks "
                f"need {expected} and {self.info.bit_depth} bits."
            )
        return to_model_range(backgrounds, self.info.bit_depth)

    def _known(self, images: Tensor, painted: NDArray[np.floating[Any]] | None, part: slice) -> Known:
        """What is known of the pictures `part` of a call."""
        assert painted is not None
        regions = torch.from_numpy(np.asarray(painted[part], np.float32))[:, None]
        return Known(images[part].to(self.unet.device), regions.to(self.unet.device))

    def _semantic_maps(self, masks: NDArray[np.integer[Any]], instances: NDArray[np.integer[Any]] | None) -> Tensor:
        """The network's view (N, K, H, W) of masks and instance maps."""
        assert self.info is not None
        ids = None if instances is None else torch.from_numpy(np.asarray(instances, np.int64))
        mask = torch.from_numpy(np.asarray(masks, np.int64))
        maps = semantic_map(mask, len(self.info.classes), instances=ids)
        return maps.to(self.unet.device).contiguous(memory_format=self._memory_format)

    def _null_conditions(self, like: Tensor) -> Conditions:
        """gamma and beta of the null map at the size of `like` (1, K, H, W): once a model."""
        key = (*like.shape[2:], self.unet.device, self.unet.dtype)
        if key not in self._null:
            self._null[key] = self.unet.conditions(torch.zeros_like(like), self._budget_bytes())
        return self._null[key]

    def _budget_bytes(self) -> int:
        """Memory for kept gamma and beta: a quarter of what is free."""
        return free_memory_bytes(self.unet.device) // 4

    def _say_once_if_over_budget(self, conditions: Conditions) -> None:
        if conditions.over_budget and not self._said_over_budget:
            self._said_over_budget = True
            say("SPADE's gamma and beta do not all fit into a quarter of the free memory; a smaller batch is faster.")


def _compiled_halves(unet: SemanticUNet) -> Denoiser:
    """The network as a denoiser whose two halves are compiled."""
    return cast("Denoiser", SimpleNamespace(encode=torch.compile(unet.encode), decode=torch.compile(unet.decode)))


def within_memory(
    paint: Callable[[int, int], Tensor], count: int, most: int | None = None, done: str = "painted"
) -> tuple[Tensor, int]:
    """Paint pictures `start` to `stop` of `count`, fewer at a time where memory does not suffice for all, or `most`.

    Returns:
        What `paint` gave of all of them, and how many at a time memory sufficed for; `done` says what was done.
    """
    size, start = min(most or count, count), 0
    parts: list[Tensor] = []
    while start < count:
        try:
            parts.append(paint(start, min(start + size, count)))
            start += len(parts[-1])
            continue
        except RuntimeError as error:
            if size == 1 or not should_reduce_batch_size(error):
                raise
            size = -(-size // 2)
            say(f"Out of memory: {size} picture(s) are now {done} at a time.")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return torch.cat(parts), size


def refuse_no_numbers(images: Tensor, indices: Sequence[int]) -> None:
    """Refuse painted images (N, C, H, W) of the samples `indices` that hold NaN: better none than a black one.

    Raises:
        ModelError: naming the first such sample.
    """
    broken = images.isnan().flatten(1).any(dim=1).nonzero().flatten().tolist()
    if broken:
        raise ModelError(
            f"Sample {indices[broken[0]]} holds values that are no numbers: the model's weights are broken, or they "
            f"overflow in its arithmetic. Sample with --set precision=float32, or train the model again."
        )
