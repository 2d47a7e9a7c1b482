"""The whole way in Python: import, train, paint, audit, study, report.

    python examples/python_api.py photos runs/api

`photos` holds images/ and masks/. Every stage writes one folder; run it again and it goes on where it stopped.
"""

import sys
from pathlib import Path

import isdm
from isdm.config import AuditConfig, DataConfig, EvaluateConfig, SampleConfig, TrainConfig, build, with_preset


def main(photos: Path, out: Path, *, size: int = 64, steps: int = 2000, epochs: int = 10, repeats: int = 3) -> Path:
    """Run all stages below `out`; returns the path of the report."""
    dataset = isdm.import_dataset(build(DataConfig, {"source": photos, "size": size}), out / "data")
    training = with_preset({"preset": "tiny", "steps": steps, "learning_rate_decay": "cosine"})
    isdm.train(build(TrainConfig, training), dataset, out / "model")
    sampling = {"num_samples": len(dataset.pairs("train")), "sampler": "dpmsolver++-sde", "steps": 20}
    painted = isdm.sample(build(SampleConfig, sampling), out / "model", dataset, out / "synthetic")
    segmenter = {"encoder": "resnet18", "encoder_weights": "none", "loss": "dice+crossentropy", "epochs": epochs}
    found = isdm.audit(build(AuditConfig, segmenter), painted, dataset, out / "audit")
    print(f"A segmenter reads the pictures with {found['agreement'] or 0:.2f} of its IoU on real ones.")
    study = {**segmenter, "repeats": repeats, "real_counts": ["all"], "synthetic_counts": [0, "equal"]}
    study |= {"protocol": "equal-steps", "primary": {"synthetic": "equal"}}  # named before any result is seen
    isdm.evaluate(build(EvaluateConfig, study), dataset, {"synthetic": painted}, out / "study")
    return isdm.report(out / "study", audit=out / "audit" / "audit.json")


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), Path(sys.argv[2])))
