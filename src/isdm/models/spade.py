"""Spatially-adaptive normalisation (Park et al. 2019): the only way by which the mask enters the network."""

from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isdm.models.layers import GroupNorm, TimeScaleShift, resample, resampled_conv, silu, zero_initialised
from isdm.models.modulation import look_up, modulate
from isdm.models.patterns import Patterns, find_patterns

Resize = Literal["nearest", "area"]


class Conditions:
    """A batch of semantic maps as the SPADE layers ask for it.

    The map is resized once for each size of feature map. Two exact savings are made here: gamma and beta do
    not depend on t, so those that fit into `budget_bytes` are kept, and sampling computes them once for a mask
    and not once a step; and where masks are flat they are computed once for each distinct neighbourhood
    (`isdm.models.patterns`).
    """

    def __init__(
        self, semantic_map: Tensor, resize: Resize, budget_bytes: int = 0, share_patterns: bool = False
    ) -> None:
        self._semantic_map = semantic_map
        self._resize = resize
        self._maps: dict[tuple[int, ...], Tensor] = {}
        self._patterns: dict[tuple[int, ...], Patterns | None] = {}
        self._modulations: dict[int, tuple[Tensor, Tensor]] = {}
        self._budget_bytes = budget_bytes
        self._share_patterns = share_patterns
        self.over_budget = False

    def at_size_of(self, h: Tensor) -> Tensor:
        """The maps (N, K, H', W') at the height and width of `h`."""
        size = tuple(h.shape[2:])
        if size not in self._maps:
            same = size == tuple(self._semantic_map.shape[2:])
            full = self._semantic_map
            self._maps[size] = full if same else F.interpolate(full, size=size, mode=self._resize)
        return self._maps[size]

    def patterns_at_size_of(self, h: Tensor) -> Patterns | None:
        """The distinct neighbourhoods at the size of `h`; None where sharing them would not pay."""
        if not self._share_patterns:
            return None
        size = tuple(h.shape[2:])
        if size not in self._patterns:
            found = find_patterns(self.at_size_of(h))
            self._patterns[size] = found if found.are_worthwhile else None
        return self._patterns[size]

    def modulate(self, layer: "Spade", h: Tensor) -> Tensor:
        """h · (1 + gamma) + beta of a layer (N, C, H', W'), kept ones where there are."""
        kept = self._modulations.get(id(layer))
        if kept is not None:
            return torch.addcmul(kept[1], h, kept[0])
        patterns = self.patterns_at_size_of(h)
        if patterns is None:
            gamma, beta = layer.gamma_and_beta(self.at_size_of(h))
        else:
            gamma, beta = layer.gamma_and_beta_of_patterns(patterns)
            if self._budget_bytes <= 0:
                return modulate(h, 1 + gamma, beta, patterns.index)
            gamma, beta = look_up(gamma, patterns.index, h), look_up(beta, patterns.index, h)
        scale = 1 + gamma
        self._keep_within_budget(layer, scale, beta)
        return torch.addcmul(beta, h, scale)

    def _keep_within_budget(self, layer: "Spade", scale: Tensor, beta: Tensor) -> None:
        if self._budget_bytes <= 0:
            return
        self._budget_bytes -= scale.nbytes + beta.nbytes
        if self._budget_bytes > 0:
            self._modulations[id(layer)] = (scale, beta)
        else:
            self._budget_bytes, self.over_budget = 0, True


class Spade(nn.Module):
    """Normalise without parameters, then scale and shift each position by what the mask says there."""

    def __init__(self, channels: int, *, num_classes: int, hidden_channels: int, num_groups: int) -> None:
        super().__init__()
        self.norm = GroupNorm(num_groups, channels, affine=False)
        self.shared = nn.Conv2d(num_classes, hidden_channels, 3, padding=1)
        self.to_gamma = nn.Conv2d(hidden_channels, channels, 3, padding=1)
        self.to_beta = nn.Conv2d(hidden_channels, channels, 3, padding=1)

    def gamma_and_beta(self, semantic_map: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift, each (N, C, H, W), for maps (N, K, H, W) of the feature map's size."""
        hidden = F.relu(self.shared(semantic_map))  # (N, hidden, H, W)
        return self.to_gamma(hidden), self.to_beta(hidden)

    def gamma_and_beta_of_patterns(self, patterns: Patterns) -> tuple[Tensor, Tensor]:
        """The same in the middle of each distinct neighbourhood: (U, C) each.

        The second convolution is the sum of what its nine weights make of the nine inner pixels.
        """
        exact = torch.promote_types(self.to_beta.weight.dtype, torch.float32)  # sums of bfloat16 would round
        # fmt: off
        weight = torch.cat([self.to_gamma.weight, self.to_beta.weight])          # (2C, hidden, 3, 3)
        bias = torch.cat([cast("Tensor", self.to_gamma.bias), cast("Tensor", self.to_beta.bias)])  # (2C,)
        hidden = F.linear(patterns.maps.flatten(1), self.shared.weight.flatten(1), self.shared.bias)
        weight = weight.permute(2, 3, 0, 1).flatten(0, 2)                        # (9 * 2C, hidden)
        parts = F.linear(F.relu(hidden), weight).view(-1, len(bias))             # (9 * V, 2C)
        parts = F.pad(parts, (0, 0, 0, 1)).to(exact)                             # a row of zeros for outside
        both = F.embedding_bag(patterns.inner, parts, mode="sum") + bias         # (U, 2C)
        # fmt: on
        gamma, beta = both.chunk(2, dim=1)
        return gamma, beta

    def forward(self, h: Tensor, conditions: Conditions) -> Tensor:
        """Modulate `h` (N, C, H, W): norm(h) * (1 + gamma) + beta (Park et al. 2019, equation 1)."""
        return conditions.modulate(self, self.norm(h))  # (N, C, H, W)


class SpadeResBlock(nn.Module):
    """Residual block of the middle and the decoder; `direction` +1 also doubles the size.

    The time scale-shift follows the second SPADE layer, as in SDM (Wang et al. 2022).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        embedding_channels: int,
        num_groups: int,
        num_classes: int,
        spade_channels: int,
        dropout: float,
        direction: int = 0,
    ) -> None:
        super().__init__()
        self.direction = direction
        mask_options = {
            "num_classes": num_classes,
            "hidden_channels": spade_channels,
            "num_groups": num_groups,
        }
        self.in_norm = Spade(in_channels, **mask_options)
        self.in_conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.out_norm = Spade(out_channels, **mask_options)
        self.time = TimeScaleShift(embedding_channels, out_channels)
        self.dropout = nn.Dropout(dropout)
        self.out_conv = zero_initialised(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.skip = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor, conditions: Conditions) -> Tensor:
        """Map `x` (N, in, H, W), the time embedding (N, E) and the masks to (N, out, H', W')."""
        # fmt: off
        h = silu(self.in_norm(x, conditions))                   # (N, in, H, W)
        h = resampled_conv(h, self.in_conv, self.direction)     # (N, out, H', W')
        h = self.time(self.out_norm(h, conditions), embedding)  # (N, out, H', W')
        h = self.out_conv(self.dropout(silu(h)))                # (N, out, H', W')
        # fmt: on
        total: Tensor = self.skip(resample(x, self.direction)) + h
        return total
