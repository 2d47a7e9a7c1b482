"""Are the synthetic images copies of training images, more than new real images look like it?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isdm.config import AuditConfig
from isdm.data.dataset import Pair
from isdm.data.image_files import ImageArray
from isdm.metrics.copying import Neighbours, copy_test, decide, level_of, nearest_two, nearest_two_pixels, ratios
from isdm.metrics.fidelity import Features
from isdm.synthesis.audit.agreement import number

PERMUTATIONS_A_RESAMPLE = 10
Measure = str


@dataclass(frozen=True)
class Side:
    """Images of one kind, with their features and groups."""

    images: ImageArray
    features: Features
    groups: Sequence[str]


@dataclass(frozen=True)
class Copying:
    """What was found: figures for `audit.json`, and the neighbours of every synthetic image."""

    figures: dict[str, Any]
    neighbours: dict[Measure, Neighbours]

    def worst_first(self) -> NDArray[np.int64]:
        """Synthetic images (N,), those most like a copy by any measure first."""
        least = np.fmin.reduce([ratios(found) for found in self.neighbours.values()])
        return np.lexsort((self.neighbours["pixels"].d1, least))  # the nearest, where no ratio is defined


def copying(config: AuditConfig, extractor: str, real: Side, held_out: Side, synthetic: Side) -> Copying:
    """Find every image's nearest training images, and test the ratios of their distances.

    Args:
        config: `resamples` and `significance`.
        extractor: name of the features.
        real: the training images.
        held_out: real images that the generator did not see.
        synthetic: its images.
    """
    neighbours: dict[Measure, dict[str, Neighbours]] = {
        "features": {
            name: nearest_two(side.features, real.features, real.groups)
            for name, side in (("synthetic", synthetic), ("held_out", held_out))
        },
        "pixels": {
            name: nearest_two_pixels(side.images, real.images, real.groups)
            for name, side in (("synthetic", synthetic), ("held_out", held_out))
        },
    }
    if len(set(real.groups)) < 2:
        return Copying(
            {"verdict": None, "why": "the training split has a single group, and the ratio test needs two"},
            {name: found["synthetic"] for name, found in neighbours.items()},
        )
    tests = {
        name: copy_test(
            ratios(found["synthetic"]),
            synthetic.groups,
            ratios(found["held_out"]),
            held_out.groups,
            permutations=PERMUTATIONS_A_RESAMPLE * config.resamples,
            seed=config.seed,
        )
        for name, found in neighbours.items()
    }
    decision = decide(tests, config.significance)
    figures = {
        "features": extractor,
        "verdict": decision.verdict,
        "decided_by": None if decision.p is None else {**decision._asdict(), "p": number(decision.p)},
        "significance": config.significance,
        "can_tell": any(test.smallest_p < level_of(len(tests), config.significance) for test in tests.values()),
        **{
            name: {
                **{key: number(value) if isinstance(value, float) else value for key, value in vars(test).items()},
                "held_out_ratios": [number(x) for x in np.sort(ratios(neighbours[name]["held_out"]))],
            }
            for name, test in tests.items()
        },
    }
    return Copying(figures, {name: found["synthetic"] for name, found in neighbours.items()})


def lines(found: Copying, pairs: Sequence[Pair], real: Sequence[Pair]) -> list[dict[str, Any]]:
    """One line for `nearest.jsonl` and each synthetic image: its nearest training image by each measure."""
    by_measure = {name: (near, ratios(near)) for name, near in found.neighbours.items()}
    return [
        {
            "image_file_name": pair.metadata["image_file_name"],
            **{
                name: {
                    "nearest": real[near.nearest[row]].metadata["image_file_name"],
                    "distance": number(near.d1[row]),
                    "ratio": number(ratio[row]),
                }
                for name, (near, ratio) in by_measure.items()
            },
        }
        for row, pair in enumerate(pairs)
    ]
