"""Random draws that depend only on (seed, sample index), not on batch size, workers or resumption.

A training run is one endless stream of samples: sample g belongs to epoch g // N and shows the image at
place g % N of that epoch's permutation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from isdm.training.geometry import Change, draw_change

_ORDER, _TIME, _SAMPLE, _HOLDOUT, _GRID, _DROPOUT, _CHANGE = range(7)


@dataclass(frozen=True)
class SampleDraw:
    """What chance decides for one training sample."""

    image_index: int
    step: int
    """Index of the diffusion step t."""
    flip: bool
    drop: bool
    noise: NDArray[np.float32]
    """(C, H, W) standard normal."""
    change: Change
    """Of image and mask, after the flip."""


@lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, num_images: int) -> NDArray[np.int64]:
    """Permutation (N,) of the training images in an epoch."""
    return np.random.default_rng((seed, _ORDER, epoch)).permutation(num_images)


@lru_cache(maxsize=4)
def epoch_steps(seed: int, epoch: int, num_images: int, num_timesteps: int) -> NDArray[np.int64]:
    """Diffusion steps (N,) of an epoch's samples: each uniform, together spread evenly over the process.

    One value falls into each N-th part of the T steps. The loss depends above all on t, so epochs whose t
    are spread alike have comparable mean losses, which the monitored checkpoint needs on small datasets.
    """
    rng = np.random.default_rng((seed, _TIME, epoch))
    places = (rng.permutation(num_images) + rng.random(num_images)) / num_images
    return (places * num_timesteps).astype(np.int64)


def draw_sample(
    seed: int,
    index: int,
    num_images: int,
    num_timesteps: int,
    shape: tuple[int, int, int],
    flip: bool,
    drop_rate: float,
    augment: float = 0.0,
) -> SampleDraw:
    """Draw everything for the `index`-th sample of a run (`shape` is that of an image, channels first)."""
    epoch, place = divmod(index, num_images)
    rng = np.random.default_rng((seed, _SAMPLE, index))
    flips, drops = rng.random(2)
    return SampleDraw(
        image_index=int(epoch_order(seed, epoch, num_images)[place]),
        step=int(epoch_steps(seed, epoch, num_images, num_timesteps)[place]),
        flip=flip and flips < 0.5,
        drop=drops < drop_rate,
        noise=rng.standard_normal(shape, np.float32),
        change=draw_change(np.random.default_rng((seed, _CHANGE, index)), augment),
    )


def dropout_seed(seed: int, sample: int) -> int:
    """Seed of torch's own generator for the batch that begins with `sample`; only dropout draws from it."""
    return int(np.random.SeedSequence((seed, _DROPOUT, sample)).generate_state(1)[0])


def held_out_groups(seed: int, groups: Sequence[str], share: float) -> frozenset[str]:
    """Groups, in a seeded order, that together hold `share` of the images as nearly as may be."""
    names = sorted(set(groups))
    order = np.random.default_rng((seed, _HOLDOUT)).permutation(len(names))
    wanted, taken, chosen = share * len(groups), 0, set()
    for place in order:
        size = groups.count(names[place])
        if taken + size / 2 > wanted:
            break
        chosen.add(names[place])
        taken += size
    return frozenset(chosen)


def grid_choice(seed: int, num_images: int, most: int) -> NDArray[np.int64]:
    """Up to `most` of the images, for a loss that is measured again and again."""
    return np.random.default_rng((seed, _GRID)).permutation(num_images)[:most]


def grid_noise(seed: int, image: int, step: int, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """The noise (C, H, W) of one place of the fixed grid of images and steps."""
    return np.random.default_rng((seed, _GRID, image, step)).standard_normal(shape, np.float32)
