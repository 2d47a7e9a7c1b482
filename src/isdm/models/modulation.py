"""Scale and shift every pixel by its row of a table, forwards and backwards, in either order of memory.

PyTorch's own operations would do (`F.embedding`, `torch.addcmul`); they keep the scale of every pixel for the
backward pass, pass over the data more often, and mix orders of memory, which costs a CPU more than the arithmetic.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def look_up(table: Tensor, index: Tensor, like: Tensor) -> Tensor:
    """Rows of `table` (U, C) for each pixel of `index` (N, H, W): (N, C, H, W) in the memory order of `like`."""
    if in_rows(like):
        num_images, height, width = index.shape
        by_channel = table.t().contiguous().expand(num_images, -1, -1)  # (N, C, U)
        of_pixels = index.reshape(num_images, 1, -1).expand(-1, table.shape[1], -1)  # (N, C, HW)
        return by_channel.gather(2, of_pixels).view(num_images, -1, height, width)
    return F.embedding(index, table).permute(0, 3, 1, 2)


def sum_by_row(values: Tensor, index: Tensor, num_rows: int) -> Tensor:
    """Add up `values` (N, C, H, W) over the pixels of each row: (U, C), in float32 at least.

    A thousand small bfloat16 values would stall where adding one no longer changes the sum.
    """
    exact = values.to(torch.promote_types(values.dtype, torch.float32))
    channels = values.shape[1]
    if in_rows(values):
        by_channel = exact.transpose(0, 1).reshape(channels, -1)  # (C, NHW)
        return exact.new_zeros(channels, num_rows).index_add_(1, index.reshape(-1), by_channel).t()
    by_pixel = exact.permute(0, 2, 3, 1).reshape(-1, channels)  # (NHW, C)
    return exact.new_zeros(num_rows, channels).index_add_(0, index.reshape(-1), by_pixel)


def in_rows(h: Tensor) -> bool:
    """Whether `h` (N, C, H, W) lies in memory channel by channel, not pixel by pixel."""
    return h.is_contiguous() or not h.is_contiguous(memory_format=torch.channels_last)


class _Modulate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, scale: Tensor, beta: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(h, scale, index)
        return look_up(beta, index, h).addcmul_(h, look_up(scale, index, h))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        h, scale, index = ctx.saved_tensors
        order = torch.contiguous_format if in_rows(h) else torch.channels_last
        gradient = gradients[0].contiguous(memory_format=order)
        of_scale = sum_by_row(gradient * h, index, len(scale)).to(scale.dtype)
        of_beta = sum_by_row(gradient, index, len(scale)).to(scale.dtype)
        return look_up(scale, index, h).mul_(gradient), of_scale, of_beta, None


def modulate(h: Tensor, scale: Tensor, beta: Tensor, index: Tensor) -> Tensor:
    """h · scale + beta (N, C, H, W), with the rows of the tables `scale` and `beta` (U, C) that `index` names.

    `index` is (N, H, W), or (1, H, W) for the same rows in all images.
    """
    modulated: Tensor = _Modulate.apply(h, scale.to(h.dtype), beta.to(h.dtype), index.expand(len(h), -1, -1))
    return modulated
