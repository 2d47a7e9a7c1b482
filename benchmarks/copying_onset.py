"""Claim: the held-out loss on the fixed grid rises when a model begins to copy, so that training can stop there.

A small network is trained far too long on few photographs. Along the way its averaged weights paint pictures for
the training masks; a picture counts as a copy when its nearest training image is nearer than a third of the
distance to the second nearest (pixels, Euclidean). The same share for held-out real images is what chance gives.
    python benchmarks/copying_onset.py --work runs/copying
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness import RESULTS, machine, write_result
from isdm.config import DataConfig, TrainConfig, build, with_preset
from isdm.data.builtin import write_fruit_source
from isdm.data.dataset import SegmentationDataset
from isdm.data.decoding import load_arrays
from isdm.data.importing import import_dataset
from isdm.hardware import select_device, select_dtype
from isdm.pipeline import SemanticDiffusionPipeline
from isdm.training import checkpoint
from isdm.training.batches import load_training_images
from isdm.training.diffusion import train
from isdm.training.loop import COPYING_PATIENCE

SIZE_PX = 32
OPTIONS: dict[str, Any] = {
    "preset": "tiny",
    "unet": {"base_channels": 16, "norm_groups": 4, "channel_multipliers": [1, 2, 2, 4]},
    "batch_size": 8,
    "learning_rate": 1e-3,
    "warmup_steps": 50,
    "max_gradient_norm": 1.0,
    "ema_decay": 0.99,
    "drop_rate": 0.1,
    "monitor": "grid",
    "holdout": 0.25,
    "grid_interval_steps": 100,
}


def main() -> None:
    arguments = parse()
    dataset = make_dataset(arguments.work / "data", arguments.images)
    model = arguments.work / "model"
    config = build(TrainConfig, with_preset(OPTIONS | {"steps": arguments.steps}))
    training, held_out = load_training_images(dataset, config)
    images, masks = load_arrays(dataset, dataset.pairs("train"))
    chance = share_of_copies(images[held_out.chosen], images[training.chosen])
    moments: list[dict[str, float]] = []
    for steps in range(arguments.every, arguments.steps + 1, arguments.every):
        train(config.model_copy(update={"steps": steps}), dataset, model)
        painted = paint(model, masks[training.chosen])
        moments.append({"step": steps, "copies": round(share_of_copies(painted, images[training.chosen]), 3)})
        print(moments[-1], flush=True)
    state = checkpoint.read_state(model)
    assert state is not None
    grid = [line for line in state["counters"]["metrics"] if "held_out_grid_loss" in line]
    result = {
        "claim": "the held-out loss rises when copying sets in",
        "training_images": len(training),
        "held_out_images": len(held_out),
        "share_of_copies_among_held_out_real_images": round(chance, 3),
        "lowest_held_out_loss_at_step": min(grid, key=lambda line: line["held_out_grid_loss"])["step"],
        "stop_rule_ends_at_step": stopping_step(model, config),
        "share_of_copies": moments,
        "grid": grid,
        "machine": machine(),
    }
    write_result(arguments.out, result)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/copying"))
    parser.add_argument("--out", type=Path, default=RESULTS / "copying_onset.json")
    parser.add_argument("--images", type=int, default=24, help="fruits in all; some are test images")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--every", type=int, default=400)
    return parser.parse_args()


def make_dataset(folder: Path, num_images: int) -> SegmentationDataset:
    source = folder / "source"
    write_fruit_source(source, num_fruits=num_images, num_views=1, size_px=SIZE_PX, seed=0)
    options = {"source": source, "layout": "folders", "test": 0.1, "validation": 0.1}
    return import_dataset(build(DataConfig, options), folder / "dataset")


def paint(model: Path, masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two pictures a mask by the averaged weights of where the run stands, not of the kept checkpoint."""
    pipeline = SemanticDiffusionPipeline.from_pretrained(model)
    state = checkpoint.read_state(model)
    assert state is not None
    pipeline.unet.load_state_dict(state["ema"])
    device = select_device()
    pipeline.prepare(device, select_dtype("auto", device))
    painted: NDArray[np.uint8] = pipeline(
        np.concatenate([masks, masks]), sampler="dpmsolver++", num_sampling_steps=20, guidance_scale=1.0
    )
    return painted


def share_of_copies(images: NDArray[np.uint8], training: NDArray[np.uint8]) -> float:
    """Share of `images` whose nearest training image lies nearer than a third of the second nearest."""
    pictures, originals = (torch.from_numpy(x.reshape(len(x), -1)).double() for x in (images, training))
    nearest = torch.cdist(pictures, originals).sort(dim=1).values
    return (nearest[:, 0] < nearest[:, 1] / 3).double().mean().item()


def stopping_step(model: Path, config: TrainConfig) -> int | None:
    """The step at which `stop_on_copying` would have ended the run, replayed in a run of its own."""
    stopping = config.model_copy(update={"stop_on_copying": True})
    folder = model.with_name("stopping")
    dataset = SegmentationDataset(model.parent / "data" / "dataset")
    train(stopping, dataset, folder)
    state = checkpoint.read_state(folder)
    assert state is not None
    counters = state["counters"]
    return int(counters["step"]) if counters["rises"] >= COPYING_PATIENCE else None


if __name__ == "__main__":
    main()
