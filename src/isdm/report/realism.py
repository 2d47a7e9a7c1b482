"""Whether the pictures of an audit look real, in words: precision and recall beside those of real held-out pictures.

Only what the intervals keep apart is called a difference. The balls of few pictures are wide, so the recall of many
perfect pictures lies below that of few real ones (0.6 beside 1.0 in 512 features); it has to fall below half.
"""

from collections.abc import Mapping
from typing import Any

_MEANING = {
    "precision": "precision, the share of pictures that look like real ones,",
    "recall": "recall, the share of real pictures that it could have painted,",
}
Figure = Mapping[str, float | None]


def realism(audit: Mapping[str, Any]) -> dict[str, str]:
    """Whether the pictures look real: a headline and what it rests on."""
    found = audit.get("fidelity") or {}
    new, real = found.get("synthetic"), found.get("held_out")
    if new is None or real is None:
        return {
            "headline": "Whether the pictures look real could not be measured.",
            "why": "There are too few pictures for precision and recall.",
        }
    facts = [
        f"{_MEANING[name]} is {_text(new[name])}, of real held-out pictures {_text(real[name])}" for name in _MEANING
    ]
    return {"headline": _headline(new, real), "why": f"In features ({found['features']}) {'; '.join(facts)}."}


def _headline(new: Mapping[str, Figure], real: Mapping[str, Figure]) -> str:
    precision, recall = (_beside(name, new[name], real[name]) for name in _MEANING)
    faults = []
    if _lies_below(new["precision"], real["precision"]):
        if _is_below_half(new["precision"], real["precision"]):
            return f"The pictures do not look real: {precision}."
        faults.append(f"look less real than new real ones: {precision}")
    if _lies_below(new["recall"], real["recall"]) and _is_below_half(new["recall"], real["recall"]):
        faults.append(f"show only a part of what real ones show: {recall}")
    if faults:
        return f"The pictures {'. They '.join(faults)}."
    ends = [side[name][end] for side in (new, real) for name in _MEANING for end in ("low", "high")]
    if None in ends:
        return f"There are too few groups to tell whether the pictures look real: {precision}; {recall}."
    return f"Precision and recall are not clearly below those of new real pictures: {precision}; {recall}."


def _beside(name: str, new: Figure, real: Figure) -> str:
    one, other = ("undefined" if side["value"] is None else f"{side['value']:.2f}" for side in (new, real))
    return f"{name} {one}, real ones {other}"


def _text(side: Figure) -> str:
    if side["value"] is None:
        return "undefined (a single group)"
    if side["low"] is None or side["high"] is None:
        return f"{side['value']:.2f}"
    return f"{side['value']:.2f} [{side['low']:.2f}, {side['high']:.2f}]"


def _lies_below(new: Figure, real: Figure) -> bool:
    high, low = new["high"], real["low"]
    return high is not None and low is not None and high < low


def _is_below_half(new: Figure, real: Figure) -> bool:
    value, standard = new["value"], real["value"]
    return value is not None and standard is not None and value < standard / 2
