"""The networks that the speed benchmarks measure, what goes into them, and one training step of any of them."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isdm.config import UNetConfig, with_preset
from isdm.data.semantic_map import semantic_map
from isdm.diffusion.guidance import guided_output
from isdm.diffusion.process import hybrid_loss, q_sample
from isdm.diffusion.schedule import training_schedule
from isdm.hardware import autocast, select_device, select_dtype, select_memory_format
from isdm.models import spade
from isdm.models.layers import GroupNorm
from isdm.models.spade import Conditions
from isdm.models.unet import SemanticUNet

NUM_CLASSES = 2
GUIDANCE_SCALE = 1.5
ALL_OF_THEM = 2**50
"""A budget in bytes that every gamma and beta fits into."""

Forward = Callable[[Any, Tensor, Tensor, Tensor], Tensor]
"""network, x_t (N, C, H, W), t (N,), semantic maps (N, K, H, W) → (N, 2C, H, W)."""


@dataclass(frozen=True)
class Setting:
    """One network with its input on one device."""

    preset: str
    size: int
    batch: int
    spade_channels: int
    device: torch.device
    dtype: torch.dtype
    """The arithmetic that the hardware picks, or `--precision` names."""

    @property
    def label(self) -> str:
        device = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"
        return (
            f"{self.preset}, {self.spade_channels} SPADE channels, {self.batch} of {self.size}x{self.size}, "
            f"{device}, {str(self.dtype).removeprefix('torch.')}"
        )

    @property
    def layout(self) -> torch.memory_format:
        """The order in memory that isdm picks for this hardware."""
        return select_memory_format(self.device, self.dtype)

    def laid_out(self, tensor: Tensor) -> Tensor:
        return tensor.contiguous(memory_format=self.layout)

    @property
    def unet_options(self) -> dict[str, Any]:
        return _preset_options(self.preset) | {"spade_channels": self.spade_channels}

    def unet(self) -> SemanticUNet:
        torch.manual_seed(0)
        unet: SemanticUNet = ready(SemanticUNet(num_classes=NUM_CLASSES, **self.unet_options), self.device)
        return unet

    def noise(self) -> Tensor:
        """Noise (N, 3, H, W), in the place of noisy images too."""
        generator = torch.Generator().manual_seed(1)
        return torch.randn(self.batch, 3, self.size, self.size, generator=generator).to(self.device)

    def maps(self) -> Tensor:
        """Semantic maps (N, K, H, W)."""
        return semantic_map(ellipses(self.batch, self.size), NUM_CLASSES).to(self.device)

    def steps(self) -> Tensor:
        """Steps (N,) int64 of the training process."""
        generator = torch.Generator().manual_seed(2)
        return torch.randint(1000, (self.batch,), generator=generator).to(self.device)


def settings(arguments: argparse.Namespace, spade_channels: tuple[int, ...]) -> list[Setting]:
    """The networks that the command line asks for; `spade_channels` unless it names some, 0 for the preset's."""
    if arguments.quick:
        arguments.size, arguments.batch = arguments.size or 16, arguments.batch or 2
        arguments.rounds, arguments.warmup = min(arguments.rounds, 3), 1
    device = select_device(arguments.device)
    dtype = select_dtype(arguments.precision, device)
    chosen = []
    for preset in arguments.preset:
        size, batch = (256, 1) if preset in {"base", "paper"} else (64, 16)
        own: int = _preset_options(preset)["spade_channels"]
        widths = dict.fromkeys(width or own for width in arguments.spade_channels or spade_channels)
        chosen += [
            Setting(preset, arguments.size or size, arguments.batch or batch, width, device, dtype)
            for width in widths
        ]
    return chosen


def _preset_options(preset: str) -> dict[str, Any]:
    return UNetConfig(**with_preset({"preset": preset})["unet"]).model_dump()


def ready(network: Any, device: torch.device) -> Any:
    """The network on its device, float32 and NCHW, with its zero-initialised layers filled as if trained."""
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return network.to(device)


def prepared(network: Any, setting: Setting) -> Any:
    """A copy as the pipeline prepares it for sampling: its weights in the picked arithmetic and order."""
    return nn.Module.to(deepcopy(network), dtype=setting.dtype).to(memory_format=setting.layout)


