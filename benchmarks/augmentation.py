"""Claim: trained long on few pictures, a generator that is told of geometric changes copies less and paints more.

A small network learns 20 pictures of fruit for very many steps, once as they are and once changed (`augment`), from
the same first weights. Both paint for the training masks, where copying shows, and for augmented masks; these are
compared with 200 pictures that no network saw. What is finished is kept and goes on.
    python benchmarks/augmentation.py
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from copier import GENERATOR, judged
from harness import RESULTS, machine
from isdm import SegmentationDataset, sample, train
from isdm.config import DataConfig, SampleConfig, TrainConfig, build, with_preset
from isdm.data.builtin import write_fruit_source
from isdm.data.decoding import load_arrays
from isdm.data.importing import import_dataset
from isdm.files import write_json
from isdm.metrics.fidelity import kid, manifold
from isdm.models.features import load_extractor

TRAINING_IMAGES, UNSEEN_IMAGES = 20, 200


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--steps", type=int, nargs="+", default=[2000, 4000])
    options.add_argument("--augment", type=float, nargs="+", default=[0.0, 0.15])
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options.add_argument("--work", type=Path, default=Path("runs/augmentation"))
    options.add_argument("--out", type=Path, default=RESULTS / "augmentation.json")
    arguments = options.parse_args()
    if not (arguments.work / "data").exists():
        num_fruits = TRAINING_IMAGES + UNSEEN_IMAGES
        write_fruit_source(arguments.work / "source", num_fruits=num_fruits, num_views=1, size_px=32, seed=0)
        values = {
            "source": arguments.work / "source",
            "group_by": r"(fruit\d+)",
            "test": 0,
            "validation": UNSEEN_IMAGES,
        }
        import_dataset(build(DataConfig, values), arguments.work / "data")
    real = SegmentationDataset(arguments.work / "data")
    found: dict[str, Any] = {}
    for seed in arguments.seeds:
        for steps in arguments.steps:
            for augment in arguments.augment:
                name = f"augment {augment:g}, {steps} steps, seed {seed}"
                found[name] = measured(
                    real, arguments.work / name.replace(", ", "-").replace(" ", "_"), steps, augment, seed
                )
                print(name, found[name], flush=True)
    claim = "Told of geometric changes, a generator trained long on few pictures copies less."
    write_json(
        arguments.out, {"claim": claim, "training_images": TRAINING_IMAGES, "found": found, "machine": machine()}
    )


def measured(real: SegmentationDataset, work: Path, steps: int, augment: float, seed: int) -> dict[str, Any]:
    """Train one generator; what the audit's measures say of its pictures."""
    options = {**GENERATOR, "steps": steps, "augment": augment, "seed": seed}
    train(build(TrainConfig, with_preset(options)), real, work / "model")
    known, unseen = (load_arrays(real, real.pairs(split))[0] for split in ("train", "validation"))  # type: ignore[arg-type]
    sets = {}
    for masks, count in (("real", 40), ("augmented", UNSEEN_IMAGES)):
        values = {"num_samples": count, "sampler": "dpmsolver++-sde", "steps": 15, "guidance": 1.0, "masks": masks}
        sets[masks] = sample(build(SampleConfig, values), work / "model", real, work / masks)
    extractor = load_extractor("efficientnet-lite0", torch.device("cpu"))
    painted = sets["augmented"]
    pictures = load_arrays(painted, painted.pairs("train"))[0]
    features, of_unseen = extractor.compute(pictures), extractor.compute(unseen)
    groups = [[str(place) for place in range(len(values))] for values in (of_unseen, features)]
    fidelity = manifold(of_unseen, features, *groups, resamples=200, seed=0)
    copies = sets["real"]
    return {
        "copying": judged(known, load_arrays(copies, copies.pairs("train"))[0], unseen, copies),
        "kid": asdict(kid(of_unseen, features, *groups, resamples=200, seed=0)),
        "precision": asdict(fidelity.precision),
        "recall": asdict(fidelity.recall),
        "coverage": asdict(fidelity.coverage),
    }


if __name__ == "__main__":
    main()
