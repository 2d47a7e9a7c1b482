"""What is said of realism is never stronger than the intervals."""

from typing import Any

import pytest

from isdm.report.realism import realism

Ends = tuple[float | None, float | None, float | None]


def audit(precision: tuple[Ends, Ends], recall: tuple[Ends, Ends]) -> dict[str, Any]:
    figures = {
        side: {
            name: dict(zip(("value", "low", "high"), ends[place], strict=True))
            for name, ends in (("precision", precision), ("recall", recall))
        }
        for place, side in enumerate(("synthetic", "held_out"))
    }
    return {"fidelity": {"features": "EfficientNet-Lite0 (ImageNet)", **figures}}


SAME: tuple[Ends, Ends] = ((0.9, 0.8, 1.0), (0.95, 0.9, 1.0))
NOTHING: Ends = (None, None, None)


@pytest.mark.parametrize(
    ("precision", "recall", "headline"),
    [
        (
            ((0.0, 0.0, 0.0), (0.778, 0.667, 1.0)),
            ((0.0, 0.0, 0.0), (0.974, 0.923, 1.0)),
            "The pictures do not look real: precision 0.00, real ones 0.78.",
        ),
        (
            ((0.63, 0.58, 0.68), (0.88, 0.73, 0.99)),
            SAME,
            "The pictures look less real than new real ones: precision 0.63, real ones 0.88.",
        ),
        (
            ((0.63, 0.58, 0.68), (0.88, 0.73, 0.99)),
            ((0.1, 0.07, 0.13), (0.8, 0.73, 0.85)),
            "The pictures look less real than new real ones: precision 0.63, real ones 0.88. They show only a part "
            "of what real ones show: recall 0.10, real ones 0.80.",
        ),
        (
            SAME,
            ((0.1, 0.07, 0.13), (0.8, 0.73, 0.85)),
            "The pictures show only a part of what real ones show: recall 0.10, real ones 0.80.",
        ),
        (
            SAME,
            ((0.6, 0.5, 0.7), (1.0, 0.95, 1.0)),  # what many perfect pictures get beside few real ones
            "Precision and recall are not clearly below those of new real pictures: precision 0.90, real ones 0.95; "
            "recall 0.60, real ones 1.00.",
        ),
        (
            ((0.3, 0.1, 0.7), (0.9, 0.6, 1.0)),  # the intervals overlap
            SAME,
            "Precision and recall are not clearly below those of new real pictures: precision 0.30, real ones 0.90; "
            "recall 0.90, real ones 0.95.",
        ),
        (
            ((0.3, 0.2, 0.4), (0.9, None, None)),
            (NOTHING, SAME[1]),
            "There are too few groups to tell whether the pictures look real: precision 0.30, real ones 0.90; "
            "recall undefined, real ones 0.95.",
        ),
    ],
)
def test_the_headline_is_as_strong_as_the_intervals(
    precision: tuple[Ends, Ends], recall: tuple[Ends, Ends], headline: str
) -> None:
    found = realism(audit(precision, recall))
    assert found["headline"] == headline
    assert "In features (EfficientNet-Lite0 (ImageNet)) precision" in found["why"]


def test_figures_stand_with_their_intervals() -> None:
    why = realism(audit(((0.3, 0.2, 0.4), (0.9, None, None)), (NOTHING, SAME[1])))["why"]
    assert "is 0.30 [0.20, 0.40], of real held-out pictures 0.90; recall" in why
    assert "is undefined (a single group), of real held-out pictures 0.95 [0.90, 1.00]." in why


def test_an_audit_without_the_figures() -> None:
    for found in ({}, {"fidelity": {"features": "x", "synthetic": {}}}):
        assert "could not be measured" in realism(found)["headline"]
