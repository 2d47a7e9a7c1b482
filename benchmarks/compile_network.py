"""Claim: compiling the network on a CPU costs minutes and brings nothing, so `compile=auto` leaves it as it is.

A training step and a guided step of a small network, compiled and not, in one process and in turn.
    python benchmarks/compile_network.py
"""

import time
from types import SimpleNamespace
from typing import Any, cast

import torch

from harness import RESULTS, alternate, machine, medians, write_result
from isdm.hardware import select_device, select_dtype
from networks import Setting, isdm_forward, prepared, training_step, with_savings


def main() -> None:
    device = select_device()
    setting = Setting("tiny", 32, 8, 32, device, select_dtype("auto", device))
    options: dict[str, Any] = {"dtype": setting.dtype, "layout": setting.layout, "fused": True}
    unet = setting.unet()
    compiled_network = torch.compile(unet)
    training = {
        "as it is": training_step(setting, unet, isdm_forward, **options),
        "compiled": training_step(setting, compiled_network, isdm_forward, **options),
    }
    sampling = guided_steps(setting)
    claim = "seconds of a step, as it is and compiled; and of compiling"
    result: dict[str, Any] = {"claim": claim, "torch": torch.__version__}
    for name, ways in (("training step", training), ("guided step", sampling)):
        start = time.perf_counter()
        ways["compiled"]()
        compiling = time.perf_counter() - start
        with torch.set_grad_enabled(name == "training step"):
            median = medians(alternate(ways, rounds=8))
        result[name] = {
            "median_seconds": median,
            "speedup": median["as it is"] / median["compiled"],
            "seconds_to_compile": compiling,
        }
    write_result(RESULTS / "compile_network.json", result | {"machine": machine()})


@torch.no_grad()
def guided_steps(setting: Setting) -> dict[str, Any]:
    unet = prepared(setting.unet().eval(), setting)
    halves = SimpleNamespace(
        encode=torch.compile(unet.encode), decode=torch.compile(unet.decode), conditions=unet.conditions
    )
    inputs = (setting.laid_out(setting.noise()), setting.steps().float(), setting.laid_out(setting.maps()))
    steps = {"as it is": with_savings(unet, *inputs), "compiled": with_savings(cast("Any", halves), *inputs)}
    return {name: torch.no_grad()(step) for name, step in steps.items()}


if __name__ == "__main__":
    main()
