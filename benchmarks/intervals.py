"""Claim: the study's intervals cover the truth in about 95 of 100 studies; a bootstrap over few repeats does not.

Simulates studies whose true gain is known: test images in groups that share their difficulty, trainings with luck of
their own. Both intervals are worked out from the same simulated counts.
    python benchmarks/intervals.py
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import RESULTS, machine
from isdm.files import write_json
from isdm.metrics.statistics import difference

Floats = NDArray[np.float64]
CASES = [(3, 30, 0.0, 0.0), (3, 30, 0.1, 0.0), (3, 50, 0.5, 0.3), (5, 60, 0.25, 0.3), (10, 100, 0.25, 0.3)]
"""Repeats, groups, spread of a training's luck (logits of the recall), true effect (logits)."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--studies", type=int, default=1000)
    options.add_argument("--resamples", type=int, default=400)
    options.add_argument("--out", type=Path, default=RESULTS / "intervals.json")
    arguments = options.parse_args()
    rng = np.random.default_rng(0)
    cases = [one_case(rng, arguments.studies, arguments.resamples, *case) for case in CASES]
    claim = "95 % intervals of the study cover the true gain in 93 to 97 % of simulated studies."
    write_json(arguments.out, {"claim": claim, "studies": arguments.studies, "cases": cases, "machine": machine()})
    for case in cases:
        print(case)


def one_case(
    rng: np.random.Generator, studies: int, resamples: int, repeats: int, groups: int, spread: float, effect: float
) -> dict[str, Any]:
    """Coverage and width (IoU points) of both intervals."""
    large = [simulated(rng, 400, 1500, effect, spread) for _ in range(4)]
    truth = float(np.mean([gain(*sides).mean() for sides in large])) if effect else 0.0
    found: dict[str, list[tuple[bool, float, bool]]] = {"study": [], "bootstrap": []}
    for _ in range(studies):
        base, better = simulated(rng, repeats, groups, effect, spread)
        one = difference(better, base)
        ends = {"study": (one.lower, one.upper), "bootstrap": bootstrap(rng, base, better, resamples)}
        for name, (lower, upper) in ends.items():
            found[name].append((lower <= truth <= upper, 100 * (upper - lower), lower > 0))
    case: dict[str, Any] = {"repeats": repeats, "groups": groups, "spread": spread, "true_gain_points": 100 * truth}
    for name, values in found.items():
        covered, width, gains = zip(*values, strict=True)
        case[name] = {
            "coverage": float(np.mean(covered)),
            "median_width_points": float(np.median(width)),
            "share_called_gain": float(np.mean(gains)),
        }
    return case


def simulated(
    rng: np.random.Generator, num_repeats: int, num_groups: int, effect: float, spread: float
) -> tuple[Floats, Floats]:
    """Ratios (R, G, 2 classes, 2) of a baseline and of a row with a true effect."""
    shape = (num_groups, 2)
    images = rng.integers(1, 7, num_groups)[:, None]
    area = np.exp(rng.normal(4, 0.8, shape)) * images * (rng.random(shape) < 0.6)
    difficulty = rng.normal(0, 0.6, shape)
    sides = []
    for shift in (0.0, effect):
        luck = rng.normal(0, spread, (num_repeats, 1, 2)) + rng.normal(0, 0.3, (num_repeats, *shape))
        found = 1 / (1 + np.exp(-(0.4 + shift + difficulty + rng.normal(0, 0.3, shape) + luck)))
        alarms = area * (1 - found) * 0.8 + np.exp(rng.normal(1, 1, found.shape)) * images * 0.5
        sides.append(np.stack([area * found, area + alarms], axis=-1))
    return sides[0], sides[1]


def gain(base: Floats, better: Floats) -> Floats:
    """Gain of each repeat (R,)."""
    sums = [side.sum(axis=1) for side in (better, base)]
    means = [(s[..., 0] / s[..., 1]).mean(axis=1) for s in sums]
    difference_of_means: Floats = means[0] - means[1]
    return difference_of_means


def bootstrap(rng: np.random.Generator, base: Floats, better: Floats, resamples: int) -> tuple[float, float]:
    """The percentile bootstrap that draws groups and repeats with replacement (Owen 2007)."""
    num_repeats, num_groups = base.shape[:2]
    gains = []
    for _ in range(resamples):
        repeats, groups = rng.integers(0, num_repeats, num_repeats), rng.integers(0, num_groups, num_groups)
        gains.append(gain(base[repeats][:, groups], better[repeats][:, groups]).mean())
    lower, upper = np.quantile(gains, [0.025, 0.975])
    return float(lower), float(upper)


if __name__ == "__main__":
    main()
