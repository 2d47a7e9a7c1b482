"""Claim: after a short training a model of v with min-SNR paints in the light of the real pictures, one of eps not.

Each model paints pictures for training masks; their brightness is set beside that of the training pictures.
    isdm train data --out v-model --steps 700 --set prediction=v --set loss_weighting=min-snr
    python benchmarks/light.py data eps-model v-model
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import RESULTS, machine
from isdm import SegmentationDataset, SemanticDiffusionPipeline
from isdm.config import read_yaml
from isdm.data.decoding import load_arrays
from isdm.files import write_json
from isdm.hardware import select_device, select_dtype
from isdm.metrics.light import light

TOLD = ("prediction", "loss_weighting", "steps", "batch_size", "learning_rate", "learning_rate_decay", "ema_decay")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path, help="dataset folder of `isdm data import`")
    options.add_argument("models", type=Path, nargs="+", help="model folders, trained on it")
    options.add_argument("--images", type=int, default=48)
    options.add_argument("--guidance", type=float, default=2.0)
    options.add_argument("--out", type=Path, default=RESULTS / "light.json")
    arguments = options.parse_args()
    dataset = SegmentationDataset(arguments.data)
    pairs = dataset.require("train")
    images, masks = load_arrays(dataset, pairs)
    chosen = np.random.default_rng(0).permutation(len(pairs))[: arguments.images]
    device = select_device("auto")
    painted: list[dict[str, Any]] = []
    for folder in arguments.models:
        pipeline = SemanticDiffusionPipeline.from_pretrained(folder)
        pipeline.prepare(device, select_dtype("auto", device))
        with torch.inference_mode():
            pictures = pipeline(
                np.asarray(masks[chosen]),
                sampler="dpmsolver++-sde",
                num_sampling_steps=20,
                guidance_scale=arguments.guidance,
            )
        training = read_yaml(folder / "config.yaml")
        painted.append({"training": {name: training[name] for name in TOLD}, "light": light(pictures)})
        print(painted[-1], flush=True)
    real = {"all": light(images), "those_masks": light(images[chosen])}
    result = {
        "claim": "After a short training v with min-SNR paints in the light of the real pictures, eps does not.",
        "images": len(chosen),
        "size": int(images.shape[1]),
        "guidance": arguments.guidance,
        "real": real,
        "painted": painted,
        "machine": machine(),
    }
    write_json(arguments.out, result)
    print(real)


if __name__ == "__main__":
    main()
