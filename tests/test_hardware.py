"""Devices: those that a training can use, and how much memory they have left."""

import pytest
import torch

from isdm.errors import UsageError
from isdm.hardware import free_memory_bytes, select_device


@pytest.mark.parametrize("name", ["mps", "xpu", "meta", "mkldnn", "cpu:3", "cuda:x", "cuda:123456789", "CPU", ""])
def test_a_device_that_isdm_does_not_use_is_refused_in_words(name: str) -> None:
    with pytest.raises(UsageError, match="is none that isdm uses; give auto, cpu, cuda or cuda:1"):
        select_device(name)


def test_a_device_that_is_not_there_is_refused_with_the_number_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="but this machine has 1 CUDA devices"):
        select_device("cuda:1")
    assert select_device("cuda:0") == torch.device("cuda:0")
    assert select_device("cpu") == torch.device("cpu")


def test_memory_that_pytorch_keeps_for_later_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a batch most of a GPU is cached blocks; the next batch may have them."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2, 80))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 70)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 30)
    assert free_memory_bytes(torch.device("cuda:0")) == 42


@pytest.mark.gpu
def test_a_tensor_that_was_dropped_leaves_its_memory_free() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    device = torch.device("cuda:0")
    torch.zeros(1, device=device)
    before = free_memory_bytes(device)
    torch.zeros(2**28, device=device)
    assert free_memory_bytes(device) >= before - 2**24
