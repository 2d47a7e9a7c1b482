"""What the speed benchmarks share: timing in turn, counting FLOPs, their command line, the result files."""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from isdm.hardware import describe

RESULTS = Path(__file__).parent / "results"

Ways = Mapping[str, Callable[[], object]]


def alternate(
    ways: Ways, rounds: int, warmup: int = 2, before: Callable[[], object] = lambda: None
) -> dict[str, list[float]]:
    """Seconds of every way in every round. The ways run in turn, so that a slow spell meets them all alike.

    `before` is called before each of them, untimed.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for index in range(warmup + rounds):
        in_order = list(ways.items())
        for name, way in in_order if index % 2 == 0 else reversed(in_order):
            before()
            _finish_device_work()
            start = time.perf_counter()
            way()
            _finish_device_work()
            if index >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _finish_device_work() -> None:
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()


def medians(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(times) for name, times in seconds.items()}


def timings(seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    """The part of a result that says how long each way took and how far its rounds lie apart."""
    spread = {name: [min(times), max(times)] for name, times in seconds.items()}
    return {"median_seconds": medians(seconds), "range_seconds": spread}


def flops(way: Callable[[], object]) -> int:
    """FLOPs of convolutions, matrix products and attention in one call."""
    with FlopCounterMode(display=False) as counter:
        way()
    return int(counter.get_total_flops())


def claim(measured: float, at_least: float) -> dict[str, float | bool]:
    return {"measured": measured, "at_least": at_least, "met": measured >= at_least}


def parser(docstring: str | None, rounds: int) -> argparse.ArgumentParser:
    """The options of every benchmark of a network."""
    options = argparse.ArgumentParser(description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--preset", nargs="+", choices=("tiny", "small", "base", "paper"), default=["tiny", "small"])
    options.add_argument("--size", type=int, help="height and width; 64, with base and paper 256")
    options.add_argument("--batch", type=int, help="images at once; 16, with base and paper 1")
    options.add_argument(
        "--spade-channels", nargs="+", type=int, help="hidden SPADE channels instead of the claim's; 0: the preset's"
    )
    options.add_argument("--rounds", type=int, default=rounds, help="measured rounds, each of all ways in turn")
    options.add_argument("--warmup", type=int, default=2, help="rounds before them that do not count")
    options.add_argument("--device", default="auto", help="auto, cpu, cuda")
    options.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    options.add_argument("--quick", action="store_true", help="only see that it runs; writes nothing without --out")
    options.add_argument("--out", type=Path, help="result file; networks that are measured already stay in it")
    return options


def machine() -> dict[str, str]:
    return {"processor": _processor(), **dict(describe())}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Print a result and write it."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def report(name: str, claims: str, arguments: argparse.Namespace, label: str, measured: Mapping[str, Any]) -> None:
    """Print what was measured of one network and write it beside what the file says of others."""
    print(json.dumps({label: measured}, indent=2), flush=True)
    path: Path | None = arguments.out or (None if arguments.quick else RESULTS / f"{name}.json")
    if path is None:
        return
    others = json.loads(path.read_text())["networks"] if path.is_file() else {}
    entry = {**measured, "rounds": arguments.rounds, "torch": torch.__version__, "machine": machine()}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"claim": claims, "networks": {**others, label: entry}}, indent=2) + "\n")
