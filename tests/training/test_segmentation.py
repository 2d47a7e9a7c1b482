"""What segmenters see of the decoded pairs."""

import numpy as np
import torch
from torch import Tensor, nn

from isdm.training.segmentation import LabelledImages, _batch, predict_masks


class Bright(nn.Module):
    """Class 1 where the first channel is above a half; remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(0.5))
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        return torch.stack([self.threshold.expand_as(images[:, 0]), images[:, 0]], dim=1)


def test_images_of_16_bits_look_like_those_of_8() -> None:
    narrow = np.random.default_rng(0).integers(0, 256, (40, 4, 5, 1), np.uint8)  # more than one batch
    wide = narrow.astype(np.uint16) * 257
    network = Bright()
    masks = [predict_masks(network, images) for images in (narrow, wide)]
    np.testing.assert_array_equal(masks[0], narrow[:, :, :, 0] > 127)
    np.testing.assert_array_equal(masks[1], masks[0])
    seen = torch.cat(network.seen)
    assert torch.allclose(seen[:40], seen[40:], atol=1e-6)
    assert 0 <= seen.min() < 0.05
    assert 0.95 < seen.max() <= 1


def test_training_scales_16_bits_too() -> None:
    images = np.array([[[[65535]]], [[[0]]]], np.uint16)
    pairs = LabelledImages(images, np.zeros((2, 1, 1), np.uint8))
    batch, masks = _batch(pairs, np.array([0, 1, 0]), torch.device("cpu"))
    assert batch.ravel().tolist() == [1, 0, 1]
    assert masks.dtype == torch.int64
