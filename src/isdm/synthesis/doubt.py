"""Pixels whose label the judges doubt: ignored, while the rest of the pair is kept.

A generator does not paint every part of a mask, and what a segmenter learns there is wrong. A label is doubted where
the judges' loss on it lies far above the mean of its class over all synthetic pairs (after Yang et al. 2023,
"FreeMask", https://arxiv.org/abs/2310.15160). The mean of each class is its own yardstick: rare classes, which judges
read worse, are not ignored altogether.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isdm.data.dataset import IGNORE_INDEX, DatasetInfo, Pair, SegmentationDataset, palette_image
from isdm.data.decoding import in_blocks
from isdm.data.image_files import MaskArray, write_png
from isdm.synthesis.judges import Judge, Probabilities, read_images

LEAST_PROBABILITY = 1e-6
"""A loss is bounded, so that a few pixels which a judge holds for impossible do not make up the mean."""


def label_losses(probabilities: Probabilities, masks: MaskArray) -> NDArray[np.float32]:
    """Cross-entropy of each pixel's label: -log p_y, in nats; 0 where the mask is ignored.

    Args:
        probabilities: (N, K, H, W) of the judges.
        masks: (N, H, W) class ids.

    Returns:
        (N, H, W).
    """
    labels = np.where(masks == IGNORE_INDEX, 0, masks)[:, None].astype(np.int64)
    of_label = np.take_along_axis(probabilities, labels, axis=1)[:, 0]
    losses = -np.log(np.maximum(of_label, LEAST_PROBABILITY))
    return np.where(masks == IGNORE_INDEX, 0, losses).astype(np.float32)


@dataclass
class ClassLosses:
    """Sum of the losses of each class's pixels, and their number, (K,) each."""

    sums: NDArray[np.float64]
    counts: NDArray[np.int64]

    @staticmethod
    def none(num_classes: int) -> "ClassLosses":
        """No pixel yet."""
        return ClassLosses(np.zeros(num_classes), np.zeros(num_classes, np.int64))

    def add(self, losses: NDArray[np.float32], masks: MaskArray) -> None:
        """Add the pixels of masks (N, H, W) with their losses (N, H, W)."""
        valid = masks != IGNORE_INDEX
        labels, size = masks[valid], len(self.sums)
        self.sums += np.bincount(labels, losses[valid], size)
        self.counts += np.bincount(labels, minlength=size)

    def limits(self, doubt: float) -> NDArray[np.float64]:
        """The loss (K,) above which a label is doubted: `doubt` times the mean of its class."""
        limits = np.full(len(self.sums), np.inf)
        np.divide(doubt * self.sums, self.counts, out=limits, where=self.counts > 0)
        return limits


def without_doubted(probabilities: Probabilities, masks: MaskArray, limits: NDArray[np.float64]) -> MaskArray:
    """Masks (N, H, W) in which doubted pixels are ignored."""
    labels = np.where(masks == IGNORE_INDEX, 0, masks)
    is_doubted = label_losses(probabilities, masks) > limits[labels]
    return np.where(is_doubted, IGNORE_INDEX, masks).astype(np.uint8)


@dataclass
class Doubted:
    """What became of some pairs: doubted pixels of each by its image, and of each class (K,) before and after."""

    num_px: dict[Path, int]
    before: NDArray[np.int64]
    after: NDArray[np.int64]

    @staticmethod
    def nothing(num_classes: int) -> "Doubted":
        """No pair."""
        return Doubted({}, *np.zeros((2, num_classes), np.int64))

    def shares(self, info: DatasetInfo) -> dict[str, float]:
        """Share of each class's pixels that is ignored; classes that no pair shows are left out."""
        return {
            entry.name: round(1 - float(self.after[entry.id] / self.before[entry.id]), 4)
            for entry in info.classes
            if self.before[entry.id]
        }


def write_without_doubted(
    synthetic: SegmentationDataset,
    pairs: Sequence[Pair],
    judges: Sequence[Judge],
    limits: NDArray[np.float64],
    out: Path,
) -> Doubted:
    """Write the masks of some pairs into the training split of `out` with doubted pixels ignored."""
    info = synthetic.info
    found = Doubted.nothing(info.num_classes)
    for chunk, images, masks in in_blocks(synthetic, pairs, "Ignoring doubted pixels"):
        sources = [list(pair.metadata.get("source_groups", [pair.group])) for pair in chunk]
        changed = without_doubted(read_images(judges, images, sources).probabilities, masks, limits)
        found.before += _class_px(masks, info.num_classes)
        found.after += _class_px(changed, info.num_classes)
        for pair, before, after in zip(chunk, masks, changed, strict=True):
            found.num_px[pair.image] = int((before != after).sum())
            write_png(out / "train" / pair.metadata["mask_file_name"], palette_image(after, info))
    return found


def _class_px(masks: MaskArray, num_classes: int) -> NDArray[np.int64]:
    return np.bincount(masks.ravel(), minlength=256)[:num_classes]
