"""Files of weights, read without running any code that they may carry, and without unfolding more than they hold.

A pickle can run programs, so torch reads plain tensors and containers alone. A few bytes can also stand for
terabytes: compressed parts of the archive, or a tensor that shows one number again and again.
"""

import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

MOST_DEEPLY = 50
"""Containers within containers; optimiser states have five."""
HARMLESS_BYTES = 2**20

_DAMAGED_OR_HOSTILE = (
    OSError,
    EOFError,
    RuntimeError,  # a truncated archive
    pickle.UnpicklingError,  # anything but plain tensors and containers
    zipfile.BadZipFile,
    SafetensorError,
    LookupError,
    AttributeError,
    AssertionError,
    TypeError,
    ValueError,
    OverflowError,
    MemoryError,
    RecursionError,
    NotImplementedError,
    struct.error,  # a pickle that ends within a number
)


class UnreadableStateError(ValueError):
    """A file is damaged, or holds more than plain tensors; its message is the reason in a word."""


def load_plain_tensors(path: Path, *, mapped: bool = False) -> Any:
    """What `torch.save` wrote to `path`, on the CPU; with `mapped`, tensors are read when they are used.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableStateError: damaged, it would have to run code, or it unfolds to more than it holds.
    """
    _require_file(path)
    try:
        _refuse_compression(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (FileNotFoundError, UnreadableStateError):
        raise
    except _DAMAGED_OR_HOSTILE as error:
        raise UnreadableStateError(type(error).__name__) from None
    for tensor in _tensors(state):
        _refuse_unfolding(tensor)
    return state


def load_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a state dict that torch saved, by name.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableStateError: see `load_plain_tensors`.
    """
    if path.suffix != ".safetensors":
        state = load_plain_tensors(path)
        inner = state.get("state_dict", state) if isinstance(state, Mapping) else {}
        inner = inner if isinstance(inner, Mapping) else {}
        return {str(name): value for name, value in inner.items() if isinstance(value, Tensor)}
    _require_file(path)
    try:
        return load_file(path)  # whose header must agree with the bytes that follow it
    except (FileNotFoundError, UnreadableStateError):
        raise
    except _DAMAGED_OR_HOSTILE as error:
        raise UnreadableStateError(type(error).__name__) from None


def _require_file(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(path)
    if not path.is_file():  # a folder; a pipe would never end
        raise UnreadableStateError("no file")


def _refuse_compression(path: Path) -> None:
    """Refuse an archive whose parts unpack to more than it holds: torch itself stores them as they are."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(part.file_size for part in archive.infolist())
    if unpacked > path.stat().st_size + HARMLESS_BYTES:
        raise UnreadableStateError("a decompression bomb")


def _refuse_unfolding(tensor: Tensor) -> None:
    """Refuse a tensor that is not as large as it says: one without storage, or that repeats its numbers."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_nested:
        raise UnreadableStateError("not plain tensors")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise UnreadableStateError("a tensor that says it is larger than it is")


def _tensors(state: Any) -> Iterator[Tensor]:
    """Every tensor in containers, each container looked into once however often it is named."""
    seen: set[int] = set()
    waiting: list[tuple[Any, int]] = [(state, 0)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, Mapping | list | tuple | set) and id(value) not in seen:
            seen.add(id(value))
            if depth > MOST_DEEPLY:
                raise UnreadableStateError("nested too deeply")
            inner = [*value, *value.values()] if isinstance(value, Mapping) else value
            waiting += [(part, depth + 1) for part in inner]
