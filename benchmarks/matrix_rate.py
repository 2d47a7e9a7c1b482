"""Claim: a training step does at least 30 % of the arithmetic that the device does where it only multiplies matrices.

The rate is that of square matrices in the precision that the hardware picks, the best of several sizes, measured in
the same process and in turn with the steps. Counted are the FLOPs of a step as isdm makes it, not those it saves.
With `--images` a whole synthetic dataset is painted too, in 20 stochastic steps; the aim on one H200 is 1,000 images
of 256x256 with `base` in 90 seconds.
    python benchmarks/matrix_rate.py --preset tiny small
    python benchmarks/matrix_rate.py --preset base paper --batch 32 --images 1000
"""

import time
from collections.abc import Callable
from typing import Any

import torch

from harness import alternate, claim, flops, medians, parser, report, timings
from isdm.data.dataset import SegmentationClass
from isdm.model_info import ModelInfo, training_scheduler
from isdm.pipeline import SemanticDiffusionPipeline
from networks import GUIDANCE_SCALE, Setting, ellipses, isdm_forward, prepared, settings, training_step, with_savings

CLAIM = (
    "A training step and a guided step do at least 30 % of the FLOPs a second of square matrix products in the same "
    "precision on the same device."
)
SIDES = {"cpu": (512, 1024, 2048), "cuda": (4096, 8192, 16384)}
TRAINING, GUIDED = "training step", "guided step"
SAMPLING_STEPS = 20


def product(side: int, setting: Setting) -> Callable[[], object]:
    """The product of two square matrices."""
    one, other = (torch.randn(side, side, device=setting.device, dtype=setting.dtype) for _ in range(2))
    result = torch.empty_like(one)
    return lambda: torch.mm(one, other, out=result)


def measure(setting: Setting, rounds: int, warmup: int) -> dict[str, Any]:
    unet = setting.unet()
    training = training_step(setting, unet, isdm_forward, dtype=setting.dtype, layout=setting.layout, fused=True)
    picked = prepared(unet.eval(), setting)
    with torch.no_grad():
        guided = with_savings(
            picked, setting.laid_out(setting.noise()), setting.steps().float(), setting.laid_out(setting.maps())
        )
    steps: dict[str, Callable[[], object]] = {TRAINING: training, GUIDED: torch.no_grad()(guided)}
    products = {f"{side}x{side}": product(side, setting) for side in SIDES[setting.device.type]}
    peaks = {name: peak_memory_gb(step, setting) for name, step in steps.items()}
    counted = {name: flops(way) for name, way in (steps | products).items()}
    seconds = alternate(steps | products, rounds, warmup)
    median = medians(seconds)
    tflops = {name: counted[name] / median[name] / 1e12 for name in median}
    rate = max(tflops[name] for name in products)
    return {
        "parameters": sum(parameter.numel() for parameter in unet.parameters()),
        "gflop": {name: counted[name] / 1e9 for name in steps},
        **timings(seconds),
        "tflops": tflops,
        "matrix_rate_tflops": rate,
        "images_a_second": {name: setting.batch / median[name] for name in steps},
        "peak_memory_gb": peaks,
        "share": {name: claim(tflops[name] / rate, at_least=0.30) for name in steps},
    }


def peak_memory_gb(step: Callable[[], object], setting: Setting) -> float | None:
    """What a step takes of the GPU at most, its second call, when all that is kept is made; None on a CPU."""
    step()
    if setting.device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(setting.device)
    step()
    return torch.cuda.max_memory_allocated(setting.device) / 1e9


def paint_dataset(setting: Setting, count: int) -> dict[str, Any]:
    """Seconds of `count` pictures for as many masks, as `isdm sample` paints them, without writing them."""
    pipeline = SemanticDiffusionPipeline(setting.unet().eval(), training_scheduler(1000))
    classes = tuple(SegmentationClass(i, name, (i, i, i)) for i, name in enumerate(("background", "defect")))
    pipeline.info = ModelInfo(classes, channels=3, image_size=(setting.size, setting.size), drop_rate=0.1)
    pipeline.prepare(setting.device, setting.dtype)
    masks = ellipses(count, setting.size).numpy()

    def paint(first: int, steps: int) -> object:
        part = slice(first, min(first + setting.batch, count))
        return pipeline(
            masks[part],
            sample_indices=range(part.start, part.stop),
            sampler="dpmsolver++-sde",
            num_sampling_steps=steps,
            guidance_scale=GUIDANCE_SCALE,
        )

    paint(0, 2)  # libraries choose their kernels now
    start = time.perf_counter()
    for first in range(0, count, setting.batch):
        paint(first, SAMPLING_STEPS)
    seconds = time.perf_counter() - start
    return {"images": count, "steps": SAMPLING_STEPS, "seconds": seconds, "images_a_second": count / seconds}


def main() -> None:
    options = parser(__doc__, rounds=10)
    options.add_argument("--images", type=int, default=0, help="paint so many, too")
    arguments = options.parse_args()
    for setting in settings(arguments, spade_channels=(0,)):
        measured = measure(setting, arguments.rounds, arguments.warmup)
        if arguments.images:
            measured["dataset"] = paint_dataset(setting, arguments.images)
        report("matrix_rate", CLAIM, arguments, setting.label, measured)


if __name__ == "__main__":
    main()
