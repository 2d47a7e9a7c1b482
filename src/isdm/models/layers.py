"""Layers of the U-Net that know nothing of the semantic map (Dhariwal and Nichol 2021, appendix)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALL_MAP = 1024
"""Pixels below which PyTorch normalises channels_last on a CPU with another, slower kernel."""


def timestep_embedding(t: Tensor, channels: int) -> Tensor:
    """Sinusoidal embedding of `t` (N,) float32, not necessarily whole: (N, channels), cosines first."""
    half = channels // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=t.device) / half)  # (channels / 2,)
    angles = t.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def zero_initialised(layer: nn.Conv2d | nn.Conv1d) -> nn.Conv2d | nn.Conv1d:
    """Set a layer's weights to zero, so that its block starts as the identity."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def resample(h: Tensor, direction: int) -> Tensor:
    """Halve (-1, average pooling) or double (+1, nearest neighbour) the size of `h`; 0 keeps it."""
    if direction == 0:
        return h
    if direction < 0:
        return F.avg_pool2d(h, 2)
    if h.device.type == "cpu" and h.is_contiguous():  # PyTorch's kernel for NCHW is slow there
        return h.repeat_interleave(2, dim=3).repeat_interleave(2, dim=2)
    return F.interpolate(h, scale_factor=2.0, mode="nearest")


def resampled_conv(h: Tensor, conv: nn.Conv2d, direction: int) -> Tensor:
    """A 3x3 convolution of `resample(h, direction)`, of the same size: (N, out, H', W').

    Pixels that are doubled meet sums of weights, so doubling and convolving are one transposed convolution: 16
    products an input pixel and pair of channels instead of 36, and the large map is never made.
    """
    if direction <= 0:
        convolved: Tensor = conv(resample(h, direction))
        return convolved
    assert (conv.kernel_size, conv.padding, conv.stride) == ((3, 3), (1, 1), (1, 1)), "what the sums are made for"
    exact = torch.promote_types(conv.weight.dtype, torch.float32)  # sums of bfloat16 would round
    around = F.pad(conv.weight.to(exact), (1, 1, 1, 1))  # (out, in, 5, 5)
    sums = around[..., :4, :] + around[..., 1:, :]
    sums = sums[..., :4] + sums[..., 1:]  # (out, in, 4, 4)
    weight = sums.flip(2, 3).transpose(0, 1).to(h.dtype)
    return F.conv_transpose2d(h, weight, conv.bias, stride=2, padding=1)


def silu(fresh: Tensor) -> Tensor:
    """SiLU of a tensor that nobody else holds: while no gradient is kept, in its own memory."""
    return F.silu(fresh, inplace=not torch.is_grad_enabled())


class GroupNorm(nn.GroupNorm):
    """Group normalisation that keeps channels_last fast on the CPU.

    PyTorch's CPU kernels for channels_last are slow backwards, and forwards on small maps (see
    benchmarks/group_norm.py); there the input is reordered for those for NCHW and the output back.
    """

    def forward(self, h: Tensor) -> Tensor:
        """Normalise `h` (N, C, …)."""
        if h.ndim == 4 and h.device.type == "cpu" and not h.is_contiguous():
            keeps_gradient = torch.is_grad_enabled() and h.requires_grad
            if keeps_gradient or h.shape[2] * h.shape[3] < SMALL_MAP:
                return super().forward(h.contiguous()).contiguous(memory_format=torch.channels_last)
        return super().forward(h)


class TimeScaleShift(nn.Module):
    """Project the time embedding to a scale and a shift a channel, and apply them."""

    def __init__(self, embedding_channels: int, channels: int) -> None:
        super().__init__()
        self.projection = nn.Linear(embedding_channels, 2 * channels)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """Apply to `h` (N, C, H, W) the scale and shift of `embedding` (N, E)."""
        # fmt: off
        both = self.projection(F.silu(embedding))[:, :, None, None]  # (N, 2C, 1, 1)
        scale, shift = both.chunk(2, dim=1)                          # (N, C, 1, 1) each
        # fmt: on
        return torch.addcmul(shift, h, 1 + scale)


class ResBlock(nn.Module):
    """Residual block of the encoder; `direction` -1 also halves the size."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        embedding_channels: int,
        num_groups: int,
        dropout: float,
        direction: int = 0,
    ) -> None:
        super().__init__()
        self.direction = direction
        self.in_norm = GroupNorm(num_groups, in_channels)
        self.in_conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.out_norm = GroupNorm(num_groups, out_channels)
        self.time = TimeScaleShift(embedding_channels, out_channels)
        self.dropout = nn.Dropout(dropout)
        self.out_conv = zero_initialised(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.skip = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map `x` (N, in, H, W) and the time embedding (N, E) to (N, out, H', W')."""
        # fmt: off
        h = silu(self.in_norm(x))                      # (N, in, H, W)
        h = self.in_conv(resample(h, self.direction))  # (N, out, H', W')
        h = self.time(self.out_norm(h), embedding)     # (N, out, H', W')
        h = self.out_conv(self.dropout(silu(h)))       # (N, out, H', W')
        # fmt: on
        total: Tensor = self.skip(resample(x, self.direction)) + h
        return total


class SelfAttention(nn.Module):
    """Multi-head self-attention over all positions of a feature map, added to its input."""

    def __init__(self, channels: int, *, head_channels: int, num_groups: int) -> None:
        super().__init__()
        assert channels % head_channels == 0, (channels, head_channels)
        self.num_heads = channels // head_channels
        self.norm = GroupNorm(num_groups, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.projection = zero_initialised(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` (N, C, H, W) to the same shape."""
        # fmt: off
        h = self.norm(x).flatten(2)                              # (N, C, HW)
        qkv = self.qkv(h).unflatten(1, (self.num_heads, 3, -1))  # (N, heads, 3, C/heads, HW)
        q, k, v = qkv.transpose(-1, -2).unbind(2)                # (N, heads, HW, C/heads) each
        h = F.scaled_dot_product_attention(q, k, v)              # (N, heads, HW, C/heads)
        h = self.projection(h.transpose(-1, -2).flatten(1, 2))   # (N, C, HW)
        # fmt: on
        attended: Tensor = x + h.view_as(x)
        return attended
