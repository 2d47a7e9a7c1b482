"""Files that torch saved, read without running any code that they may carry."""

import pickle
from pathlib import Path
from typing import Any

import torch

_DAMAGED_OR_HOSTILE = (
    OSError,
    EOFError,
    RuntimeError,  # a truncated archive
    pickle.UnpicklingError,  # anything but plain tensors and containers
    LookupError,
    AttributeError,
    TypeError,
    ValueError,
    OverflowError,
    MemoryError,
)


class UnreadableStateError(ValueError):
    """A file is damaged, or holds more than plain tensors; its message is the reason in a word."""


def load_plain_tensors(path: Path) -> Any:
    """What `torch.save` wrote to `path`, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableStateError: damaged, or it would have to run code.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except _DAMAGED_OR_HOSTILE as error:
        raise UnreadableStateError(type(error).__name__) from None
