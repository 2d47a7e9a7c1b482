"""From class ids to the semantic map that the network sees."""

import torch
from torch import Tensor

from isdm.data.dataset import IGNORE_INDEX


def semantic_map(
    mask: Tensor, num_classes: int, ignore_index: int = IGNORE_INDEX, instances: Tensor | None = None
) -> Tensor:
    """One-hot map of a mask.

    Args:
        mask: (N, H, W) integer class ids.
        num_classes: number of classes, background included.
        ignore_index: pixels with this id become the zero vector.
        instances: (N, H, W) ids of objects; their borders become one more channel, the last, zero where the
            mask is ignored.

    Returns:
        (N, num_classes, H, W) float32, or one channel more with `instances`.
    """
    mask = mask.long()
    ignored = mask == ignore_index
    one_hot = torch.nn.functional.one_hot(mask.masked_fill(ignored, 0), num_classes)
    one_hot = one_hot.masked_fill(ignored[..., None], 0).permute(0, 3, 1, 2).float()
    if instances is None:
        return one_hot
    edges = instance_edges(instances).masked_fill(ignored[:, None], 0)
    return torch.cat([one_hot, edges], dim=1)


def instance_edges(instances: Tensor) -> Tensor:
    """Borders between objects (Park et al. 2019; the edge channel of SDM, Wang et al. 2022).

    Args:
        instances: (N, H, W) integer ids of objects.

    Returns:
        (N, 1, H, W) float32: 1 where one of a pixel's four neighbours has another id, on both sides of a border.
    """
    edges = torch.zeros_like(instances, dtype=torch.bool)
    across = instances[:, :, 1:] != instances[:, :, :-1]
    down = instances[:, 1:] != instances[:, :-1]
    edges[:, :, 1:] |= across
    edges[:, :, :-1] |= across
    edges[:, 1:] |= down
    edges[:, :-1] |= down
    return edges[:, None].float()


def null_map(semantic_map: Tensor) -> Tensor:
    """The map of no information: all zero, which is not class 0."""
    return torch.zeros_like(semantic_map)
