"""Claim: reordering around group normalisation makes a training step on the CPU faster.

Both ways run in one process, in turn; the result is the ratio of their medians.
    python benchmarks/group_norm.py
"""

import torch

from harness import RESULTS, alternate, machine, medians, write_result
from isdm.hardware import autocast, select_dtype
from isdm.models.unet import SemanticUNet
from networks import plain_group_norm


def main() -> None:
    torch.manual_seed(0)
    device = torch.device("cpu")
    dtype = select_dtype("auto", device)
    unet = SemanticUNet(
        num_classes=4, base_channels=32, channel_multipliers=(1, 1, 2, 4), num_res_blocks=1, spade_channels=32
    ).to(memory_format=torch.channels_last)
    inputs = (torch.randn(8, 3, 48, 48), torch.rand(8, 4, 48, 48))
    images, maps = (tensor.contiguous(memory_format=torch.channels_last) for tensor in inputs)
    t = torch.zeros(8)

    def reordered() -> None:
        with autocast(device, dtype):
            output = unet(images, t, maps)
        output.float().square().mean().backward()

    def plain() -> None:
        with plain_group_norm():
            reordered()

    median = medians(alternate({"reordered": reordered, "channels_last": plain}, rounds=10))
    result = {
        "claim": "one training step, 4.8 M parameters, 8 images of 48x48",
        "median_seconds": median,
        "speedup": median["channels_last"] / median["reordered"],
        "machine": machine(),
    }
    write_result(RESULTS / "group_norm.json", result)


if __name__ == "__main__":
    main()
