"""Turn images to and from the network's range [-1, 1]."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isdm.data.image_files import ImageArray


def to_model_range(images: ImageArray, bit_depth: int = 8) -> torch.Tensor:
    """Turn images (N, H, W, C) uint8, or with 16 bits uint16, into `x_start` (N, C, H, W) float32 in [-1, 1]."""
    assert 8 * images.dtype.itemsize == bit_depth, f"{images.dtype} images are not of {bit_depth} bits"
    tensor = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float()
    x_start: torch.Tensor = tensor / ((2**bit_depth - 1) / 2) - 1
    return x_start


def from_model_range(x_start: torch.Tensor, bit_depth: int = 8) -> ImageArray:
    """Turn `x_start` (N, C, H, W) in [-1, 1] into images (N, H, W, C), uint8 or uint16, rounded to nearest."""
    scaled = (x_start.float().clamp(-1, 1) + 1) * ((2**bit_depth - 1) / 2)
    values: NDArray[Any] = scaled.round().to(torch.int32).permute(0, 2, 3, 1).cpu().numpy()
    return values.astype(np.uint8 if bit_depth == 8 else np.uint16)
