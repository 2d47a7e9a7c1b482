"""Claim: isdm trains and samples faster than MONAI's SPADEDiffusionModelUNet of equal width and depth.

At least 2 times faster than MONAI as it comes (float32, NCHW), and at least 1.3 times faster than MONAI with all
that its user can add from outside: the precision that the hardware picks, channels_last, its own option for
PyTorch's attention, fused AdamW. MONAI samples under guidance with two forward passes.
    pip install -e ".[benchmarks]"
    python benchmarks/monai_unet.py
"""

import math
from copy import deepcopy
from typing import Any

import torch
from monai import __version__ as monai_version
from monai.networks.nets import SPADEDiffusionModelUNet
from torch import Tensor

from harness import Ways, alternate, claim, flops, medians, parser, report, timings
from networks import (
    NUM_CLASSES,
    Setting,
    isdm_forward,
    prepared,
    ready,
    settings,
    training_step,
    two_passes,
    with_savings,
)

CLAIM = (
    "A training step and a guided denoising step of isdm against MONAI's SPADEDiffusionModelUNet of equal width and "
    "depth: at least 2 times faster than MONAI as it comes, at least 1.3 times in the same precision and layout."
)
DIFFERENCES = (
    "Equal: channels of each level, residual blocks, levels with attention, channels of a head, groups, hidden SPADE "
    "channels, residual blocks that change the size. MONAI has no SPADE in the middle and in the blocks that double "
    "the size, adds the time embedding without scaling, gives the group normalisation inside SPADE weights of its "
    "own, and its SPADE has a leaky ReLU."
)
ISDM, MONAI, TUNED = "isdm", "MONAI as it comes", "MONAI, same precision"
AT_LEAST = {MONAI: 2.0, TUNED: 1.3}


def monai_network(setting: Setting, *, flash_attention: bool) -> SPADEDiffusionModelUNet:
    """MONAI's network with the widths and depths of ours."""
    options = setting.unet_options
    channels = [options["base_channels"] * multiplier for multiplier in options["channel_multipliers"]]
    torch.manual_seed(0)
    network = SPADEDiffusionModelUNet(
        spatial_dims=2,
        in_channels=3,
        out_channels=6,
        label_nc=NUM_CLASSES,
        num_res_blocks=options["num_res_blocks"],
        channels=channels,
        attention_levels=[2**level in options["attention_downsamplings"] for level in range(len(channels))],
        norm_num_groups=options["norm_groups"],
        resblock_updown=True,
        num_head_channels=[math.gcd(options["attention_head_channels"], width) for width in channels],
        spade_intermediate_channels=options["spade_channels"],
        use_flash_attention=flash_attention,
    )
    return ready(network, setting.device)


def monai_forward(network: SPADEDiffusionModelUNet, x_t: Tensor, t: Tensor, maps: Tensor) -> Tensor:
    """A forward pass of MONAI's network, which takes its input in the type of its weights."""
    dtype = network.conv_in.conv.weight.dtype
    output: Tensor = network(x_t.to(dtype), t, maps.to(dtype))
    return output


def training_steps(setting: Setting, ours: Any, theirs: Any, theirs_tuned: Any) -> Ways:
    as_it_comes = {"dtype": torch.float32, "layout": torch.contiguous_format, "fused": False}
    tuned = {"dtype": setting.dtype, "layout": torch.channels_last, "fused": True}
    picked = tuned | {"layout": setting.layout}
    return {
        ISDM: training_step(setting, ours, isdm_forward, **picked),
        MONAI: training_step(setting, theirs, monai_forward, **as_it_comes),
        TUNED: training_step(setting, theirs_tuned, monai_forward, **tuned),
    }


@torch.no_grad()
def guided_steps(setting: Setting, ours: Any, theirs: Any, theirs_tuned: Any) -> Ways:
    x_t, t, maps = setting.noise(), setting.steps().float(), setting.maps()
    x_t_last, maps_last = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x_t, maps))
    tuned = torch.nn.Module.to(deepcopy(theirs_tuned), dtype=setting.dtype).to(memory_format=torch.channels_last)
    return {
        ISDM: with_savings(prepared(ours, setting), setting.laid_out(x_t), t, setting.laid_out(maps)),
        MONAI: two_passes(theirs, monai_forward, x_t, t, maps),
        TUNED: two_passes(tuned, monai_forward, x_t_last, t, maps_last),
    }


def compare(ways: Ways, rounds: int, warmup: int) -> dict[str, Any]:
    for way in ways.values():
        way()  # isdm's first guided step makes what the later ones keep
    counted = {name: flops(way) for name, way in ways.items()}
    seconds = alternate(ways, rounds, warmup)
    median = medians(seconds)
    return {
        "gflop": {name: count / 1e9 for name, count in counted.items()},
        **timings(seconds),
        "flop_ratio": {name: counted[name] / counted[ISDM] for name in AT_LEAST},
        "time_ratio": {name: claim(median[name] / median[ISDM], bound) for name, bound in AT_LEAST.items()},
    }


def measure(setting: Setting, rounds: int, warmup: int) -> dict[str, Any]:
    networks = (
        setting.unet(),
        monai_network(setting, flash_attention=False),
        monai_network(setting, flash_attention=True),
    )
    parameters = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
    training = compare(training_steps(setting, *networks), rounds, warmup)
    with torch.no_grad():
        guided = compare(guided_steps(setting, *(network.eval() for network in networks)), rounds, warmup)
    return {
        "monai": monai_version,
        "parameters": {"isdm": parameters[0], "MONAI": parameters[1]},
        "differences": DIFFERENCES,
        "training_step": training,
        "guided_step": guided,
    }


def main() -> None:
    arguments = parser(__doc__, rounds=10).parse_args()
    for setting in settings(arguments, spade_channels=(128,)):
        measured = measure(setting, arguments.rounds, arguments.warmup)
        report("monai_unet", CLAIM, arguments, setting.label, measured)


if __name__ == "__main__":
    main()
