"""An exact saving for SPADE: gamma and beta of a pixel depend on the 5x5 pixels of the map around it alone.

Two 3x3 convolutions reach two pixels far, and masks are mostly flat: a batch holds few distinct
neighbourhoods (a few per cent of its pixels at full resolution). The convolutions are run once for each of
them, and every pixel looks its result up. The numbers are those of the convolutions over all pixels, the
border included, up to rounding.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

REACH = 2
"""Pixels that two 3x3 convolutions see in each direction."""

SIDE = 2 * REACH + 1

WORTHWHILE_SHARE = 0.5
"""Distinct neighbourhoods a pixel up to which looking up is cheaper than convolving."""


@dataclass(frozen=True)
class Patterns:
    """The U distinct 5x5 neighbourhoods of a batch of maps (N, K, H, W), each as nine 3x3 ones.

    The first convolution sees 3x3 pixels, and far fewer of those are distinct: V.
    """

    maps: Tensor
    """(V, K, 3, 3): the map's vectors in the distinct 3x3 neighbourhoods of pixels, zero outside the image."""
    inner: Tensor
    """(U, 9) int64: 9 v + o, where the inner pixel o = 0 to 8 is surrounded by neighbourhood v; 9 V where it
    lies outside the image."""
    index: Tensor
    """(N, H, W) int64: which of the U neighbourhoods surrounds each pixel."""

    @property
    def are_worthwhile(self) -> bool:
        """Whether there are few enough of them."""
        return len(self.inner) <= WORTHWHILE_SHARE * self.index.numel()


@torch.no_grad()
def find_patterns(semantic_map: Tensor) -> Patterns:
    """Find the distinct neighbourhoods of maps (N, K, H, W).

    Vectors are told apart by a random projection in float64, neighbourhoods by a random linear hash of 64
    bits: for a million pixels the chance of any confusion is below 1e-7.
    """
    num_classes, height, width = semantic_map.shape[1:]
    device = semantic_map.device
    generator = torch.Generator().manual_seed(0)
    direction = torch.rand(num_classes, generator=generator, dtype=torch.float64).to(device)
    multipliers = torch.randint(-(2**62), 2**62, (SIDE, SIDE), generator=generator).to(device)

    projected = torch.einsum("nkhw,k->nhw", semantic_map.double(), direction)
    vectors = torch.unique(projected, return_inverse=True)[1] + 1  # (N, H, W); 0 is for outside
    around = F.pad(vectors, (REACH,) * 4)  # (N, H + 4, W + 4)
    hashes = torch.zeros_like(vectors)
    for dy in range(SIDE):
        for dx in range(SIDE):
            hashes += around[:, dy : dy + height, dx : dx + width] * multipliers[dy, dx]
    index, (image, row, column) = _distinct(hashes)

    ids = around[_square(image, row, column, SIDE)]  # (U, 5, 5)
    small = (ids.unfold(1, 3, 1).unfold(2, 3, 1) * multipliers[:3, :3]).sum(dim=(3, 4))  # (U, 3, 3) hashes
    outside = ids[:, 1:-1, 1:-1] == 0  # (U, 3, 3)
    small = torch.where(outside, small[:, 1:2, 1:2], small)  # they stand for the middle, which is inside
    inner, (pattern, y, x) = _distinct(small)
    of_middle = outside[pattern, y, x]
    y, x = y.masked_fill(of_middle, 1), x.masked_fill(of_middle, 1)
    padded = F.pad(semantic_map, (REACH,) * 4).permute(0, 2, 3, 1)  # (N, H + 4, W + 4, K)
    around_inner = _square(image[pattern], row[pattern] + y, column[pattern] + x, 3)
    maps = padded[around_inner].permute(0, 3, 1, 2)  # (V, K, 3, 3)
    entries = 9 * inner.flatten(1) + torch.arange(9, device=device)
    return Patterns(maps, entries.masked_fill(outside.flatten(1), 9 * len(maps)), index)


def _square(image: Tensor, row: Tensor, column: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of the squares of pixels whose first ones are at (image, row, column)."""
    offsets = torch.arange(side, device=row.device)
    return image[:, None, None], row[:, None, None] + offsets[:, None], column[:, None, None] + offsets


def _distinct(hashes: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Number the distinct values of (A, B, C) int64, and say where an example of each lies."""
    distinct, index = torch.unique(hashes, return_inverse=True)
    example = torch.empty(len(distinct), dtype=torch.int64, device=hashes.device)
    example[index.flatten()] = torch.arange(index.numel(), device=hashes.device)  # any one stands for all
    height, width = hashes.shape[1:]
    return index, (example // (height * width), example // width % height, example % width)
