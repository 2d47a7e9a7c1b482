"""Claim: a training step is at least 4 times faster than in plain float32 PyTorch.

isdm: the precision and order in memory that the hardware picks, its own group normalisation and SPADE, fused AdamW.
Plain: the same network in NCHW and float32, PyTorch's group normalisation and its default AdamW.
    python benchmarks/training_step.py
    python benchmarks/training_step.py --preset base --size 256 --batch 2
"""

from typing import Any

import torch

from harness import alternate, claim, flops, medians, parser, report, timings
from networks import Setting, isdm_forward, plain_forward, plain_group_norm, settings, training_step

CLAIM = (
    "A training step (forward, hybrid loss, backward, AdamW) of isdm against the same network in plain float32: "
    "at least 4 times faster."
)
PLAIN, ISDM = "plain float32", "isdm"


def measure(setting: Setting, rounds: int, warmup: int) -> dict[str, Any]:
    unet = setting.unet()
    plain_step = training_step(
        setting, unet, plain_forward, dtype=torch.float32, layout=torch.contiguous_format, fused=False
    )

    def plain() -> float:
        with plain_group_norm():
            return plain_step()

    ways = {
        PLAIN: plain,
        ISDM: training_step(setting, unet, isdm_forward, dtype=setting.dtype, layout=setting.layout, fused=True),
    }
    first_losses = {name: way() for name, way in ways.items()}
    counted = {name: flops(way) for name, way in ways.items()}
    seconds = alternate(ways, rounds, warmup)
    median = medians(seconds)
    return {
        "parameters": sum(parameter.numel() for parameter in unet.parameters()),
        "gflop": {name: count / 1e9 for name, count in counted.items()},
        **timings(seconds),
        "flop_ratio": counted[PLAIN] / counted[ISDM],
        "time_ratio": claim(median[PLAIN] / median[ISDM], at_least=4.0),
        "loss_of_first_step": first_losses,
    }


def main() -> None:
    arguments = parser(__doc__, rounds=10).parse_args()
    for setting in settings(arguments, spade_channels=(0, 128)):
        measured = measure(setting, arguments.rounds, arguments.warmup)
        report("training_step", CLAIM, arguments, setting.label, measured)


if __name__ == "__main__":
    main()
