"""From scores to decisions: which pairs are kept, dropped or repaired, and why."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isdm.config import Criterion, SelectConfig
from isdm.data.judgements import KEPT
from isdm.synthesis.scores import Measures, Result


@dataclass(frozen=True)
class Judged:
    """What is known of N pairs."""

    measures: Measures
    result: Result
    has_real_background: NDArray[np.bool_]
    """(N,) such a picture is a copy by intention."""
    is_clear: NDArray[np.bool_]
    """(N,) whether the judges are as sure of what they see as they are of real images."""
    mask_index: Sequence[int]
    """(N,) number of the mask; pictures of one mask have the same."""

    @property
    def order(self) -> NDArray[np.int64]:
        """The pairs (N,), the best first: by agreement, among equals the one most like a real picture."""
        return np.lexsort((self.measures.feature_distance, -self.result.agreement))

    def fails(self, config: SelectConfig) -> dict[Criterion, NDArray[np.bool_]]:
        """Which pairs (N,) fail each of the criteria asked for."""
        found: dict[Criterion, NDArray[np.bool_]] = {
            "agreement": self.result.agreement <= config.reject,
            "features": self.result.far_features,
            "colour": self.result.far_colour,
            "copies": (self.result.copies <= config.reject) & ~self.has_real_background,
        }
        return {name: found[name] for name in config.criteria}

    def scores(self, place: int) -> dict[str, Any]:
        """What `metadata.jsonl` says of a pair."""
        seen, measures = self.measures.agreement, self.measures
        return {
            "agreement": round(float(self.result.agreement[place]), 5),
            "copies": round(float(self.result.copies[place]), 5),
            "iou_of_class": {
                str(k): round(float(x), 4) for k, x in enumerate(seen.overlap[place]) if not np.isnan(x)
            },
            "false_alarm": round(float(seen.false_alarm[place]), 5),
            "feature_distance": round(float(measures.feature_distance[place]), 4),
            "colour_distance": round(float(measures.colour_distance[place]), 4),
            "copy_ratio_features": _ratio(measures.copy_ratio[place, 0]),
            "copy_ratio_pixels": _ratio(measures.copy_ratio[place, 1]),
        }


@dataclass(frozen=True)
class Decision:
    """What becomes of a pair."""

    kept: bool
    reason: str = ""
    """Why it was dropped or repaired."""
    repaired: bool = False

    @property
    def may_lose_pixels(self) -> bool:
        """Whether doubted pixels are to be ignored: not where a person has seen the mask, or the judges drew it."""
        return self.kept and not self.repaired and not self.reason.startswith(KEPT)

    def as_metadata(self) -> dict[str, Any]:
        """The keys `kept`, `reason` and, where it is so, `repaired` of `metadata.jsonl`."""
        return {"kept": self.kept, "reason": self.reason, **({"repaired": True} if self.repaired else {})}


def decide(config: SelectConfig, judged: Judged, kept_by_person: Sequence[bool] = ()) -> list[Decision]:
    """Decide on each pair: a person's word first, then the criteria, the best of each mask, the best of all.

    What a person kept is kept as it is, whatever it fails, and counts among the best of its mask and of all.

    Args:
        config: the options.
        judged: the pairs.
        kept_by_person: (N,) whether a person kept each; none where empty.
    """
    fails = judged.fails(config)
    decisions = []
    for place, clear in enumerate(judged.is_clear):
        reasons = [name for name, failed in fails.items() if failed[place]]
        if config.repair and clear and reasons == ["agreement"]:
            decisions.append(Decision(True, "agreement: mask of the judges taken", repaired=True))
        else:
            decisions.append(Decision(not reasons, ", ".join(reasons)))
    pictures = Counter(judged.mask_index)
    taken: Counter[int] = Counter()
    num_kept = 0
    for place in np.flatnonzero(kept_by_person).tolist():
        decisions[place] = _kept_by_person(decisions[place].reason)
        taken[judged.mask_index[place]] += 1
        num_kept += 1
    for place in judged.order:
        if not decisions[place].kept or (len(kept_by_person) and kept_by_person[place]):
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


def _kept_by_person(failed: str) -> Decision:
    return Decision(True, f"{KEPT} in spite of {failed}" if failed else KEPT)


def _ratio(value: float) -> float | None:
    """A ratio for JSON, which has no NaN: undefined is null."""
    return None if np.isnan(value) else round(float(value), 4)
