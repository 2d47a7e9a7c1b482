"""Choose masks so that real and synthetic classes together become even.

A new mask is not its model: moving, combining and drawing anew change its classes. Each is therefore drawn as soon as
its model is chosen, and the next choice goes by what is really there.

With one foreground class there is nothing to be even with but its absence: then pictures with and without the object
are balanced, or object pixels and background as far as the masks allow.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isdm.config import SampleConfig
from isdm.data.dataset import IGNORE_INDEX, DatasetInfo
from isdm.data.image_files import MaskArray
from isdm.data.instances import InstanceArray
from isdm.errors import DataError
from isdm.files import write_json
from isdm.progress import say, track
from isdm.synthesis.masks.drawn import DrawnMask, objects_of

Draw = Callable[[int, int], DrawnMask]
"""Gives the mask of a number that is modelled on a training mask."""
Counts = NDArray[np.float64]
FILE_NAME = "balance.json"
ENOUGH = 0.5
"""Share of the greatest possible gain that a mask must bring to be taken in its turn."""


def balanced_plan(
    config: SampleConfig,
    masks: MaskArray,
    instances: InstanceArray | None,
    info: DatasetInfo,
    num_masks: int,
    folder: Path,
    draw: Draw | None = None,
) -> NDArray[np.int64]:
    """Which training mask each of `num_masks` new ones takes, or is modelled on: (num_masks,).

    Greedy: of the masks that bring the shares of real and chosen together at least half as near to even as the best
    one would, or leave them even within half the tolerance, the next is the one that was taken least. Masks may be
    taken any number of times, so it never runs dry. What was reached is said and written to `folder`/balance.json.

    Args:
        config: by what masks are balanced, and the seed.
        masks: (N, H, W) class ids of the training masks.
        instances: (N, H, W), where they have instance maps.
        info: their classes.
        num_masks: how many are chosen.
        folder: where `balance.json` is written.
        draw: makes the new mask of a model; without it the training masks themselves are taken.

    Raises:
        DataError: a class is in no training mask, or fewer than two things can be even.
    """
    counts, names = counts_of(config, masks, instances, info)
    total = counts.sum(axis=0)
    missing = [name for name, count in zip(names, total, strict=True) if count == 0]
    if missing:
        raise DataError(
            f"No training mask has {missing[0]!r}, so it cannot be balanced; merge or leave out the class."
        )
    before = total.copy()
    taken = np.zeros(len(masks))
    shown = np.flatnonzero(counts.sum(axis=1))  # a mask that changes nothing would be taken for ever once all is even
    order = np.random.default_rng((config.seed, 0xBA1)).permutation(shown)  # decides among equals
    candidates = counts[order]
    plan = np.empty(num_masks, np.int64)
    places = range(num_masks)
    for place in places if draw is None else track(places, "Balancing masks", total=num_masks, unit="masks"):
        after = total + candidates
        unevenness, now = _unevenness(after), _unevenness(total)
        gain_wanted = unevenness.min() + (1 - ENOUGH) * max(now - unevenness.min(), 0)
        is_even = after.min(axis=1) >= (1 - config.balance_tolerance / 2) * after.max(axis=1)
        fit = np.flatnonzero((unevenness <= gain_wanted) | is_even)
        best = fit[np.lexsort((unevenness[fit], taken[order][fit]))[0]]
        plan[place] = order[best]
        taken[order[best]] += 1
        total = after[best] if draw is None else total + _counts_of_new(config, draw(place, int(plan[place])), info)
    _report(config, names, before, total, taken, folder)
    return plan


def _unevenness(totals: Counts) -> Counts:
    """How far shares (..., B) are from even: the sum of their squared differences to 1/B."""
    shares = totals / totals.sum(axis=-1, keepdims=True)
    squared: Counts = ((shares - 1 / totals.shape[-1]) ** 2).sum(axis=-1)
    return squared


def _counts_of_new(config: SampleConfig, drawn: DrawnMask, info: DatasetInfo) -> Counts:
    instances = None if drawn.instances is None else drawn.instances[None]
    counts, _ = counts_of(config, drawn.mask[None], instances, info)
    own: Counts = counts[0]
    return own


def counts_of(
    config: SampleConfig, masks: MaskArray, instances: InstanceArray | None, info: DatasetInfo
) -> tuple[Counts, list[str]]:
    """What is balanced: counts (N, B) of each mask and the names of the B things."""
    classes = info.classes[info.first_foreground :]
    by_pixels = config.balance == "pixels"
    if by_pixels:
        counts = np.stack([(masks == entry.id).sum(axis=(1, 2)) for entry in classes], axis=1).astype(np.float64)
    else:
        found = [
            [
                thing.class_id
                for thing in objects_of(mask, None if instances is None else instances[row], classes[0].id)
            ]
            for row, mask in enumerate(masks)
        ]
        counts = np.array([[own.count(entry.id) for entry in classes] for own in found], np.float64)
    names = [entry.name for entry in classes]
    if len(classes) > 1:
        return counts, names
    if by_pixels:
        rest = ((masks != IGNORE_INDEX).sum(axis=(1, 2)) - counts[:, 0])[:, None]
        return np.concatenate([counts, rest], axis=1), [names[0], info.classes[0].name]
    has = (counts[:, :1] > 0).astype(np.float64)
    return np.concatenate([has, 1 - has], axis=1), [f"pictures with {names[0]}", f"pictures without {names[0]}"]


def _report(
    config: SampleConfig, names: list[str], before: Counts, after: Counts, taken: Counts, folder: Path
) -> None:
    evenness = [float(x.min() / x.max()) for x in (before, after)]
    met = evenness[1] >= 1 - config.balance_tolerance
    record: dict[str, Any] = {
        "by": config.balance,
        "before": dict(zip(names, before.tolist(), strict=True)),
        "after": dict(zip(names, after.tolist(), strict=True)),
        "least_over_most_before": round(evenness[0], 4),
        "least_over_most_after": round(evenness[1], 4),
        "tolerance": config.balance_tolerance,
        "met": met,
        "most_uses_of_a_mask": int(taken.max()),
        "masks_used": int((taken > 0).sum()),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / FILE_NAME, record)
    text = f"Balance by {config.balance}: the rarest has {evenness[0]:.2f} of the most frequent, with the new masks "
    text += f"{evenness[1]:.2f}."
    if not met:
        text += f" The tolerance asks for {1 - config.balance_tolerance:.2f}; sample more, with -n."
    say(text)
