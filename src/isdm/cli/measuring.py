"""What one step of a network takes on this machine: a few steps of it are run on random data.

A processor's time goes with the number of images, so there two images are enough and a plan is quick to make. A GPU
is only busy with a whole batch.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import segmentation_models_pytorch as smp
import torch

from isdm.config import SegmenterConfig, TrainConfig, UNetConfig
from isdm.hardware import autocast, select_device, select_dtype, select_memory_format
from isdm.models.segmenters import build_segmenter
from isdm.models.unet import SemanticUNet
from isdm.progress import say

SAMPLED_PASSES = 2
LONG_SECONDS = 10.0
"""A first pass of this length is not repeated: what it sets up no longer counts."""
MOST_IMAGES = 2


@dataclass(frozen=True)
class Shape:
    """What the costs depend on."""

    size: tuple[int, int]
    channels: int
    num_classes: int
    num_train_images: int


def train_step_seconds(config: TrainConfig, shape: Shape) -> float:
    """One training step of the diffusion network."""
    device = select_device(config.device)
    dtype = select_dtype(config.precision, device)
    num_images = _num_measured(config.batch_size, device)
    num_map_channels = shape.num_classes + config.instances
    seconds = _train_step(config.unet, device, dtype, num_images, num_map_channels, shape.channels, shape.size)
    return seconds * config.batch_size / num_images


def segmenter_step_seconds(config: SegmenterConfig, architecture: str, shape: Shape) -> float:
    """One training step of a segmentation network."""
    device = select_device(config.device)
    dtype = select_dtype(config.precision, device)
    num_images = _num_measured(config.batch_size, device)
    seconds = _segmenter_step(
        architecture,
        config.encoder,
        device,
        dtype,
        num_images,
        shape.num_classes,
        shape.channels,
        shape.size,
    )
    return seconds * config.batch_size / num_images


def _num_measured(batch_size: int, device: torch.device) -> int:
    return min(batch_size, MOST_IMAGES) if device.type == "cpu" else batch_size


@cache
def _train_step(
    unet_config: UNetConfig,
    device: torch.device,
    dtype: torch.dtype,
    num_images: int,
    num_map_channels: int,
    channels: int,
    size: tuple[int, int],
) -> float:
    say("Measuring one training step…")
    unet = SemanticUNet(in_channels=channels, num_classes=num_map_channels, **unet_config.model_dump())
    memory_format = select_memory_format(device, dtype)
    unet = unet.to(device).to(memory_format=memory_format)
    unet.share_patterns = False  # what flat masks save depends on the masks, which are not read here
    images = torch.randn(num_images, channels, *size, device=device)
    maps = torch.zeros(num_images, num_map_channels, *size, device=device)
    images, maps = (x.contiguous(memory_format=memory_format) for x in (images, maps))
    t = torch.zeros(num_images, device=device)

    def step() -> None:
        with autocast(device, dtype):
            output = unet(images, t, maps)
        output.float().square().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return median_seconds(step)


@cache
def _segmenter_step(
    architecture: str,
    encoder: str,
    device: torch.device,
    dtype: torch.dtype,
    num_images: int,
    num_classes: int,
    channels: int,
    size: tuple[int, int],
) -> float:
    say(f"Measuring one step of {architecture}…")
    network = build_segmenter(architecture, encoder, "none", num_classes)
    network = network.to(device).ordered(select_memory_format(device, dtype))
    dice = smp.losses.DiceLoss("multiclass", from_logits=True)
    images = torch.rand(num_images, channels, *size, device=device)
    masks = torch.zeros(num_images, *size, dtype=torch.int64, device=device)

    def step() -> None:
        with autocast(device, dtype):
            logits = network(images)
        dice(logits.float(), masks).backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return median_seconds(step)


def median_seconds(action: Callable[[], object]) -> float:
    """What an action takes once it is set up; one that takes long is done only once."""
    first = _seconds(action)
    if first > LONG_SECONDS:
        return first
    return float(np.median([_seconds(action) for _ in range(SAMPLED_PASSES)]))


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
