"""What an audit found, in words that are never stronger than its figures."""

from collections.abc import Mapping
from typing import Any

FIGURES = {
    "kid": ("KID", "0 is best; may be slightly negative"),
    "fid": ("FID", "0 is best; biased upward for few pictures"),
    "precision": ("precision", "share of pictures that look like real ones"),
    "recall": ("recall", "share of real pictures that it could have painted"),
    "density": ("density", "about 1 for real pictures"),
    "coverage": ("coverage", "share of real pictures with a synthetic neighbour"),
}


_CLEAR_SHIFT, _CLEAR_RATIO = 0.5, 1.5
"""Light differs clearly from half a standard deviation of real ones on, or where it varies so much more or less."""
_LEAST_SPREAD = 0.01
_LEAST_REAL_IOU = 0.1
"""IoU on real held-out images below which a judge hardly reads them, and a share of it says nothing."""
_LEAST_LEAD = 0.1
"""Of the share for the images' own masks over that for the masks of others; below, nothing shows that masks steer."""
_FEW_PICTURES = 30


def lead(audit: Mapping[str, Any]) -> str:
    """How well the pictures follow their masks, in a sentence."""
    share, weak = audit["agreement"], weak_judge(audit)
    if share is None:
        return "The judge recognises nothing on real held-out images, so the agreement with the masks is undefined."
    if weak is not None:
        return weak
    chance = audit["shuffled_agreement"] or 0.0
    return (
        f"A segmenter trained on the real images finds the masks in the synthetic ones with {share:.2f}"
        f"{agreement_interval(audit, 2)} of the IoU that it reaches on real held-out images; with the masks of "
        f"others it would be {chance:.2f}.{' ' + unsteered if (unsteered := masks_do_not_steer(audit)) else ''}"
    )


def masks_do_not_steer(audit: Mapping[str, Any]) -> str | None:
    """That the images' own masks fit hardly better than those of others; None where they do or nobody can tell."""
    own, others = shares(audit)
    if own is None or others is None or own - others >= _LEAST_LEAD:
        return None
    return (
        "Foreign masks fit the synthetic images nearly as well as their own, so it is not shown that the images "
        "follow their masks."
    )


def weak_judge(audit: Mapping[str, Any]) -> str | None:
    """That the judge hardly reads real images, so that its share of that says nothing; None for one that does."""
    real, own, others = (audit.get(f"{side}_iou") for side in ("real", "synthetic", "shuffled"))
    if real is None or real >= _LEAST_REAL_IOU:
        return None
    return (
        f"The judge hardly reads real held-out images (IoU {real:.3f}), so its share of that does not say how "
        f"well synthetic ones follow their masks; there it finds their own masks with an IoU of {own or 0:.3f}, "
        f"those of others with {others or 0:.3f}. Train it otherwise: more epochs, another learning_rate or "
        f"architecture, an encoder with ImageNet weights, augment=true where it is off."
    )


