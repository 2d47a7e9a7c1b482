"""Claim: memory that stays with the process makes steps on the CPU faster.

Both ways run in one process, in turn; glibc's own setting is what its dynamic threshold comes to rest at (malloc(3)).
The peak memory of each way is that of a process of its own.
    python benchmarks/freed_memory.py
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from harness import RESULTS, alternate, claim, machine, medians, timings, write_result
from isdm.hardware import select_dtype
from isdm.memory import allow_freed_memory, reuse_freed_memory
from networks import Setting, isdm_forward, prepared, training_step, with_savings

KEPT, GIVEN_BACK = "kept", "glibc's own"
MIB = 2**20


def give_back() -> None:
    allow_freed_memory(mapped_apart_from=32 * MIB, kept_up_to=64 * MIB)


SWITCHES: dict[str, Callable[[], None]] = {KEPT: reuse_freed_memory, GIVEN_BACK: give_back}


def steps(setting: Setting) -> dict[str, Callable[[], object]]:
    unet = setting.unet()
    train = training_step(setting, unet, isdm_forward, dtype=setting.dtype, layout=setting.layout, fused=True)
    sampled = [setting.laid_out(tensor) for tensor in (setting.noise(), setting.maps())]
    sample = with_savings(prepared(unet, setting).eval(), sampled[0], setting.steps().float(), sampled[1])

    def guided() -> object:
        with torch.no_grad():
            return sample()

    return {"training step": train, "guided step": guided}


def peak_mib(way: str) -> float:
    """Peak memory of a process that makes six training steps in that way."""
    command = [sys.executable, __file__, "--only", way]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def main() -> None:
    setting = Setting("tiny", 64, 16, 128, torch.device("cpu"), select_dtype("auto", torch.device("cpu")))
    if "--only" in sys.argv:
        SWITCHES[sys.argv[-1]]()
        step = steps(setting)["training step"]
        for _ in range(6):
            step()
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        print(int(status["VmHWM"].split()[0]) / 1024)  # getrusage would start from the parent's peak
        return
    measured: dict[str, Any] = {}
    for name, step in steps(setting).items():

        def in_way(switch: Callable[[], None], step: Callable[[], object] = step) -> Callable[[], object]:
            return lambda: (switch(), step())

        seconds = alternate({way: in_way(switch) for way, switch in SWITCHES.items()}, rounds=12)
        median = medians(seconds)
        measured[name] = timings(seconds) | {"ratio": claim(median[GIVEN_BACK] / median[KEPT], at_least=1.0)}
    result = {
        "claim": "Freed memory that stays with the process makes steps on the CPU faster.",
        "network": setting.label,
        **measured,
        "peak_mib_of_training": {way: peak_mib(way) for way in SWITCHES},
        "machine": machine(),
    }
    write_result(RESULTS / "freed_memory.json", result)


if __name__ == "__main__":
    main()
