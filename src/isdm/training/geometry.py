"""Geometric changes of training samples that the network is told of, as a remedy for few images.

Flipped, scaled, turned, stretched and shifted, image and mask alike, few pairs become many, which a network cannot
learn by heart. It is told of each change by labels and so learns what the pictures are without any: asked for none,
it paints none (Karras et al. 2022, appendix F.2, after Jun et al. 2020 and Karras et al. 2020).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

NUM_LABELS = 8
"""Flip, scale, turn (2: cosine and sine), stretch (2: along and across), shift (2: down and to the right)."""
LOG2_SCALE = 0.2
"""Standard deviation of the binary logarithm of scale and stretch."""
SHIFT = 0.125
"""Standard deviation of a shift, as a share of the side."""

Matrix = NDArray[np.float64]


class Change(NamedTuple):
    """A change of a picture (H, W)."""

    matrix: Matrix
    """(2, 2) from places of the changed picture to those of the given one: row and column from the middle, in px."""
    shift: NDArray[np.float64]
    """(2,) added to those places, as a share of height and width."""
    labels: NDArray[np.float32]
    """(NUM_LABELS,) what the network is told; all zero is no change."""


def draw_change(rng: np.random.Generator, probability: float) -> Change:
    """Draw a change; each of the five kinds is made with `probability`, whatever becomes of the others."""
    flips, scales, turns, stretches, shifts = rng.random(5) < probability
    is_flipped = flips and rng.random() < 0.5  # as published: half of the flips that are drawn change nothing
    scale, stretch = scales * rng.normal(), stretches * rng.normal()
    turn, direction = rng.uniform(-math.pi, math.pi, 2) * (turns, 1)
    shift = shifts * rng.normal(size=2)
    stretched = _turn(direction) @ np.diag(2.0 ** (LOG2_SCALE * stretch * np.array([1, -1]))) @ _turn(-direction)
    matrix = np.diag([-1.0 if is_flipped else 1.0, 1.0]) @ _turn(turn) @ stretched * 2.0 ** (LOG2_SCALE * scale)
    along = stretch * math.cos(2 * direction), stretch * math.sin(2 * direction)
    labels = np.array([is_flipped, scale, math.cos(turn) - 1, math.sin(turn), *along, *shift])
    return Change(matrix, SHIFT * shift, labels.astype(np.float32))


def _turn(angle: float) -> Matrix:
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


def changed_images(images: Tensor, changes: Sequence[Change]) -> Tensor:
    """Images (N, C, H, W) in [-1, 1], each with its change: bicubic, mirrored at the border."""
    rows = _that_change(changes)
    if rows:
        grid = _grid([changes[row] for row in rows], (images.shape[2], images.shape[3]))
        found = F.grid_sample(images[rows], grid, "bicubic", "reflection", align_corners=False)
        images = images.clone()
        images[rows] = found.clamp(-1, 1)
    return images


def changed_ids(ids: Tensor, changes: Sequence[Change]) -> Tensor:
    """Ids (N, H, W) int64 below 2^24, each with its change: the nearest pixel's, mirrored at the border."""
    rows = _that_change(changes)
    if rows:
        grid = _grid([changes[row] for row in rows], (ids.shape[1], ids.shape[2]))
        found = F.grid_sample(ids[rows][:, None].float(), grid, "nearest", "reflection", align_corners=False)
        ids = ids.clone()
        ids[rows] = found[:, 0].long()
    return ids


def _that_change(changes: Sequence[Change]) -> list[int]:
    return [row for row, change in enumerate(changes) if change.labels.any()]


def _grid(changes: Sequence[Change], size: tuple[int, int]) -> Tensor:
    """Where `grid_sample` looks (N, H, W, 2): column and row, from -1 to 1 between the outer edges of the pixels."""
    sides = np.array(size, float)
    rows, columns = (np.arange(side) - (side - 1) / 2 for side in size)
    places = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)  # (H, W, 2) from the middle
    grids = [(places @ change.matrix.T + change.shift * sides) / (sides / 2) for change in changes]
    return torch.from_numpy(np.stack(grids)[..., ::-1].astype(np.float32))
