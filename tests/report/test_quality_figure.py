"""The figure of several sets: each value stands where its audit has it, and what is unknown leaves a gap."""

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from isdm.report.quality_figure import quality_figure


def audit(agreement: float | None, kid: float | None) -> dict[str, Any]:
    if kid is None:
        return {"agreement": agreement}
    figure = {"value": kid, "low": kid - 0.05, "high": kid + 0.1}
    synthetic = {"kid": figure, "precision": {"value": 0.8, "low": None, "high": None}, "recall": figure}
    return {"agreement": agreement, "fidelity": {"synthetic": synthetic, "held_out": {"kid": {"value": 0.04}}}}


def points(axes: Axes, index: int = 0) -> list[tuple[float, float]]:
    line = axes.containers[index].lines[0]
    return list(zip(line.get_xdata(), line.get_ydata(), strict=True))


def test_each_set_has_its_values_in_the_order_given() -> None:
    figure = quality_figure({"early": audit(0.5, 0.3), "late": audit(0.9, 0.2), "no features": audit(None, None)})
    assert figure is not None
    agreement, kid, shares = figure.axes
    assert [label.get_text() for label in agreement.get_yticklabels()] == ["early", "late", "no features"]
    assert points(agreement)[:2] == [(0.5, 0), (0.9, 1)]
    assert points(kid)[:2] == [(0.3, 0), (0.2, 1)]
    assert all(np.isnan(points(axes)[2][0]) for axes in (agreement, kid, shares))
    first = kid.containers[0].lines[2][0].get_segments()[0]
    assert first[:, 0] == pytest.approx([0.25, 0.4])
    dashed = next(line for line in kid.lines if line.get_label() == "held-out real images")
    assert dashed.get_xdata() == [0.04, 0.04]
    assert [points(shares, index)[0][0] for index in (0, 1)] == [0.8, 0.3]


def test_one_set_needs_no_figure() -> None:
    assert quality_figure({"only": audit(0.5, 0.3)}) is None


def test_an_undefined_figure_leaves_its_place_empty() -> None:
    undefined = audit(0.5, 0.3)
    for side in undefined["fidelity"].values():
        side["kid"] = dict.fromkeys(("value", "low", "high"))
    figure = quality_figure({"early": audit(0.5, 0.3) | {"fidelity": undefined["fidelity"]}, "late": audit(0.9, 0.2)})
    assert figure is not None
    _, kid, _ = figure.axes
    assert np.isnan(points(kid)[0][0])
    assert points(kid)[1] == (0.2, 1)
    dashed = next(line for line in kid.lines if line.get_label() == "held-out real images")
    assert dashed.get_xdata() == [0.04, 0.04], "of the first audit that knows it"
