"""Claim: judges that train on augmented pictures read held-out real ones better, in as many steps.

Both ways in turn from the same initial weights; read on the validation images, on which nothing is chosen (the last
weights count), as in `isdm audit` and `isdm select`.
    python benchmarks/judge.py runs/tiles/fold-0/data isdm-demo/data
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from harness import RESULTS, machine
from isdm import SegmentationDataset
from isdm.config import SegmenterConfig, build
from isdm.evaluation.cells import StudyData, load_study_data
from isdm.files import write_json
from isdm.training.segmentation import train_segmenter

CLAIM = "Judges that train on augmented pictures read held-out real ones better, in as many steps."
JUDGES = {"fpn": ("timm-tf_efficientnet_lite0", "imagenet"), "unet": ("resnet18", "none")}
"""Encoder and its weights for each architecture: an audit's with the packaged encoder, and a selection's."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path, nargs="+", help="dataset folders of `isdm data import`")
    options.add_argument("--architectures", nargs="+", choices=JUDGES, default=list(JUDGES))
    options.add_argument("--epochs", type=int, nargs="+", default=[8, 24])
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--batch-norm", choices=("running", "precise"), default="running")
    options.add_argument("--out", type=Path, default=RESULTS / "judge.json")
    arguments = options.parse_args()
    runs = []
    for folder in arguments.data:
        dataset = SegmentationDataset(folder)
        data = load_study_data(dataset, {})
        for architecture in arguments.architectures:
            for epochs in arguments.epochs:
                for seed in range(arguments.seeds):
                    found = {
                        name: held_out_iou(architecture, data, epochs, seed, arguments.batch_norm, augment=augment)
                        for name, augment in (("plain", False), ("augmented", True))
                    }
                    runs.append(
                        {
                            "dataset": f"{folder.resolve().parents[1].name}/{folder.resolve().parent.name}",
                            "images": {"train": len(data.train), "validation": len(data.validation)},
                            "architecture": architecture,
                            "epochs": epochs,
                            "batch_norm": arguments.batch_norm,
                            "seed": seed,
                            **found,
                        }
                    )
                    print(runs[-1], flush=True)
    pairs = np.array([[run["plain"], run["augmented"]] for run in runs])
    result = {
        "claim": CLAIM,
        "judges": JUDGES,
        "runs": runs,
        "mean": {"plain": pairs[:, 0].mean(), "augmented": pairs[:, 1].mean()},
        "augmented_is_better": int((pairs[:, 1] > pairs[:, 0]).sum()),
        "trainings": len(pairs),
        "machine": machine(),
    }
    write_json(arguments.out, result)
    print({key: value for key, value in result.items() if key not in ("machine", "runs")})


def held_out_iou(
    architecture: str, data: StudyData, epochs: int, seed: int, batch_norm: str, *, augment: bool
) -> float:
    """Mean foreground IoU on the validation images after the last step."""
    encoder, weights = JUDGES[architecture]
    values: dict[str, Any] = {"encoder": encoder, "encoder_weights": weights, "learning_rate": 1e-3}
    config = build(SegmenterConfig, values | {"batch_size": 8, "loss": "dice+crossentropy", "batch_norm": batch_norm})
    return train_segmenter(
        config,
        architecture,
        data.train,
        data.validation,
        data.info.num_classes,
        num_steps=epochs * -(-len(data.train) // config.batch_size),
        num_validations=1,
        seed=seed,
        augment=augment,
        keep="last",
    ).validation_iou


if __name__ == "__main__":
    main()
