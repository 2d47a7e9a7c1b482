"""An exact saving for SPADE: gamma and beta of a pixel depend on the 5x5 pixels of the map around it alone.

Two 3x3 convolutions reach two pixels far, and masks are mostly flat: a batch holds few distinct
neighbourhoods (a few per cent of its pixels at full resolution). The convolutions are run once for each of
them, and every pixel looks its result up. The numbers are those of the convolutions over all pixels, the
border included, up to rounding.
"""

from dataclasses import dataclass
from typing import Any

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
    """The U distinct neighbourhoods of a batch of maps (N, K, H, W)."""

    maps: Tensor
    """(U, K, 5, 5): the map's vectors, zero outside the image."""
    inside: Tensor
    """(U, 1, 3, 3): 1 where the inner pixels lie within the image, else 0; same dtype as `maps`."""
    index: Tensor
    """(N, H, W) int64: which of the neighbourhoods surrounds each pixel."""

    @property
    def are_worthwhile(self) -> bool:
        """Whether there are few enough of them."""
        return len(self.maps) <= WORTHWHILE_SHARE * self.index.numel()


@torch.no_grad()
def find_patterns(semantic_map: Tensor) -> Patterns:
    """Find the distinct 5x5 neighbourhoods of maps (N, K, H, W).

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
    distinct, index = torch.unique(hashes, return_inverse=True)

    places = torch.arange(index.numel(), device=device)
    example = torch.empty(len(distinct), dtype=torch.int64, device=device)
    example[index.flatten()] = places  # any pixel with the neighbourhood stands for all of them
    image, row, column = example // (height * width), example // width % height, example % width
    offsets = torch.arange(SIDE, device=device)
    rows = row[:, None, None] + offsets[:, None]  # (U, 5, 1)
    columns = column[:, None, None] + offsets  # (U, 1, 5)
    images = image[:, None, None]
    padded = F.pad(semantic_map, (REACH,) * 4).permute(0, 2, 3, 1)  # (N, H + 4, W + 4, K)
    maps = padded[images, rows, columns].permute(0, 3, 1, 2)  # (U, K, 5, 5)
    inner = around[images, rows, columns][:, 1:-1, 1:-1]  # (U, 3, 3)
    return Patterns(maps, (inner > 0).to(maps.dtype)[:, None], index)


class LookUp(torch.autograd.Function):
    """Rows of a table (U, C) for each pixel: (N, C, H, W); the gradient is summed in float32."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor) -> Tensor:
        """Look up `index` (N, H, W) in `table`."""
        ctx.save_for_backward(index)
        ctx.num_rows, ctx.dtype = len(table), table.dtype
        return F.embedding(index, table).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Add up the gradient of every pixel that looked a row up."""
        (index,) = ctx.saved_tensors
        of_pixels = gradients[0].permute(0, 2, 3, 1).float().contiguous()  # (N, H, W, C)
        summed = torch.ops.aten.embedding_dense_backward(of_pixels, index, ctx.num_rows, -1, False)
        return summed.to(ctx.dtype), None


def look_up(table: Tensor, index: Tensor) -> Tensor:
    """Rows of `table` (U, C) for each pixel of `index` (N, H, W): (N, C, H, W)."""
    values: Tensor = LookUp.apply(table, index)
    return values
