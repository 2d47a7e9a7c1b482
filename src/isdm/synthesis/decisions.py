"""From scores to decisions: which pairs are kept, dropped or repaired, and why."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isdm.config import SelectConfig
from isdm.synthesis.scores import Floats, Measures


@dataclass(frozen=True)
class Judged:
    """What is known of N pairs."""

    names: Sequence[str]
    """The criteria, in the order of the columns of `tails`."""
    tails: Floats
    """(N, C) share of real pairs that look as bad or worse by each criterion."""
    measures: Measures
    is_clear: NDArray[np.bool_]
    """(N,) whether the judges are as sure of what they see as they are of real images."""
    mask_index: Sequence[int]
    """(N,) number of the mask; pictures of one mask have the same."""

    @property
    def score(self) -> Floats:
        """(N,) the worst criterion counts, the others break ties: geometric mean of the least tail and of all."""
        logarithms = np.log(self.tails)
        score: Floats = np.exp((logarithms.min(axis=1) + logarithms.mean(axis=1)) / 2)
        return score

    def scores(self, place: int) -> dict[str, Any]:
        """What `metadata.jsonl` says of a pair."""
        seen = self.measures.agreement
        overlap = {str(k): round(float(x), 4) for k, x in enumerate(seen.overlap[place]) if not np.isnan(x)}
        return {
            "score": round(float(self.score[place]), 5),
            **{name: round(float(x), 5) for name, x in zip(self.names, self.tails[place], strict=True)},
            "iou_of_class": overlap,
            "false_alarm": round(float(seen.false_alarm[place]), 5),
            "feature_distance": round(float(self.measures.feature_distance[place]), 4),
            "colour_distance": round(float(self.measures.colour_distance[place]), 4),
            "copy_ratio_features": round(float(self.measures.copy_ratio[place, 0]), 4),
            "copy_ratio_pixels": round(float(self.measures.copy_ratio[place, 1]), 4),
        }


@dataclass(frozen=True)
class Decision:
    """What becomes of a pair."""

    kept: bool
    reason: str = ""
    """Why it was dropped or repaired."""
    repaired: bool = False

    def as_metadata(self) -> dict[str, Any]:
        """The keys `kept`, `reason` and, where it is so, `repaired` of `metadata.jsonl`."""
        return {"kept": self.kept, "reason": self.reason, **({"repaired": True} if self.repaired else {})}


def decide(config: SelectConfig, judged: Judged) -> list[Decision]:
    """Decide on each pair: thresholds first, then the best of each mask, then the best of all.

    A pair fails a criterion where no more than the share `config.reject` of real pairs looks as bad.
    """
    fails = judged.tails <= config.reject
    decisions = []
    for failed, clear in zip(fails, judged.is_clear, strict=True):
        reasons = [name for name, fail in zip(judged.names, failed, strict=True) if fail]
        if config.repair and clear and reasons == ["agreement"]:
            decisions.append(Decision(True, "agreement: mask of the judges taken", repaired=True))
        else:
            decisions.append(Decision(not reasons, ", ".join(reasons)))
    order = np.argsort(-judged.score, kind="stable")
    pictures = Counter(judged.mask_index)
    taken: Counter[int] = Counter()
    num_kept = 0
    for place in order:
        if not decisions[place].kept:
            continue
        mask = judged.mask_index[place]
        if taken[mask] >= -(-pictures[mask] // config.best_of):
            decisions[place] = Decision(False, "another picture of its mask is better")
        elif config.keep is not None and num_kept >= config.keep:
            decisions[place] = Decision(False, f"not among the best {config.keep}")
        else:
            taken[mask] += 1
            num_kept += 1
    return decisions
