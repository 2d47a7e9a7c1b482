"""Are generated masks like real ones, and are they new? Measured as an outsider would."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from isdm.data.dataset import DatasetInfo
from isdm.data.image_files import MaskArray
from isdm.synthesis.masks.drawn import objects_of

Floats = NDArray[np.float64]
FOLDS = 5
PENALTY = 1.0
"""Weight of the squared coefficients against the mean log-likelihood times the number of masks."""


def mask_statistics(masks: MaskArray, info: DatasetInfo) -> Floats:
    """What a mask (N, H, W) is told by: for each class its area, objects, mean size and place; (N, 7 K).

    Areas are shares of the picture, also as logarithms; places are the mean and the spread of the pixels' rows and
    columns, as shares of its size and 0.5 where the class is missing.
    """
    height, width = masks.shape[1:]
    rows, columns = np.mgrid[0:height, 0:width]
    found = []
    for mask in masks:
        objects = objects_of(mask, None, info.first_foreground)
        line: list[float] = []
        for entry in info.classes[info.first_foreground :]:
            of_class = mask == entry.id
            sizes = [thing.area for thing in objects if thing.class_id == entry.id]
            area = float(of_class.mean())
            y, x = (v[of_class] / n if sizes else np.array([0.5]) for v, n in ((rows, height), (columns, width)))
            line += [area, np.log10(area + 1e-4), len(sizes), np.log10(np.mean(sizes or [0]) + 1)]
            line += [float(y.mean()), float(x.mean()), float(y.std() + x.std())]
        found.append(line)
    return np.array(found)


def classifier_auc(real: Floats, generated: Floats, groups: Sequence[str] | None = None, seed: int = 0) -> float:
    """How well real and generated masks can be told apart: cross-validated area under the ROC curve.

    A logistic regression on the statistics (N, D) and (M, D) and their squares; 0.5 is chance. Real masks of one
    group stay in one fold.
    """
    values = np.concatenate([real, generated])
    values = np.concatenate([values, values**2], axis=1)
    truth = np.repeat([1.0, 0.0], [len(real), len(generated)])
    rng = np.random.default_rng((seed, 0xA0C))
    own = np.unique(np.asarray(groups), return_inverse=True)[1] if groups is not None else np.arange(len(real))
    of_group = rng.permutation(np.arange(own.max() + 1) % FOLDS)
    folds = np.concatenate([of_group[own], rng.permutation(np.arange(len(generated)) % FOLDS)])
    scores = np.empty(len(truth))
    for fold in range(FOLDS):
        seen = folds != fold
        mean, spread = values[seen].mean(axis=0), values[seen].std(axis=0) + 1e-9
        x = np.concatenate([(values - mean) / spread, np.ones((len(values), 1))], axis=1)
        weights = _logistic(x[seen], truth[seen])
        scores[folds == fold] = stats.rankdata(x[folds == fold] @ weights) / (folds == fold).sum()
    return auc(scores[truth == 1], scores[truth == 0])


def auc(positive: Floats, negative: Floats) -> float:
    """Chance that a positive score exceeds a negative one, ties counted half (Mann and Whitney 1947)."""
    statistic = stats.mannwhitneyu(positive, negative).statistic
    return float(statistic) / (len(positive) * len(negative))


def _logistic(x: Floats, y: Floats) -> Floats:
    """Coefficients of a logistic regression with both sides weighed alike."""
    weight = np.where(y == 1, 0.5 / y.mean(), 0.5 / (1 - y.mean()))

    def loss(w: Floats) -> tuple[float, Floats]:
        z = x @ w
        p = 1 / (1 + np.exp(-np.clip(z, -30, 30)))
        value = float((weight * (np.logaddexp(0, z) - y * z)).sum() + PENALTY * (w[:-1] ** 2).sum() / 2)
        gradient = x.T @ (weight * (p - y)) + PENALTY * np.append(w[:-1], 0)
        return value, gradient

    found: Floats = optimize.minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x
    return found
