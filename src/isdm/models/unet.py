"""The semantic diffusion network: a U-Net whose encoder sees the noisy image and whose decoder the mask too."""

import math
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from isdm.models.layers import GroupNorm, ResBlock, SelfAttention, timestep_embedding, zero_initialised
from isdm.models.spade import Conditions, Resize, SpadeResBlock


class Encoded(NamedTuple):
    """What the encoder makes of a noisy image; the mask has no part in it."""

    h: Tensor
    skips: list[Tensor]
    embedding: Tensor
    size: tuple[int, int]
    """Height and width of the image, before padding."""


class EncoderBlock(nn.Module):
    """A residual block, and attention where its level has it."""

    def __init__(self, block: ResBlock, attention: SelfAttention | None) -> None:
        super().__init__()
        self.block, self.attention = block, attention

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """Map `h` (N, C, H, W) onwards."""
        h = self.block(h, embedding)
        return self.attention(h) if self.attention is not None else h


class DecoderBlock(nn.Module):
    """A SPADE residual block, attention where its level has it, upsampling at the end of a level."""

    def __init__(self, block: SpadeResBlock, attention: SelfAttention | None, up: SpadeResBlock | None) -> None:
        super().__init__()
        self.block, self.attention, self.up = block, attention, up

    def forward(self, h: Tensor, embedding: Tensor, conditions: Conditions) -> Tensor:
        """Map `h` (N, C, H, W) onwards under the masks."""
        h = self.block(h, embedding, conditions)
        h = self.attention(h) if self.attention is not None else h
        return self.up(h, embedding, conditions) if self.up is not None else h