def ellipses(count: int, size: int) -> Tensor:
    """Masks (N, H, W) int64 such as defects have: one to four ellipses of class 1 on background."""
    generator = torch.Generator().manual_seed(0)
    axis = (torch.arange(size) + 0.5) / size
    masks = torch.zeros(count, size, size, dtype=torch.int64)
    for mask in masks:
        for _ in range(int(torch.randint(1, 5, (), generator=generator))):
            y, x, radius, stretch = torch.rand(4, generator=generator).tolist()
            height, width = 0.03 + 0.15 * radius, (0.03 + 0.15 * radius) * (0.5 + stretch)
            mask[((axis[:, None] - y) / height) ** 2 + ((axis[None, :] - x) / width) ** 2 <= 1] = 1
    return masks


def plain_conditions(unet: SemanticUNet, maps: Tensor) -> Conditions:
    """Conditions for the sides without savings: every gamma and beta from its convolutions, none kept."""
    with mock.patch.object(unet, "share_patterns", False):
        return unet.conditions(maps)


def plain_forward(unet: SemanticUNet, x_t: Tensor, t: Tensor, maps: Tensor) -> Tensor:
    """A whole forward pass without savings."""
    with mock.patch.object(spade, "resample", plain_resample), mock.patch.object(spade, "resampled_conv", plain_conv):
        return unet.decode(unet.encode(x_t, t), plain_conditions(unet, maps))


def plain_resample(h: Tensor, direction: int) -> Tensor:
    """The decoder's doubling by PyTorch's own operation."""
    return F.interpolate(h, scale_factor=2.0, mode="nearest") if direction > 0 else h


def plain_conv(h: Tensor, conv: nn.Conv2d, direction: int) -> Tensor:
    """Doubling, then convolving the large map."""
    convolved: Tensor = conv(plain_resample(h, direction))
    return convolved


def isdm_forward(unet: SemanticUNet, x_t: Tensor, t: Tensor, maps: Tensor) -> Tensor:
    """A forward pass as isdm trains with it."""
    output: Tensor = unet(x_t, t, maps)
    return output


@contextmanager
def plain_group_norm() -> Iterator[None]:
    """PyTorch's group normalisation in the place of isdm's."""
    with mock.patch.object(GroupNorm, "forward", nn.GroupNorm.forward):
        yield


def two_passes(
    network: Any, forward: Forward, x_t: Tensor, t: Tensor, maps: Tensor
) -> Callable[[], tuple[Tensor, Tensor]]:
    """A guided denoising step as it is usually made: a whole pass with the masks, one with the null map."""
    null_maps = torch.zeros_like(maps)

    def step() -> tuple[Tensor, Tensor]:
        eps, v = forward(network, x_t, t, maps).float().chunk(2, dim=1)
        eps_null, _ = forward(network, x_t, t, null_maps).float().chunk(2, dim=1)
        return eps_null + GUIDANCE_SCALE * (eps - eps_null), v

    return step


def with_savings(unet: SemanticUNet, x_t: Tensor, t: Tensor, maps: Tensor) -> Callable[[], tuple[Tensor, Tensor]]:
    """A guided denoising step as the pipeline makes it; its first call makes what the later ones keep."""
    conditions = unet.conditions(maps, ALL_OF_THEM)
    null_conditions = unet.conditions(torch.zeros_like(maps[:1]), ALL_OF_THEM)
    return lambda: guided_output(unet, x_t, t, conditions, null_conditions, GUIDANCE_SCALE)


def training_step(
    setting: Setting, network: Any, forward: Forward, *, dtype: torch.dtype, layout: torch.memory_format, fused: bool
) -> Callable[[], float]:
    """A training step on a copy of `network`: forward, hybrid loss, backward, AdamW; it returns the loss.

    Args:
        setting: where the batch comes from.
        network: the network, float32.
        forward: its forward pass.
        dtype: arithmetic of the forward pass, under autocast.
        layout: memory order of weights and batch.
        fused: AdamW in one kernel; otherwise the implementation that PyTorch picks.
    """
    network = deepcopy(network).to(memory_format=layout).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=0.0, fused=fused or None)
    schedule = training_schedule(1000)
    noise, maps = (tensor.contiguous(memory_format=layout) for tensor in (setting.noise(), setting.maps()))
    steps, x_start = setting.steps(), 1.6 * maps[:, 1:].expand(-1, 3, -1, -1).contiguous(memory_format=layout) - 0.8

    def step() -> float:
        x_t = q_sample(schedule, x_start, steps, noise)
        with autocast(setting.device, dtype):
            output = forward(network, x_t, steps.float(), maps)
        loss = hybrid_loss(schedule, output, x_start, x_t, steps, noise).total.mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step
