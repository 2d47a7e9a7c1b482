"""What pairs are judged by, as numbers that mean the same for real and synthetic ones.

Each measure is read against the real pairs' own distribution: as a tail probability, the share of real pairs that
look as bad or worse, or by the outer fence of the real values. Nothing here is a constant that was tuned on some
dataset.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isdm.data.dataset import IGNORE_INDEX, DatasetInfo
from isdm.data.image_files import ImageArray, MaskArray
from isdm.metrics.copying import nearest_two, nearest_two_pixels, ratios
from isdm.synthesis.judges import Probabilities

Floats = NDArray[np.float64]

SHRINKAGE = 0.05
"""Share of the identity (of the same trace) in the covariance of colours, so that few images suffice."""
LEAST_ALIKE = 20
SHARE_ALIKE = 0.2
"""Real objects of a class that an object is compared with: those of most alike area."""


@dataclass(frozen=True)
class Agreement:
    """How well masks agree with what the judges see."""

    overlap: Floats
    """(N, K) soft IoU of each class; undefined (NaN) where the mask lacks it."""
    area: Floats
    """(N, K) share of the pixels; undefined where the mask lacks the class."""
    false_alarm: Floats
    """(N,) mean probability of any class that the mask lacks, background apart."""


def agreement(probabilities: Probabilities, masks: MaskArray, info: DatasetInfo) -> Agreement:
    """Compare masks with the judges' probabilities.

    The soft IoU of class k is sum(min(p_k, y_k)) / sum(max(p_k, y_k)) over the pixels that are not ignored, with
    y_k 1 in the class and 0 elsewhere (the Ruzicka similarity): for hard predictions it is the IoU.

    Args:
        probabilities: (N, K, H, W).
        masks: (N, H, W) class ids.
        info: the classes.
    """
    valid = masks != IGNORE_INDEX
    overlap, area = (np.full((len(masks), info.num_classes), np.nan) for _ in range(2))
    num_valid = np.maximum(valid.sum(axis=(1, 2)), 1)
    alarm = np.zeros(len(masks))
    for entry in info.classes[info.first_foreground :]:
        truth = masks == entry.id
        p = np.where(valid, probabilities[:, entry.id], 0)
        union = np.maximum(p, truth).sum(axis=(1, 2), dtype=np.float64)
        shared = np.minimum(p, truth).sum(axis=(1, 2), dtype=np.float64)
        present = truth.any(axis=(1, 2))
        overlap[present, entry.id] = shared[present] / union[present]
        area[present, entry.id] = truth.sum(axis=(1, 2))[present] / num_valid[present]
        alarm[~present] += p[~present].sum(axis=(1, 2), dtype=np.float64)
    return Agreement(overlap, area, alarm / num_valid)


def colour_statistics(images: ImageArray) -> Floats:
    """Brightness and colour of images (N, H, W, C): mean, spread and contrast of tones of each channel (N, 4 C)."""
    flat = images.reshape(len(images), -1, images.shape[3]).astype(np.float32) / np.iinfo(images.dtype).max
    low, high = np.quantile(flat, (0.05, 0.95), axis=1)
    return np.concatenate([flat.mean(axis=1), flat.std(axis=1), low, high], axis=1).astype(np.float64)


@dataclass(frozen=True)
class Colours:
    """The distribution of colour statistics of real images."""

    mean: Floats
    whitening: Floats

    @staticmethod
    def of(statistics: Floats) -> "Colours":
        """Fit to the statistics (N, D) of real images."""
        covariance = np.cov(statistics, rowvar=False).reshape(statistics.shape[1], -1)
        size = max(float(np.trace(covariance)) / len(covariance), 1e-12)
        shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * size * np.eye(len(covariance))
        return Colours(statistics.mean(axis=0), np.linalg.inv(np.linalg.cholesky(shrunk)))

    def distances(self, statistics: Floats) -> Floats:
        """Mahalanobis distance (N,) of statistics (N, D)."""
        distances: Floats = np.linalg.norm((statistics - self.mean) @ self.whitening.T, axis=1)
        return distances


@dataclass(frozen=True)
class References:
    """The real images that features, colours and copies are compared with."""

    images: ImageArray
    groups: Sequence[str]
    features: NDArray[np.float32]
    """(M, D)."""
    colours: Colours


@dataclass(frozen=True)
class Measures:
    """What is measured of N pairs."""

    agreement: Agreement
    feature_distance: Floats
    """(N,) to the nearest real image of a group that the pair does not stem from."""
    colour_distance: Floats
    """(N,)."""
    copy_ratio: Floats
    """(N, 2) d1/d2 by features and by pixels; low means a copy."""


def measure(
    seen: Agreement,
    images: ImageArray,
    features: NDArray[np.float32],
    sources: Sequence[Sequence[str]],
    references: References,
    *,
    are_references: bool,
) -> Measures:
    """Measure some pairs.

    Args:
        seen: their agreement.
        images: (N, H, W, C).
        features: (N, D).
        sources: (N,) groups that each stems from.
        references: real images.
        are_references: the pairs are the references themselves; their own groups are then no copies of them.
    """
    main = [own[0] if own else "" for own in sources]
    away = nearest_two(features, references.features, references.groups, main)
    own = main if are_references else None
    near = away if are_references else nearest_two(features, references.features, references.groups, own)
    pixels = nearest_two_pixels(images, references.images, references.groups, own)
    return Measures(
        seen,
        away.d1,
        references.colours.distances(colour_statistics(images)),
        np.stack([ratios(near), ratios(pixels)], axis=1),
    )


def tail_probabilities(values: Floats, real: Floats, *, low_is_bad: bool) -> Floats:
    """Share of real values that are as bad as each of `values` (N,) or worse: (1 + number) / (1 + all).

    Undefined values and an empty `real` give 1: nothing speaks against them.
    """
    real = np.sort(real[~np.isnan(real)])
    sign = values if low_is_bad else -values
    ordered = real if low_is_bad else np.sort(-real)
    as_bad = np.searchsorted(ordered, sign, side="right")
    shares = (1 + as_bad) / (1 + len(ordered))
    return np.where(np.isnan(values) | (len(real) == 0), 1.0, shares)


def tail_probabilities_like_area(values: Floats, areas: Floats, real: Floats, real_areas: Floats) -> Floats:
    """`tail_probabilities` (low is bad) among the real values whose areas are most alike.

    A network overlaps less with small objects than with large ones, real or not; compared with all, small objects
    would fail and large ones pass.

    Args:
        values: (N,), undefined where there is no such object.
        areas: (N,).
        real: (M,).
        real_areas: (M,).
    """
    known = ~np.isnan(real)
    real, logs = real[known], np.log(real_areas[known])
    result = np.ones(len(values))
    count = min(len(real), max(LEAST_ALIKE, round(SHARE_ALIKE * len(real))))
    if count:
        for place in np.flatnonzero(~np.isnan(values)):
            alike = np.argpartition(np.abs(logs - np.log(areas[place])), count - 1)[:count]
            result[place] = (1 + (real[alike] <= values[place]).sum()) / (1 + count)
    return result


def far_out(values: Floats, real: Floats) -> NDArray[np.bool_]:
    """Which values (N,) lie beyond the real ones' outer fence, the upper quartile and three times the spread above.

    Tukey, "Exploratory data analysis" (1977). A generator's pictures are all a little off, which a study can
    forgive; what is meant here is a picture unlike the real ones altogether.
    """
    low, high = np.quantile(real, (0.25, 0.75))
    beyond: NDArray[np.bool_] = values > high + 3 * (high - low)
    return beyond


def agreement_tails(seen: Agreement, real: Agreement, info: DatasetInfo) -> Floats:
    """The worst (N,) over the classes of a mask and its false alarms, each against real pairs that show the same."""
    by_class = [
        tail_probabilities_like_area(seen.overlap[:, k], seen.area[:, k], real.overlap[:, k], real.area[:, k])
        for k in range(info.first_foreground, info.num_classes)
    ]
    alarms = np.ones(len(seen.false_alarm))
    for empty in (True, False):  # pictures without any object have fewer false alarms, or more
        rows, real_rows = (np.isnan(x.overlap).all(axis=1) == empty for x in (seen, real))
        alarms[rows] = tail_probabilities(seen.false_alarm[rows], real.false_alarm[real_rows], low_is_bad=False)
    worst: Floats = np.min([*by_class, alarms], axis=0)
    return worst


@dataclass(frozen=True)
class Yardstick:
    """The real pairs that the others are measured by."""

    measures: Measures
    agreement_tails: Floats
    """Those of the real pairs themselves: the worst of several tails is not yet a tail."""
    info: DatasetInfo

    @staticmethod
    def of(measures: Measures, info: DatasetInfo) -> "Yardstick":
        """Measure the real pairs by themselves."""
        return Yardstick(measures, agreement_tails(measures.agreement, measures.agreement, info), info)


@dataclass(frozen=True)
class Result:
    """How N pairs do by each criterion."""

    agreement: Floats
    """(N,) share of real pairs whose masks agree as badly or worse."""
    copies: Floats
    """(N,) share of real pairs that look as much like a copy, by features and by pixels, or more."""
    far_features: NDArray[np.bool_]
    """(N,) unlike all real pictures in features."""
    far_colour: NDArray[np.bool_]
    """(N,) unlike all real pictures in brightness and colour."""


def compare(measures: Measures, real: Yardstick) -> Result:
    """Compare pairs with real ones."""
    tails = agreement_tails(measures.agreement, real.measures.agreement, real.info)
    copies = [
        tail_probabilities(measures.copy_ratio[:, way], real.measures.copy_ratio[:, way], low_is_bad=True)
        for way in (0, 1)
    ]
    return Result(
        tail_probabilities(tails, real.agreement_tails, low_is_bad=True),
        np.max(copies, axis=0),
        far_out(measures.feature_distance, real.measures.feature_distance),
        far_out(measures.colour_distance, real.measures.colour_distance),
    )
