"""Layers that know nothing of the map, against PyTorch's own operations."""

import pytest
import torch
import torch.nn.functional as F

from isdm.models.layers import resample, resampled_conv

ORDERS = pytest.mark.parametrize(
    "order", [torch.contiguous_format, torch.channels_last], ids=["NCHW", "channels_last"]
)


@ORDERS
def test_doubling_repeats_every_pixel(order: torch.memory_format) -> None:
    h = torch.randn(2, 4, 3, 5, dtype=torch.float64).contiguous(memory_format=order).requires_grad_()
    doubled = resample(h, +1)
    assert torch.equal(doubled, F.interpolate(h, scale_factor=2.0, mode="nearest"))
    weights = torch.randn_like(doubled)
    (gradient,) = torch.autograd.grad((doubled * weights).sum(), h)
    blocks = weights.unfold(2, 2, 2).unfold(3, 2, 2).sum(dim=(4, 5))
    torch.testing.assert_close(gradient, blocks)


@ORDERS
@pytest.mark.parametrize("direction", [-1, 0, 1])
def test_a_convolution_of_the_resampled_map(order: torch.memory_format, direction: int) -> None:
    conv = torch.nn.Conv2d(4, 6, 3, padding=1).double().to(memory_format=order)
    h = torch.randn(2, 4, 6, 8, dtype=torch.float64).contiguous(memory_format=order).requires_grad_()
    found, expected = resampled_conv(h, conv, direction), conv(resample(h, direction))
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(expected)
    parameters = [h, *conv.parameters()]
    gradients = torch.autograd.grad((found * weights).sum(), parameters)
    torch.testing.assert_close(gradients, torch.autograd.grad((expected * weights).sum(), parameters))


@ORDERS
def test_halving_takes_the_mean_and_keeping_nothing(order: torch.memory_format) -> None:
    h = torch.randn(2, 4, 6, 8, dtype=torch.float64).contiguous(memory_format=order)
    torch.testing.assert_close(resample(h, -1), h.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(4, 5)))
    assert resample(h, 0) is h
