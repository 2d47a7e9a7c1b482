"""Spatially-adaptive normalisation (Park et al. 2019): the only way by which the mask enters the network."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from isdm.models.layers import NUM_GROUPS, TimeScaleShift, resample, zero_initialised

Resize = Literal["nearest", "area"]


class SemanticPyramid:
    """A semantic map (N, K, H, W) at the sizes of the feature maps, each made once when first asked for."""

    def __init__(self, semantic_map: Tensor, resize: Resize) -> None:
        self._resize = resize
        self._maps = {tuple(semantic_map.shape[2:]): semantic_map}

    def at_size_of(self, h: Tensor) -> Tensor:
        """The map at the height and width of `h`."""
        size = tuple(h.shape[2:])
        if size not in self._maps:
            full = next(iter(self._maps.values()))
            self._maps[size] = F.interpolate(full, size=size, mode=self._resize)
        return self._maps[size]


class Spade(nn.Module):
    """Normalise without parameters, then scale and shift each position by what the mask says there."""

    def __init__(self, channels: int, num_classes: int, hidden_channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(NUM_GROUPS, channels, affine=False)
        self.shared = nn.Conv2d(num_classes, hidden_channels, 3, padding=1)
        self.to_gamma = nn.Conv2d(hidden_channels, channels, 3, padding=1)
        self.to_beta = nn.Conv2d(hidden_channels, channels, 3, padding=1)

    def forward(self, h: Tensor, pyramid: SemanticPyramid) -> Tensor:
        """Modulate `h` (N, C, H, W) by the pyramid's map of that size."""
        hidden = F.relu(self.shared(pyramid.at_size_of(h)))  # (N, hidden, H, W)
        gamma = self.to_gamma(hidden)  # (N, C, H, W)
        beta = self.to_beta(hidden)  # (N, C, H, W)
        modulated: Tensor = self.norm(h) * (1 + gamma) + beta
        return modulated


class SpadeResBlock(nn.Module):
    """Residual block of the middle and the decoder; `direction` +1 also doubles the size.

    The time scale-shift follows the second SPADE layer, as in SDM (Wang et al. 2022).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        embedding_channels: int,
        num_classes: int,
        spade_channels: int,
        dropout: float,
        direction: int = 0,
    ) -> None:
        super().__init__()
        self.direction = direction
        self.in_norm = Spade(in_channels, num_classes, spade_channels)
        self.in_conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.out_norm = Spade(out_channels, num_classes, spade_channels)
        self.time = TimeScaleShift(embedding_channels, out_channels)
        self.dropout = nn.Dropout(dropout)
        self.out_conv = zero_initialised(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.skip = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor, pyramid: SemanticPyramid) -> Tensor:
        """Map `x` (N, in, H, W), the time embedding (N, E) and the masks to (N, out, H', W')."""
        h = F.silu(self.in_norm(x, pyramid))  # (N, in, H, W)
        h = self.in_conv(resample(h, self.direction))  # (N, out, H', W')
        h = self.time(self.out_norm(h, pyramid), embedding)  # (N, out, H', W')
        h = self.out_conv(self.dropout(F.silu(h)))  # (N, out, H', W')
        skip: Tensor = self.skip(resample(x, self.direction))
        return skip + h