def shares(audit: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The judge's share for the images' own masks and for those of others; None where it says nothing."""
    if weak_judge(audit) is not None:
        return None, None
    return audit.get("agreement"), audit.get("shuffled_agreement")


def agreement_interval(audit: Mapping[str, Any], digits: int, factor: float = 1) -> str:
    """The 95 % interval of the agreement times `factor`, behind a space; nothing where the share says nothing.

    Older audits have none.
    """
    ends = audit.get("agreement_interval")
    if ends is None or ends["low"] is None or weak_judge(audit) is not None:
        return ""
    high = "…" if ends["high"] is None else f"{factor * ends['high']:.{digits}f}"
    return f" [{factor * ends['low']:.{digits}f}, {high}]"


def copying_verdict(audit: Mapping[str, Any], pictures: str = "below") -> dict[str, str]:
    """Whether it copies: a headline and what it rests on; `pictures` says where the most suspicious ones are."""
    copying = audit["copying"]
    if copying.get("verdict") is None:
        return {"headline": "Copying could not be tested.", "why": f"Because {copying['why']}."}
    shares = [f"{100 * copying[way]['share_synthetic']:.1f} % by {way}" for way in ("pixels", "features")]
    unseen = [f"{100 * copying[way]['share_held_out']:.1f} %" for way in ("pixels", "features")]
    decided = _decided_by(copying)
    facts = (
        f"By the ratio test {' and '.join(shares)} of the synthetic pictures are copies of a training picture; of "
        f"real held-out pictures, which cannot be copies, {' and '.join(unseen)}."
    )
    if copying["verdict"] == "copies":
        text = {"headline": f"The generator copies training pictures ({decided}).", "why": facts}
    elif copying["verdict"] == "closer":
        any_copies = any(copying[way]["share_synthetic"] for way in ("pixels", "features"))
        text = {
            "headline": f"{'No more copies than chance gives' if any_copies else 'No copies'}, but closer to single "
            f"training pictures than new real ones are ({decided}).",
            "why": f"{facts} Pictures painted for training masks share their layout; that can bring them closer.",
        }
    else:
        text = {"headline": "No sign of copying.", "why": facts}
    if not copying["can_tell"]:
        text["why"] += f" There are too few held-out groups for a test to tell: judge by the pictures {pictures}."
    if audit["num_real_backgrounds"]:
        text["why"] += (
            f" {audit['num_real_backgrounds']:,} pictures have real backgrounds on purpose; they are copies but for "
            f"the defect."
        )
    return text


def _decided_by(copying: Mapping[str, Any]) -> str:
    """The measure, the test and the p-value that decided; older audits name the least of all p-values."""
    by = copying.get("decided_by")
    if by is None:
        least = min(copying[way][test] for way in ("pixels", "features") for test in ("p_copies", "p_closer"))
        return f"p = {least:.4f}"
    test = "more copies" if by["test"] == "p_copies" else "closer"
    return f"{test} by {by['measure']}, p = {by['p']:.4f}"


def light_warning(audit: Mapping[str, Any]) -> str | None:
    """That the synthetic pictures have another light than the real ones, where they clearly have."""
    if "light" not in audit or audit["num_synthetic_images"] < _FEW_PICTURES:  # older audits did not look at it
        return None
    real, held_out, new = (audit["light"][side] for side in ("real", "held_out", "synthetic"))
    usual = max(real["spread"], held_out["spread"], _LEAST_SPREAD)
    shift = new["mean"] - real["mean"]
    is_shifted = abs(shift) > max(_CLEAR_SHIFT * usual, 2 * abs(held_out["mean"] - real["mean"]))
    varies = max(new["spread"], _LEAST_SPREAD) / usual
    if not is_shifted and 1 / _CLEAR_RATIO < varies < _CLEAR_RATIO:
        return None
    return (
        f"The synthetic pictures have another light: their mean brightness is {new['mean']:.2f} and varies by "
        f"{new['spread']:.2f} from picture to picture, that of the real ones is {real['mean']:.2f} and varies by "
        f"{real['spread']:.2f}. Train the generator longer, or with --set prediction=v --set loss_weighting=min-snr, "
        f"which learn it sooner."
    )


def fidelity_rows(fidelity: Mapping[str, Any]) -> list[dict[str, str]]:
    """The figures of fidelity, each beside what held-out real pictures score."""
    return [
        {
            "name": title,
            "meaning": meaning,
            **{side: _with_interval(fidelity.get(side), name) for side in ("synthetic", "held_out")},
        }
        for name, (title, meaning) in FIGURES.items()
    ]


def _with_interval(side: Mapping[str, Any] | None, name: str) -> str:
    if side is None:
        return "too few pictures"
    value, low, high = (side[name][key] for key in ("value", "low", "high"))
    if value is None:
        return "undefined (a single group)"
    digits = 3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    if low is None or high is None:  # a resample of few groups had nothing to compare
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
