"""Masks to paint images for: the training masks, those moved about and combined, or new ones made of their shapes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isdm.config import SampleConfig
from isdm.data.dataset import DatasetInfo
from isdm.data.image_files import MaskArray
from isdm.data.instances import InstanceArray
from isdm.synthesis.masks.augmented import augmented
from isdm.synthesis.masks.balance import Draw, balanced_plan
from isdm.synthesis.masks.drawn import DrawnMask
from isdm.synthesis.masks.generated import generated
from isdm.synthesis.masks.layout import Layout

__all__ = ["DrawnMask", "MaskSource", "TrainingMasks", "mask_source", "source_index"]

MaskSource = Callable[[int], DrawnMask]
"""Gives the i-th mask; it depends on the seed and i alone."""


@dataclass(frozen=True)
class TrainingMasks:
    """What mask sources learn from: the training split alone."""

    masks: MaskArray
    """(N, H, W) class ids."""
    instances: InstanceArray | None
    stems: Sequence[str]
    groups: Sequence[str]
    info: DatasetInfo


def mask_source(config: SampleConfig, training: TrainingMasks, folder: Path) -> MaskSource:
    """Make the source of masks that the options ask for.

    Args:
        config: `masks`, `balance`, `seed`, and how many masks are wanted.
        training: the training masks.
        folder: the output folder; `balance.json` is written there where masks are balanced.

    Raises:
        DataError: masks cannot be generated from these (see `Layout.of`), or balanced.
    """
    draw = _drawing(config, training)
    if config.balance == "none":
        return lambda index: draw(index, source_index(config.seed, index, len(training.masks)))
    num_masks = -(-config.num_samples // config.variants)
    plan = balanced_plan(
        config,
        training.masks,
        training.instances,
        training.info,
        num_masks,
        folder,
        None if config.masks == "real" else draw,
    )
    # Numbers beyond the plan are asked for where a mask was of no use; each round starts at another place of it.
    return lambda index: draw(index, int(plan[(index + index // num_masks) % num_masks]))


def _drawing(config: SampleConfig, training: TrainingMasks) -> Draw:
    """How the mask of a number comes about that takes, or is modelled on, a training mask."""
    masks, instances = training.masks, training.instances
    if config.masks == "real":
        return lambda _, source: DrawnMask(masks[source], None if instances is None else instances[source], (source,))
    layout = Layout.of(masks, instances, training.info)
    if config.masks == "augmented":
        return lambda index, source: augmented(layout, source, np.random.default_rng((config.seed, 0xA06, index)))
    layout.require_objects(training.info)
    return lambda index, source: generated(layout, source, np.random.default_rng((config.seed, 0x6E4, index)))


def source_index(seed: int, index: int, num_masks: int) -> int:
    """Which training mask the `index`-th sample takes: one seeded permutation after another."""
    turn, place = divmod(index, num_masks)
    return int(np.random.default_rng((seed, 0x3A5C, turn)).permutation(num_masks)[place])
