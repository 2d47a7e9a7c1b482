"""The training images, and the batches that are drawn from them sample by sample."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isdm.config import TrainConfig, TrainingImagesKind
from isdm.data.dataset import IGNORE_INDEX, SegmentationDataset
from isdm.data.decoding import load_arrays
from isdm.data.image_files import ImageArray, MaskArray
from isdm.data.instances import InstanceArray, load_instances
from isdm.data.semantic_map import semantic_map
from isdm.data.transforms import to_model_range
from isdm.diffusion.process import q_sample
from isdm.diffusion.schedule import NoiseSchedule
from isdm.errors import DataError
from isdm.training.geometry import changed_ids, changed_images
from isdm.training.randomness import draw_sample, held_out_groups


@dataclass(frozen=True)
class TrainingImages:
    """Decoded pairs, in memory or mapped from a file, of which `chosen` are used."""

    images: ImageArray
    """(M, H, W, C) of `bit_depth` bits."""
    masks: MaskArray
    """(M, H, W) class ids."""
    instances: InstanceArray | None
    """(M, H, W) ids of objects, for a network that sees their borders."""
    num_classes: int
    bit_depth: int
    chosen: NDArray[np.int64]
    """(N,) which of the M pairs."""

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        height, width, channels = self.images.shape[1:]
        return channels, height, width

    def x_start(self, indices: Sequence[int]) -> Tensor:
        """Images (B, C, H, W) float32 in [-1, 1]."""
        return to_model_range(self.images[self.chosen[indices]], self.bit_depth)

    def semantic_maps(self, indices: Sequence[int], change: Callable[[Tensor], Tensor] = lambda ids: ids) -> Tensor:
        """Semantic maps (B, K, H, W) float32, the edge channel included where there is one.

        `change` is made to the ids (B, H, W) int64 of classes and of objects first.
        """
        rows = self.chosen[indices]
        masks = change(torch.from_numpy(self.masks[rows].astype(np.int64)))
        instances = None
        if self.instances is not None:
            instances = change(torch.from_numpy(self.instances[rows].astype(np.int64)))
        return semantic_map(masks, self.num_classes, instances=instances)


def load_training_images(dataset: SegmentationDataset, config: TrainConfig) -> tuple[TrainingImages, TrainingImages]:
    """Decode the training split: the images to train on, and those held out from the gradient.

    Raises:
        DataError: no image is of the kind that `config.images` asks for, or none is left to train on.
    """
    pairs = dataset.require("train")
    images, masks = load_arrays(dataset, pairs)
    instances = load_instances(dataset, pairs) if config.instances else None
    if config.instances and instances is None:
        raise DataError(f"{dataset.folder} has no instance maps; import it with instances/, or set instances=false.")
    wanted = np.flatnonzero(_is_of_kind(masks, config.images))
    if not len(wanted):
        raise DataError(f"{dataset.folder}: no training image is {config.images}; use images=all.")
    groups = [pairs[index].group for index in wanted.tolist()]
    held_out = held_out_groups(config.seed, groups, config.holdout)
    is_held_out = np.array([group in held_out for group in groups])
    if is_held_out.all() or (config.holdout and not is_held_out.any()):
        raise DataError(
            f"holdout = {config.holdout:g} of {len(set(groups))} groups leaves none on one side; give another share."
        )
    whole = TrainingImages(images, masks, instances, dataset.info.num_classes, dataset.info.bit_depth, wanted)
    return replace(whole, chosen=wanted[~is_held_out]), replace(whole, chosen=wanted[is_held_out])


def _is_of_kind(masks: MaskArray, kind: TrainingImagesKind) -> NDArray[np.bool_]:
    if kind == "all":
        return np.ones(len(masks), bool)
    has_defect = np.array([bool(((mask != 0) & (mask != IGNORE_INDEX)).any()) for mask in masks])
    return has_defect if kind == "with-defects" else ~has_defect


@dataclass(frozen=True)
class Batch:
    """What one pass through the network takes, and what its loss is measured against."""

    x_start: Tensor
    """(B, C, H, W) in [-1, 1]."""
    semantic_map: Tensor
    """(B, K, H, W)."""
    steps: Tensor
    """(B,) int64."""
    noise: Tensor
    """(B, C, H, W)."""
    changes: Tensor
    """(B, geometry.NUM_LABELS) what the network is told of the samples' changes; zero is none."""

    def __len__(self) -> int:
        return len(self.steps)

    def part(self, start: int, stop: int) -> "Batch":
        """Samples `start` to `stop` of the batch."""
        tensors = (self.x_start, self.semantic_map, self.steps, self.noise, self.changes)
        return Batch(*(tensor[start:stop] for tensor in tensors))

    def to(self, device: torch.device, memory_format: torch.memory_format) -> "Batch":
        """The batch on a device, its pictures and maps in the given order in memory."""
        return Batch(
            self.x_start.to(device).contiguous(memory_format=memory_format),
            self.semantic_map.to(device).contiguous(memory_format=memory_format),
            self.steps.to(device),
            self.noise.to(device).contiguous(memory_format=memory_format),
            self.changes.to(device),
        )

    def x_t(self, schedule: NoiseSchedule) -> Tensor:
        """The noisy images (B, C, H, W)."""
        return q_sample(schedule, self.x_start, self.steps, self.noise)

    def t(self, schedule: NoiseSchedule) -> Tensor:
        """What the network is told of the steps: (B,) float32."""
        return torch.from_numpy(schedule.timestep_map).to(self.steps.device)[self.steps].float()


def draw_batch(images: TrainingImages, config: TrainConfig, samples: range) -> Batch:
    """Draw the given samples of the run's endless stream: image, step, noise, flip, change and drop of each."""
    draws = [
        draw_sample(
            config.seed,
            index,
            len(images),
            config.num_train_timesteps,
            images.image_shape,
            config.flip,
            config.drop_rate,
            config.augment,
        )
        for index in samples
    ]
    chosen, changes = [draw.image_index for draw in draws], [draw.change for draw in draws]
    flips = [draw.flip for draw in draws]
    x_start = changed_images(_flipped(images.x_start(chosen), flips), changes)
    maps = images.semantic_maps(chosen, lambda ids: changed_ids(_flipped(ids, flips), changes))
    maps[[draw.drop for draw in draws]] = 0  # the null map
    noise = torch.from_numpy(np.stack([draw.noise for draw in draws]))
    labels = torch.from_numpy(np.stack([change.labels for change in changes]))
    return Batch(x_start, maps, torch.tensor([draw.step for draw in draws]), noise, labels)


def _flipped(values: Tensor, flips: list[bool]) -> Tensor:
    """Those samples of (B, ..., W) that are to be, mirrored."""
    values[flips] = values[flips].flip(-1)
    return values
