"""How close are the synthetic images to the real ones as a set, and how different are those of one mask?"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from isdm.config import AuditConfig
from isdm.data.dataset import Pair
from isdm.metrics.fidelity import Features, diversity, fid, kid, manifold

MOST_IMAGES = 5000
"""Images of a side at most, drawn at random: all pairs of them are compared."""
FEW_IMAGES = 2000
"""FID of fewer images is biased by more than a reader expects."""


def fidelity(
    config: AuditConfig,
    extractor: str,
    real: tuple[Features, Sequence[str]],
    held_out: tuple[Features, Sequence[str]],
    synthetic: tuple[Features, Sequence[str]],
) -> dict[str, Any]:
    """Compare sets of features, each given with the groups of its images, to the real training images.

    The held-out real images are compared in the same way: what new real images would score is the standard.
    """
    sides = {"synthetic": synthetic, "held_out": held_out}
    reference, names = _at_most(*real, seed=config.seed)
    found: dict[str, Any] = {
        "features": extractor,
        "reference": "training split",
        "num_real_images": len(reference),
        "num_real_groups": len(set(names)),
    }
    for side, (features, groups) in sides.items():
        chosen, own = _at_most(features, groups, seed=config.seed)
        if len(chosen) < 2 or len(reference) < 2:
            continue
        spread = manifold(reference, chosen, names, own, resamples=config.resamples, seed=config.seed)
        kernel = kid(reference, chosen, names, own, resamples=config.resamples, seed=config.seed)
        found[side] = {
            "num_images": len(chosen),
            "num_groups": len(set(own)),
            "kid": kernel.plain(),
            "fid": fid(reference, chosen, names, own, config.seed).plain(),
            "fid_is_biased": min(len(chosen), len(reference)) < FEW_IMAGES,
            **{name: value.plain() for name, value in vars(spread).items()},
        }
    return found


def diversity_of_masks(config: AuditConfig, pairs: Sequence[Pair], features: Features) -> dict[str, Any] | None:
    """How different pictures painted for one mask are; None where no mask has two pictures."""
    rows = _chosen(len(pairs), config.seed)
    families = [mask_of(pairs[row]) for row in rows]
    found = diversity(features[rows], families, resamples=config.resamples, seed=config.seed)
    num_families = sum(families.count(name) > 1 for name in set(families))
    return None if found is None else {"num_masks": num_families, "relative_distance": found.plain()}


def mask_of(pair: Pair) -> str:
    """What all pictures of one mask share: the source where it is taken as it is, or the mask's number."""
    if pair.metadata.get("masks", "real") == "real" or "mask_index" not in pair.metadata:
        return str(pair.metadata.get("source_mask", pair.stem))
    return f"mask {pair.metadata['mask_index']}"


def _at_most(features: Features, groups: Sequence[str], seed: int) -> tuple[Features, list[str]]:
    rows = _chosen(len(features), seed)
    return features[rows], [groups[row] for row in rows]


def _chosen(count: int, seed: int) -> list[int]:
    if count <= MOST_IMAGES:
        return list(range(count))
    return sorted(np.random.default_rng((seed, 0x5EE)).permutation(count)[:MOST_IMAGES].tolist())
