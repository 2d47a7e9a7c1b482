"""Sharing neighbourhoods must not change a number: it is compared with the convolutions over all pixels."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from isdm.data.semantic_map import semantic_map
from isdm.models.modulation import look_up
from isdm.models.patterns import find_patterns
from isdm.models.spade import Conditions, Spade


def flat_masks(num_classes: int, size: tuple[int, int] = (24, 20), num_masks: int = 3) -> torch.Tensor:
    """Masks with a few flat areas, an ignored corner and areas that touch the border."""
    noise = np.random.default_rng(0).normal(size=(num_masks, *size))
    smooth = ndimage.gaussian_filter(noise, (0, 4, 4))
    edges = np.quantile(smooth, np.linspace(0, 1, num_classes + 1)[1:-1])
    masks = torch.from_numpy(np.digitize(smooth, edges))
    masks[0, :4, :5] = 255
    return masks


def layer_of(num_classes: int) -> Spade:
    torch.manual_seed(0)
    return Spade(8, num_classes=num_classes, hidden_channels=5, num_groups=4)


@pytest.mark.parametrize("resize", ["nearest", "area"])
@pytest.mark.parametrize("num_classes", [2, 5, 200])
def test_shared_patterns_give_the_same_gamma_and_beta(num_classes: int, resize: str) -> None:
    maps = semantic_map(flat_masks(num_classes), num_classes)
    maps[1] = 0  # the null map
    layer = layer_of(num_classes)
    for size in ((24, 20), (12, 10)):
        h = torch.zeros(3, 8, *size)
        at_size = Conditions(maps, resize).at_size_of(h)  # type: ignore[arg-type]
        patterns = find_patterns(at_size)
        plain = layer.gamma_and_beta(at_size)
        for ours, expected in zip(layer.gamma_and_beta_of_patterns(patterns), plain, strict=True):
            assert torch.allclose(look_up(ours, patterns.index, h), expected, atol=1e-5)


def test_gradients_are_those_of_the_convolutions() -> None:
    maps, layer = semantic_map(flat_masks(3), 3), layer_of(3).double()
    weights = torch.randn(3, 8, 24, 20, dtype=torch.float64)

    def gradients(share_patterns: bool) -> list[torch.Tensor]:
        layer.zero_grad()
        conditions = Conditions(maps.double(), "nearest", share_patterns=share_patterns)
        h = weights.cos().requires_grad_()
        (conditions.modulate(layer, h) * weights).sum().backward()
        assert h.grad is not None
        return [h.grad, *(parameter.grad for parameter in layer.parameters() if parameter.grad is not None)]

    plain, shared = gradients(False), gradients(True)
    assert len(plain) == 7
    for ours, expected in zip(shared, plain, strict=True):
        assert torch.allclose(ours, expected, rtol=1e-5, atol=1e-4)


def test_patterns_are_the_distinct_neighbourhoods() -> None:
    maps = semantic_map(flat_masks(3), 3)
    patterns = find_patterns(maps)
    padded = np.pad(maps.numpy() + 1, ((0, 0), (0, 0), (2, 2), (2, 2)))  # zero is only outside
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(2, 3))
    expected = np.unique(windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 3 * 25), axis=0)
    assert len(patterns.inner) == len(expected)
    small = np.lib.stride_tricks.sliding_window_view(padded[:, :, 1:-1, 1:-1], (3, 3), axis=(2, 3))
    small = np.unique(small.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 3 * 9), axis=0)
    assert len(patterns.maps) == len(small)
    centre = patterns.inner[:, 4] // 9
    assert torch.equal(patterns.maps[centre[patterns.index]][..., 1, 1].permute(0, 3, 1, 2), maps)


def test_noisy_masks_are_convolved() -> None:
    """Where nearly every neighbourhood is another one, sharing would cost more than it saves."""
    noise = semantic_map(torch.randint(0, 3, (2, 16, 16), generator=torch.Generator().manual_seed(0)), 3)
    flat = semantic_map(torch.zeros(2, 16, 16), 3)
    h = torch.zeros(2, 8, 16, 16)
    assert Conditions(noise, "nearest", share_patterns=True).patterns_at_size_of(h) is None
    found = Conditions(flat, "nearest", share_patterns=True).patterns_at_size_of(h)
    assert found is not None
    assert len(found.inner) == 25  # the middle, and two rows and columns of pixels near each border
