"""Masks to paint images for: the training masks, as they are or moved about."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import affine, horizontal_flip
from torchvision.tv_tensors import Mask

from isdm.config import Masks, SampleConfig
from isdm.data.dataset import DatasetInfo
from isdm.data.image_files import MaskArray
from isdm.data.instances import InstanceArray, outside_id

MOST_DEGREES = 15.0
MOST_SHIFT = 0.08
SCALES = (0.85, 1.15)


def source_index(seed: int, index: int, num_masks: int) -> int:
    """Which training mask the `index`-th sample takes: one seeded permutation after another."""
    turn, place = divmod(index, num_masks)
    return int(np.random.default_rng((seed, 0x3A5C, turn)).permutation(num_masks)[place])


def draw_mask(kind: Masks, mask: MaskArray, seed: int, index: int) -> MaskArray:
    """Make the mask of the `index`-th sample from a training mask (H, W); depends on (seed, index) alone.

    `augmented` flips it at random, turns it by up to 15 degrees, scales it by 0.85 to 1.15 and shifts it by
    up to 8 % of its size; what comes in from outside is background.
    """
    return mask if kind == "real" else _moved(mask, seed, index, fill=0).astype(np.uint8)


def draw_instances(kind: Masks, instances: InstanceArray, mask: MaskArray, seed: int, index: int) -> InstanceArray:
    """Make the instance map of the `index`-th sample from that of a training pair (H, W), moved as its mask is.

    Args:
        kind: see `draw_mask`.
        instances: the training pair's instance map.
        mask: the training pair's mask (H, W).
        seed: see `draw_mask`.
        index: see `draw_mask`.
    """
    if kind == "real":
        return instances
    return _moved(instances, seed, index, fill=outside_id(instances, mask)).astype(np.uint16)


def _moved(values: NDArray[np.integer[Any]], seed: int, index: int, fill: int) -> NDArray[np.int32]:
    """Move values (H, W) up to 65535 about; `fill` comes in from outside."""
    rng = np.random.default_rng((seed, 0xA06, index))
    height, width = values.shape
    turned = Mask(torch.from_numpy(values.astype(np.int32)))
    if rng.random() < 0.5:
        turned = horizontal_flip(turned)
    shift_x, shift_y = rng.uniform(-MOST_SHIFT, MOST_SHIFT, 2) * (width, height)
    turned = affine(
        turned,
        angle=float(rng.uniform(-MOST_DEGREES, MOST_DEGREES)),
        translate=[float(shift_x), float(shift_y)],
        scale=float(rng.uniform(*SCALES)),
        shear=[0.0, 0.0],
        interpolation=InterpolationMode.NEAREST,
        fill=[fill],
    )
    result: NDArray[np.int32] = turned.numpy()
    return result


@dataclass(frozen=True)
class TrainingMasks:
    """What mask sources learn from."""

    masks: MaskArray
    instances: InstanceArray | None
    stems: Sequence[str]
    groups: Sequence[str]
    info: DatasetInfo


@dataclass(frozen=True)
class DrawnMask:
    """A mask to paint for."""

    mask: MaskArray
    instances: InstanceArray | None
    sources: tuple[int, ...]


MaskSource = Callable[[int], DrawnMask]


def mask_source(config: SampleConfig, training: TrainingMasks, folder: Path) -> MaskSource:
    """Stub."""

    def draw(index: int) -> DrawnMask:
        source = source_index(config.seed, index, len(training.masks))
        mask = draw_mask(config.masks, training.masks[source], config.seed, index)
        ids = None
        if training.instances is not None:
            ids = draw_instances(config.masks, training.instances[source], training.masks[source], config.seed, index)
        return DrawnMask(mask, ids, (source,))

    return draw
