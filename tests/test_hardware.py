"""Devices: those that a training can use, and how much memory they have left."""

import pytest
import torch

from isdm.errors import UsageError
from isdm.hardware import select_device


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
