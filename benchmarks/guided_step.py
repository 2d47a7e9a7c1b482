"""Claim: the exact savings of a guided denoising step save as much time as they save FLOPs.

At least 0.80 of the FLOP ratio arrives as time in the same precision, and all told a step is at least 10 times
faster than two plain forward passes in float32 where the hardware multiplies matrices in bfloat16.
    python benchmarks/guided_step.py
    python benchmarks/guided_step.py --preset base paper --size 256 --batch 1
"""

from typing import Any

import torch

from harness import alternate, claim, flops, medians, parser, report, timings
from isdm.hardware import has_bfloat16
from networks import (
    Setting,
    plain_forward,
    plain_group_norm,
    prepared,
    settings,
    two_passes,
    with_savings,
)

CLAIM = (
    "A guided step with gamma and beta kept and one encoder pass, against two whole forward passes with the same "
    "weights and masks: at least 0.80 of the FLOP ratio as time, at least 10 times all told with bfloat16."
)
PLAIN_FLOAT32, SAVINGS_FLOAT32 = "plain float32", "exact savings, float32 NCHW"
PLAIN, SAVINGS = "plain, same precision", "exact savings"


@torch.no_grad()
def measure(setting: Setting, rounds: int, warmup: int) -> dict[str, Any]:
    unet = setting.unet().eval()
    picked = prepared(unet, setting)
    x_t, t, maps = setting.noise(), setting.steps().float(), setting.maps()
    x_t_picked, maps_picked = setting.laid_out(x_t), setting.laid_out(maps)
    two_plain_passes = two_passes(unet, plain_forward, x_t, t, maps)

    def plain_float32() -> Any:
        with plain_group_norm():
            return two_plain_passes()

    ways = {
        PLAIN_FLOAT32: plain_float32,
        SAVINGS_FLOAT32: with_savings(unet, x_t, t, maps),
        PLAIN: two_passes(picked, plain_forward, x_t_picked, t, maps_picked),
        SAVINGS: with_savings(picked, x_t_picked, t, maps_picked),
    }
    first_step = flops(ways[SAVINGS])  # makes the conditions, which later steps find
    counted = {name: flops(ways[name]) for name in (PLAIN, SAVINGS)}
    eps = {name: way()[0] for name, way in ways.items()}
    differences = {name: (eps[name] - eps[PLAIN_FLOAT32]).abs().max().item() for name in ways}
    assert differences[SAVINGS_FLOAT32] < 1e-3 * eps[PLAIN_FLOAT32].abs().max(), differences

    seconds = alternate(ways, rounds, warmup)
    median = medians(seconds)
    flop_ratio = counted[PLAIN] / counted[SAVINGS]
    time_ratio = median[PLAIN] / median[SAVINGS]
    best = min(median, key=lambda name: median[name])
    return {
        "parameters": sum(parameter.numel() for parameter in unet.parameters()),
        "gflop": {name: count / 1e9 for name, count in counted.items()},
        "gflop_once_for_these_masks": (first_step - counted[SAVINGS]) / 1e9,
        **timings(seconds),
        "flop_ratio": flop_ratio,
        "time_ratio": time_ratio,
        "time_ratio_float32": median[PLAIN_FLOAT32] / median[SAVINGS_FLOAT32],
        "share": claim(time_ratio / flop_ratio, at_least=0.80),
        "all_told": claim(median[PLAIN_FLOAT32] / median[best], at_least=10.0)
        | {"way": best, "applies": has_bfloat16(setting.device)},
        "largest_eps": eps[PLAIN_FLOAT32].abs().max().item(),
        "largest_difference_of_eps": differences,
    }


def main() -> None:
    arguments = parser(__doc__, rounds=10).parse_args()
    for setting in settings(arguments, spade_channels=(0, 128)):
        measured = measure(setting, arguments.rounds, arguments.warmup)
        report("guided_step", CLAIM, arguments, setting.label, measured)


if __name__ == "__main__":
    main()
