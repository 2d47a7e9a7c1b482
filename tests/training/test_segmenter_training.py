"""What segmenters see of the decoded pairs."""

import numpy as np
import torch
from torch import Tensor, nn

from isdm.training.segmentation import LabelledImages, MixedImages, _batch, predict_masks


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


def test_a_mix_gives_the_pairs_of_its_parts_one_after_another() -> None:
    first, second = (
        LabelledImages(np.arange(start, start + 6, dtype=np.uint8).reshape(6, 1, 1, 1), np.full((6, 1, 1), mask))
        for start, mask in ((10, 1), (20, 2))
    )
    chosen, added, again = np.array([5, 0]), np.array([3]), np.array([0, 0])
    mix = MixedImages(((first, chosen), (second, added), (first, again)))
    assert len(mix) == 5
    taken = mix.take(np.array([4, 2, 0, 0, 1, 3]))
    assert taken.images.ravel().tolist() == [10, 23, 15, 15, 10, 10]
    assert taken.masks.ravel().tolist() == [1, 2, 1, 1, 1, 1]
    assert taken.images.dtype == np.uint8


def test_a_batch_of_a_mix_is_that_of_the_joined_arrays() -> None:
    rng = np.random.default_rng(0)
    parts = [
        LabelledImages(rng.integers(0, 65536, (7, 4, 5, 1), np.uint16), rng.integers(0, 3, (7, 4, 5), np.uint8))
        for _ in range(2)
    ]
    rows = [rng.permutation(7)[:4], rng.permutation(7)[:5]]
    mix = MixedImages(tuple(zip(parts, rows, strict=True)))
    joined = LabelledImages(
        np.concatenate([part.images[row] for part, row in zip(parts, rows, strict=True)]),
        np.concatenate([part.masks[row] for part, row in zip(parts, rows, strict=True)]),
    )
    indices = rng.permutation(9)
    for mine, expected in zip(*(_batch(pairs, indices, torch.device("cpu")) for pairs in (mix, joined)), strict=True):
        assert torch.equal(mine, expected)


def test_training_scales_16_bits_too() -> None:
    images = np.array([[[[65535]]], [[[0]]]], np.uint16)
    pairs = LabelledImages(images, np.zeros((2, 1, 1), np.uint8))
    batch, masks = _batch(pairs, np.array([0, 1, 0]), torch.device("cpu"))
    assert batch.ravel().tolist() == [1, 0, 1]
    assert masks.dtype == torch.int64
