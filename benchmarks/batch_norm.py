"""Claim: trainings of a few hundred steps predict better with precise batch normalisation than with running averages.

One training, read both ways at each check, on the validation images of a dataset: the weights are the same, only what
the normalisation predicts with differs. `agrees` counts the checks at which precise is at least as good.
    python benchmarks/batch_norm.py runs/tiles/fold-0/data
"""

import argparse
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from harness import RESULTS, machine
from isdm import SegmentationDataset
from isdm.config import EvaluateConfig, build
from isdm.evaluation.cells import StudyData, load_study_data
from isdm.files import write_json
from isdm.metrics.segmentation import mean_foreground_iou
from isdm.training import segmentation

CLAIM = "Precise batch normalisation predicts better than running averages in trainings of a few hundred steps."


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path, help="dataset folder of `isdm data import`")
    options.add_argument("--architectures", nargs="+", default=["fpn", "unetplusplus", "deeplabv3plus"])
    options.add_argument("--encoder", default="timm-tf_efficientnet_lite0")
    options.add_argument("--encoder-weights", default="imagenet")
    options.add_argument("--steps", type=int, default=282)
    options.add_argument("--checks", type=int, default=6)
    options.add_argument("--seeds", type=int, default=2)
    options.add_argument("--out", type=Path, default=RESULTS / "batch_norm.json")
    arguments = options.parse_args()
    values = {"encoder": arguments.encoder, "encoder_weights": arguments.encoder_weights, "learning_rate": 1e-3}
    config = build(EvaluateConfig, values | {"batch_size": 8, "loss": "dice+crossentropy"})
    data = load_study_data(SegmentationDataset(arguments.data), {})
    runs = []
    for architecture in arguments.architectures:
        for seed in range(arguments.seeds):
            read = both_ways(config, architecture, data, arguments.steps, arguments.checks, seed)
            runs.append({"architecture": architecture, "seed": seed, **read})
            print(runs[-1], flush=True)
    pairs = np.array([[run["running"], run["precise"]] for run in runs])  # (R, 2, checks)
    result = {
        "claim": CLAIM,
        "images": {"train": len(data.train), "validation": len(data.validation), "size": data.train.images.shape[1]},
        "steps": arguments.steps,
        "encoder": arguments.encoder,
        "runs": runs,
        "mean": {"running": pairs[:, 0].mean(), "precise": pairs[:, 1].mean()},
        "mean_of_last": {"running": pairs[:, 0, -1].mean(), "precise": pairs[:, 1, -1].mean()},
        "agrees": int((pairs[:, 1] >= pairs[:, 0]).sum()),
        "checks": int(pairs[:, 0].size),
        "machine": machine(),
    }
    write_json(arguments.out, result)
    print({key: value for key, value in result.items() if key not in ("machine", "runs")})


def both_ways(
    config: EvaluateConfig, architecture: str, data: StudyData, num_steps: int, num_checks: int, seed: int
) -> dict[str, list[float]]:
    """Mean foreground IoU on the validation images at each check of one augmented training, both ways."""
    found: dict[str, list[float]] = {"running": [], "precise": []}
    evaluate = segmentation.evaluate_segmenter

    def read(network: Any, *further: Any) -> Any:
        counts = evaluate(network, *further)
        found["running"].append(mean_foreground_iou(counts))
        before = {name: value.clone() for name, value in network.state_dict().items()}
        device = torch.device("cpu")
        segmentation._measure_batch_norm(network, data.train, seed, device, torch.float32, config.batch_size)
        found["precise"].append(mean_foreground_iou(evaluate(network, *further)))
        network.load_state_dict(before)
        return counts

    with mock.patch.object(segmentation, "evaluate_segmenter", read):
        segmentation.train_segmenter(
            config,
            architecture,
            data.train,
            data.validation,
            data.info.num_classes,
            num_steps=num_steps,
            num_validations=num_checks,
            seed=seed,
            augment=True,
        )
    return found


if __name__ == "__main__":
    main()
