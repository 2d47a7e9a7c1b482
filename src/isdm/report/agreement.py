"""How well synthetic images follow their masks, as figures and a sentence for the page of a study."""

from collections.abc import Mapping
from typing import Any

from isdm.report.audit_text import agreement_interval, masks_do_not_steer, shares, weak_judge
from isdm.report.tables import architecture_name


def agreement(audit: Mapping[str, Any]) -> dict[str, Any]:
    """An audit as figures and one sentence that says what they mean, no more."""
    ratio, shuffled = shares(audit)
    segmenter = audit.get("segmenter") or {}
    bars = [
        ("real held-out images", audit.get("real_iou")),
        ("synthetic images", audit.get("synthetic_iou")),
        ("synthetic, masks shuffled", audit.get("shuffled_iou")),
    ]
    return {
        "segmenter": " with ".join(
            architecture_name(str(segmenter[part])) for part in ("architecture", "encoder") if segmenter.get(part)
        ),
        "num_images": audit.get("num_synthetic_images"),
        "ratio": percent(ratio) + agreement_interval(audit, 0, 100),
        "shuffled": percent(shuffled),
        "meaning": weak_judge(audit) or masks_do_not_steer(audit) or _agreement_meaning(ratio, shuffled),
        "bars": [
            {"label": label, "iou": number(value), "width": f"{100 * min(max(value or 0, 0), 1):.1f}"}
            for label, value in bars
        ],
        "classes": [
            {"name": name, "ious": [number(ious.get(key)) for key in ("real", "synthetic", "shuffled")]}
            for name, ious in audit.get("per_class", {}).items()
        ],
    }


def _agreement_meaning(ratio: float | None, shuffled: float | None) -> str:
    if ratio is None:
        return "The agreement is not defined: on real held-out images the network finds nothing to compare with."
    if shuffled is None:
        return "Without the shuffled control this number alone says little."
    gist = (
        f"A network trained on real images alone reaches {percent(ratio)} of its real-image IoU on synthetic "
        f"images and their masks, {percent(shuffled)} with the masks of others: masks steer what is painted."
    )
    if ratio > 1:
        gist += " Above 100 % the synthetic images are easier to read than real ones; they may vary less."
    elif ratio < 0.8:
        gist += " Still, a good part of the masks is not found again: such pairs teach some wrong labels."
    return gist


def percent(value: float | None) -> str:
    """A ratio as whole percent, a dash where it is undefined."""
    return "–" if value is None else f"{100 * value:.0f} %"


def number(value: float | None) -> str:
    """An IoU with three decimals, a dash where it is undefined."""
    return "–" if value is None else f"{value:.3f}"