class SemanticUNet(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Denoiser conditioned on a semantic map (Wang et al. 2022).

    Args:
        in_channels: channels C of the images.
        num_classes: channels K of the semantic map.
        base_channels: the width that the levels' widths are multiples of.
        channel_multipliers: width of each level as a multiple of `base_channels`; 0.5 is half of it.
        num_res_blocks: residual blocks a level in the encoder; the decoder has one more.
        attention_downsamplings: levels with self-attention, by how many times smaller than the image they are.
        attention_head_channels: channels of one attention head.
        spade_channels: hidden width of the SPADE layers.
        spade_resize: how the map is brought to a level's size.
        norm_groups: groups of every normalisation; each level's width must be a multiple.
        dropout: dropout in the residual blocks.
        patch_size: side of the squares of pixels that the first level sees as one position with their values as
            channels, of image and map alike (Luhman and Luhman 2022); 1 as published.
        augmentation_labels: numbers that tell of a geometric change of the training sample (Karras et al. 2022).
    """

    _supports_gradient_checkpointing = True  # diffusers' enable_gradient_checkpointing() then works

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 2,
        base_channels: int = 64,
        channel_multipliers: tuple[float, ...] = (1, 2, 3, 4),
        num_res_blocks: int = 2,
        attention_downsamplings: tuple[int, ...] = (8, 16, 32),
        attention_head_channels: int = 64,
        spade_channels: int = 128,
        spade_resize: Resize = "nearest",
        norm_groups: int = 32,
        dropout: float = 0.0,
        patch_size: int = 1,
        augmentation_labels: int = 0,
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        self.share_patterns = True
        embedding_channels = 4 * base_channels
        widths = [int(multiplier * base_channels) for multiplier in channel_multipliers]
        last_level = len(widths) - 1
        pixels = patch_size**2

        block_options: dict[str, Any] = {
            "embedding_channels": embedding_channels,
            "num_groups": norm_groups,
            "dropout": dropout,
        }
        mask_options = {**block_options, "num_classes": pixels * num_classes, "spade_channels": spade_channels}

        def attention(channels: int) -> SelfAttention:
            head_channels = math.gcd(attention_head_channels, channels)
            return SelfAttention(channels, head_channels=head_channels, num_groups=norm_groups)

        def attention_at(level: int, channels: int) -> SelfAttention | None:
            return attention(channels) if patch_size * 2**level in attention_downsamplings else None

        self.time_embedding = nn.Sequential(
            nn.Linear(base_channels, embedding_channels),
            nn.SiLU(),
            nn.Linear(embedding_channels, embedding_channels),
        )
        channels = widths[0]
        self.stem = nn.Conv2d(pixels * in_channels, channels, 3, padding=1)
        skip_channels = [channels]
        self.encoder = nn.ModuleList()
        for level, width in enumerate(widths):
            for _ in range(num_res_blocks):
                block = ResBlock(channels, width, **block_options)
                channels = width
                self.encoder.append(EncoderBlock(block, attention_at(level, channels)))
                skip_channels.append(channels)
            if level < last_level:
                down = ResBlock(channels, channels, direction=-1, **block_options)
                self.encoder.append(EncoderBlock(down, None))
                skip_channels.append(channels)
        self.middle = nn.ModuleList(
            [
                SpadeResBlock(channels, channels, **mask_options),
                attention(channels),
                SpadeResBlock(channels, channels, **mask_options),
            ]
        )
        self.decoder = nn.ModuleList()
        for level, width in reversed(list(enumerate(widths))):
            for index in range(num_res_blocks + 1):
                spade_block = SpadeResBlock(channels + skip_channels.pop(), width, **mask_options)
                channels = width
                up = None
                if level > 0 and index == num_res_blocks:
                    up = SpadeResBlock(channels, channels, direction=+1, **mask_options)
                self.decoder.append(DecoderBlock(spade_block, attention_at(level, channels), up))
        self.out_norm = GroupNorm(norm_groups, channels)
        self.out_conv = zero_initialised(nn.Conv2d(channels, pixels * 2 * in_channels, 3, padding=1))
        if augmentation_labels:  # no bias: zero labels, which are no change, add nothing
            self.augmentation_embedding = nn.Linear(augmentation_labels, embedding_channels, bias=False)

    @property
    def size_divisor(self) -> int:
        """What height and width are padded to a multiple of: the downsampling of the lowest level."""
        return cast("int", self.config.patch_size * 2 ** (len(self.config.channel_multipliers) - 1))

    def encode(self, x_t: Tensor, t: Tensor, augmentation: Tensor | None = None) -> Encoded:
        """Encode the noisy image `x_t` (N, C, H, W) at time `t` (N,) float32; `augmentation` as in `forward`."""
        embedding = timestep_embedding(t, self.config.base_channels).to(self.dtype)
        embedding = self.time_embedding(embedding)  # (N, 4 * base)
        if augmentation is not None:
            embedding = embedding + self.augmentation_embedding(augmentation.to(self.dtype))
        h = self.stem(self._patches(x_t))  # (N, base, H / patch, W / patch)
        skips = [h]
        for block in self.encoder:
            h = self._run(block, h, embedding)  # (N, C_level, H / patch / 2^level, W / patch / 2^level)
            skips.append(h)
        height, width = x_t.shape[2:]
        return Encoded(h, skips, embedding, (height, width))

    def conditions(self, semantic_map: Tensor, budget_bytes: int = 0) -> Conditions:
        """Prepare semantic maps (N, K, H, W) for `decode`; see `Conditions` for the budget."""
        patches = self._patches(semantic_map)
        # On a GPU sorting the neighbourhoods and summing their gradients would cost what it saves.
        share_patterns = self.share_patterns and patches.device.type == "cpu"
        return Conditions(patches, self.config.spade_resize, budget_bytes, share_patterns)

    def decode(self, encoded: Encoded, conditions: Conditions) -> Tensor:
        """Decode under the masks; returns (N, 2C, H, W)."""
        h, skips, embedding, (height, width) = encoded
        first, attention, second = self.middle
        h = self._run(first, h, embedding, conditions)
        h = self._run(second, attention(h), embedding, conditions)
        remaining = list(skips)
        for block in self.decoder:
            h = self._run(block, torch.cat([h, remaining.pop()], dim=1), embedding, conditions)
        patches = self.out_conv(F.silu(self.out_norm(h)))  # (N, patch * patch * 2C, H / patch, W / patch)
        output: Tensor = F.pixel_shuffle(patches, self.config.patch_size) if self.config.patch_size > 1 else patches
        return output[:, :, :height, :width]

    def forward(self, x_t: Tensor, t: Tensor, semantic_map: Tensor, augmentation: Tensor | None = None) -> Tensor:
        """Predict eps (or what else the model was trained to predict) and the raw variance v.

        Args:
            x_t: (N, C, H, W), noisy images of any size.
            t: (N,) float32 on the scale of the 1000 original timesteps, not necessarily whole.
            semantic_map: (N, K, H, W) one-hot; all zero is the null map.
            augmentation: (N, A) labels of a change of image and map; None or all zero is none.

        Returns:
            (N, 2C, H, W): eps, then v.
        """
        return self.decode(self.encode(x_t, t, augmentation), self.conditions(semantic_map))

    def _patches(self, tensor: Tensor) -> Tensor:
        """What the first level sees of (N, C, H, W): (N, patch * patch * C, H' / patch, W' / patch).

        H' and W' are multiples of `size_divisor`, by zeros below and to the right: to a convolution, more border.
        """
        tensor = tensor.to(self.dtype)
        height, width = tensor.shape[2:]
        bottom, right = -height % self.size_divisor, -width % self.size_divisor
        padded = F.pad(tensor, (0, right, 0, bottom)) if bottom or right else tensor
        return F.pixel_unshuffle(padded, self.config.patch_size) if self.config.patch_size > 1 else padded

    def _run(self, block: nn.Module, *inputs: Any) -> Tensor:
        """Run a block; with gradient checkpointing its activations are recomputed in the backward pass."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return cast("Tensor", self._gradient_checkpointing_func(block, *inputs))
        return cast("Tensor", block(*inputs))
