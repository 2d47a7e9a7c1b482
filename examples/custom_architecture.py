"""Other networks in the study: any architecture with any encoder of segmentation_models_pytorch that fit each other.

    python examples/custom_architecture.py data synthetic study

The same from the command line:

    isdm evaluate data --synthetic synthetic --out study --architectures segformer,manet --encoder mobilenet_v2
"""

import sys
from pathlib import Path

import isdm
from isdm.config import EvaluateConfig, build
from isdm.models.segmenters import build_segmenter


def main(data: Path, synthetic: Path, out: Path, *, epochs: int = 10, repeats: int = 3) -> Path:
    """Study two other networks with a small encoder from scratch; returns the path of the report."""
    dataset, painted = isdm.SegmentationDataset(data), isdm.SegmentationDataset(synthetic)
    architectures, encoder = ["segformer", "manet"], "mobilenet_v2"
    for name in architectures:
        network = build_segmenter(name, encoder, "none", dataset.info.num_classes)
        print(f"{name}: {sum(weight.numel() for weight in network.parameters()) / 1e6:.1f} M parameters")
    options = {
        "architectures": architectures,
        "encoder": encoder,
        "encoder_weights": "none",  # or imagenet, or a file
        "loss": "dice+crossentropy",
        "synthetic_counts": [0, "all"],
        "primary": {"synthetic": "all"},  # named before any result is seen
        "protocol": "equal-steps",
        "epochs": epochs,
        "repeats": repeats,
        "batch_size": 8,
    }
    isdm.evaluate(build(EvaluateConfig, options), dataset, {"synthetic": painted}, out)
    return isdm.report(out)


if __name__ == "__main__":
    print(main(*map(Path, sys.argv[1:4])))
