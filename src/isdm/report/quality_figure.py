"""Sample quality of several synthetic sets beside each other, such as of other checkpoints or numbers of steps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isdm.report.audit_text import weak_judge
from isdm.report.drawing import LIGHT, Theme, drawable, legend_below, styled

Audits = Mapping[str, Mapping[str, Any]]

_NOTHING = {"value": None, "low": None, "high": None}


def quality_figure(audits: Audits, *, theme: Theme = LIGHT, stacked: bool = False) -> Figure | None:
    """Agreement with the masks, KID, and precision with recall: one line a set, in the order given.

    None with fewer than two sets. A set without a figure, as too small ones are, leaves its place empty. The dashed
    line is what held-out real pictures score.
    """
    if len(audits) < 2:
        return None
    panels: list[tuple[str, dict[str, list[Mapping[str, Any]]], float | None]] = [
        ("agreement with masks", {"": [_agreement(one) for one in audits.values()]}, 1.0),
        ("KID (0 is best)", {"": _of(audits, "kid")}, _held_out(audits, "kid")),
        ("share of pictures", {name: _of(audits, name) for name in ("precision", "recall")}, None),
    ]
    with styled(theme):
        rows, columns = (len(panels), 1) if stacked else (1, len(panels))
        size = (4.4, 3 * (1.1 + 0.3 * len(audits))) if stacked else (10.5, 1.3 + 0.32 * len(audits))
        figure = Figure(figsize=size, layout="constrained")
        axes_of = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
        for axes, (title, series, real) in zip(axes_of, panels, strict=True):
            for index, (name, values) in enumerate(series.items()):
                aside = 0.22 * (index - (len(series) - 1) / 2)
                _draw(axes, values, aside, theme.series[index] if name else theme.ink, name)
            if real is not None:
                axes.axvline(
                    real, color=theme.muted, linestyle=(0, (4, 3)), linewidth=1.3, label="held-out real images"
                )
            axes.set_title(title)
            axes.margins(x=0.08)
            axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
            axes.grid(axis="x")
        axes_of[0].set_yticks(range(len(audits)), drawable([*audits], 30))
        axes_of[0].set_ylim(len(audits) - 0.5, -0.5)
        legend_below(figure, axes_of, columns=1 if stacked else 3)
    return figure


def _agreement(audit: Mapping[str, Any]) -> dict[str, Any]:
    if weak_judge(audit) is not None:
        return _NOTHING
    return {**_NOTHING, "value": audit.get("agreement"), **(audit.get("agreement_interval") or {})}


def _of(audits: Audits, name: str) -> list[Mapping[str, Any]]:
    sides = (audit.get("fidelity", {}).get("synthetic") for audit in audits.values())
    return [_NOTHING if side is None else side[name] for side in sides]


def _held_out(audits: Audits, name: str) -> float | None:
    """What held-out real pictures score in the first audit that knows; None where no audit does."""
    sides = (audit.get("fidelity", {}).get("held_out") for audit in audits.values())
    values = (side[name]["value"] for side in sides if side is not None)
    return next((float(value) for value in values if value is not None), None)


def _draw(axes: Axes, values: Sequence[Mapping[str, Any]], aside: float, colour: str, name: str) -> None:
    numbers = np.array([[one[key] for key in ("value", "low", "high")] for one in values], np.float64)
    middle, low, high = numbers.T
    bars = np.nan_to_num(np.stack([middle - low, high - middle])).clip(0)
    axes.errorbar(
        middle,
        np.arange(len(values)) + aside,
        xerr=bars,
        fmt="o",
        color=colour,
        markersize=5,
        elinewidth=1.2,
        capsize=3,
        label=name or None,
    )
