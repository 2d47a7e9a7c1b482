"""Scaling and shifting by looked-up rows, compared with PyTorch's own operations and their gradients."""

import pytest
import torch
from torch import Tensor

from isdm.models.modulation import look_up, modulate, sum_by_row

NUM_ROWS = 7
ORDERS = [torch.contiguous_format, torch.channels_last]


def inputs(order: torch.memory_format, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    index = torch.randint(NUM_ROWS - 1, (3, 6, 5), generator=generator)  # nobody looks the last row up
    h = normal(3, 4, 6, 5).contiguous(memory_format=order)
    return h, normal(NUM_ROWS, 4), normal(NUM_ROWS, 4), index


@pytest.mark.parametrize("order", ORDERS)
def test_values_and_gradients_are_those_of_plain_operations(order: torch.memory_format) -> None:
    h, scale, beta, index = inputs(order, torch.float64)
    leaves = [tensor.requires_grad_() for tensor in (h, scale, beta)]
    weights = torch.randn(3, 4, 6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours = modulate(h, scale, beta, index)
    plain = h * scale[index].permute(0, 3, 1, 2) + beta[index].permute(0, 3, 1, 2)
    assert torch.allclose(ours, plain, atol=1e-12)
    of_ours = torch.autograd.grad((ours * weights).sum(), leaves)
    of_plain = torch.autograd.grad((plain * weights).sum(), leaves)
    for gradient, expected in zip(of_ours, of_plain, strict=True):
        assert torch.allclose(gradient, expected, atol=1e-12)
    assert not of_ours[1][-1].any()


@pytest.mark.parametrize("order", ORDERS)
def test_the_order_in_memory_stays(order: torch.memory_format) -> None:
    """A result in another order would be copied by the next layer, which costs more than the arithmetic."""
    h, scale, beta, index = inputs(order, torch.float32)
    modulated = modulate(h.requires_grad_(), scale, beta, index)
    (gradient,) = torch.autograd.grad(modulated.sum(), h)
    assert look_up(scale, index, h).is_contiguous(memory_format=order)
    assert modulated.is_contiguous(memory_format=order)
    assert gradient.is_contiguous(memory_format=order)


@pytest.mark.parametrize("order", ORDERS)
def test_gradients_are_summed_in_float32(order: torch.memory_format) -> None:
    """A thousand small bfloat16 values would stall at the point where adding one no longer changes the sum."""
    ones = torch.ones(1, 2, 32, 32, dtype=torch.bfloat16).contiguous(memory_format=order)
    summed = sum_by_row(ones, torch.zeros(1, 32, 32, dtype=torch.int64), 2)
    assert summed.tolist() == [[1024.0, 1024.0], [0.0, 0.0]]


def test_tables_take_the_precision_of_what_they_scale() -> None:
    h, scale, beta, index = inputs(torch.channels_last, torch.bfloat16)
    assert modulate(h, scale.float(), beta.float(), index).dtype == torch.bfloat16
