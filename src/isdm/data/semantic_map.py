"""From class ids to the semantic map that the network sees."""

import torch
from torch import Tensor

from isdm.data.dataset import IGNORE_INDEX


def semantic_map(mask: Tensor, num_classes: int, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """One-hot map of a mask.

    Args:
        mask: (N, H, W) integer class ids.
        num_classes: number of classes, background included.
        ignore_index: pixels with this id become the zero vector.

    Returns:
        (N, num_classes, H, W) float32.
    """
    mask = mask.long()
    ignored = mask == ignore_index
    one_hot = torch.nn.functional.one_hot(mask.masked_fill(ignored, 0), num_classes)
    one_hot = one_hot.masked_fill(ignored[..., None], 0)
    return one_hot.permute(0, 3, 1, 2).float()


def null_map(semantic_map: Tensor) -> Tensor:
    """The map of no information: all zero, which is not class 0."""
    return torch.zeros_like(semantic_map)
