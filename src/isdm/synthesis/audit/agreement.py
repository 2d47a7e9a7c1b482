"""Do the synthetic images follow their masks?

A segmenter trained on the real training images reads the synthetic ones. Its agreement with their masks is
set against its agreement on real held-out images (the validation split, on which nothing is chosen here),
and against the same synthetic images with masks of other images, which shows what chance would give.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isdm.config import AuditConfig
from isdm.data.dataset import Pair, SegmentationDataset
from isdm.data.image_files import MaskArray
from isdm.errors import DataError
from isdm.hardware import select_device, select_dtype
from isdm.metrics.fidelity import group_multiplicities
from isdm.metrics.segmentation import (
    Counts,
    count_pixels,
    mean_foreground_iou,
    mean_foreground_iou_of_image,
    pooled_iou,
)
from isdm.models.segmenters import Segmenter
from isdm.progress import progress
from isdm.training.segmentation import LabelledImages, predict_masks, train_segmenter


def train_judge(
    config: AuditConfig, training: LabelledImages, held_out: LabelledImages, num_classes: int
) -> Segmenter:
    """Train the segmenter that reads the synthetic images, on all real training images."""
    num_steps = config.epochs * -(-len(training) // config.batch_size)
    with progress("Training the judge", total=num_steps) as bar:
        judge = train_segmenter(
            config,
            config.architecture,
            training,
            held_out,
            num_classes,
            num_steps=num_steps,
            num_validations=1,
            seed=config.seed,
            augment=config.augment,
            keep="last",
            on_step=bar.advance,
        )
    return judge.network


def agreement(
    config: AuditConfig,
    judge: Segmenter,
    held_out: LabelledImages,
    held_out_groups: Sequence[str],
    painted: LabelledImages,
    pairs: Sequence[Pair],
    dataset: SegmentationDataset,
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Compare what the judge sees with the masks.

    Returns:
        The figures for `audit.json`, and the mean foreground IoU (N,) of each synthetic pair.
    """
    num_classes = dataset.info.num_classes
    dtype = select_dtype(config.precision, select_device(config.device))
    predicted = predict_masks(judge, painted.images, dtype)
    other = masks_of_other_images(pairs, config.seed)
    own = count_pixels(predicted, painted.masks, num_classes)
    counts = {
        "real": count_pixels(predict_masks(judge, held_out.images, dtype), held_out.masks, num_classes),
        "synthetic": own,
        "shuffled": _count_against(predicted, painted.masks, other, num_classes),
    }
    first = dataset.info.first_foreground
    each = np.array([mean_foreground_iou_of_image(counts_of, first) for counts_of in own])
    found = _summary(counts, dataset, config)
    groups = {"real": held_out_groups, "synthetic": [pair.group for pair in pairs]}
    found["agreement_interval"] = _interval(counts, groups, first, config)
    return found, each


def masks_of_other_images(pairs: Sequence[Pair], seed: int) -> NDArray[np.int64]:
    """For each pair the index of another whose mask stems from another source mask, as far as there are any.

    Pairs sorted by source mask are shifted by the size of the largest family.
    """
    sources = [str(pair.metadata.get("source_mask", pair.stem)) for pair in pairs]
    if len(set(sources)) < 2:
        raise DataError(f"All {len(pairs)} synthetic pairs have one mask; shuffling needs at least two.")
    families = {
        name: place for place, name in enumerate(np.random.default_rng(seed).permutation(sorted(set(sources))))
    }
    order = np.array(sorted(range(len(pairs)), key=lambda index: families[sources[index]]))
    largest = max(sources.count(name) for name in families)
    shuffled = np.empty(len(pairs), np.int64)
    shuffled[order] = np.roll(order, -largest)
    return shuffled


def _count_against(predicted: MaskArray, masks: MaskArray, other: NDArray[np.int64], num_classes: int) -> Counts:
    """Count the pixels (N, K, 3) of predictions against the masks of other images, one by one."""
    return np.concatenate(
        [count_pixels(predicted[i : i + 1], masks[j : j + 1], num_classes) for i, j in enumerate(other)]
    )


def _summary(counts: dict[str, Counts], dataset: SegmentationDataset, config: AuditConfig) -> dict[str, Any]:
    first = dataset.info.first_foreground
    iou = {name: mean_foreground_iou(value, first) for name, value in counts.items()}
    per_class = {name: pooled_iou(value) for name, value in counts.items()}
    return {
        "segmenter": {
            "architecture": config.architecture,
            "encoder": config.encoder,
            "encoder_weights": Path(config.encoder_weights).name,
        },
        "held_out": "validation",
        "num_held_out_images": len(counts["real"]),
        **{f"{name}_iou": number(value) for name, value in iou.items()},
        "agreement": number(iou["synthetic"] / iou["real"] if iou["real"] else float("nan")),
        "shuffled_agreement": number(iou["shuffled"] / iou["real"] if iou["real"] else float("nan")),
        "per_class": {
            entry.name: {name: number(float(values[entry.id])) for name, values in per_class.items()}
            for entry in dataset.info.classes[first:]
        },
    }


def _interval(
    counts: Mapping[str, Counts], groups: Mapping[str, Sequence[str]], first_foreground: int, config: AuditConfig
) -> dict[str, float | None]:
    """95 % interval of the agreement for this judge: a bootstrap over groups of real and of synthetic images.

    Resamples in which the judge finds nothing real count as an agreement beyond any bound.
    """
    rng = np.random.default_rng((config.seed, 0xA62EE))
    iou = {}
    for side, names in groups.items():
        times = group_multiplicities(names, config.resamples, rng).astype(np.int64)
        totals = np.tensordot(times, counts[side], axes=1)  # (resamples, classes, 3)
        iou[side] = np.array([mean_foreground_iou(total[None], first_foreground) for total in totals])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = iou["synthetic"] / iou["real"]
    low, high = np.quantile(np.where(np.isnan(ratios), np.inf, ratios), (0.025, 0.975), method="nearest")
    return {"low": number(low), "high": number(high)}


def number(value: float) -> float | None:
    """JSON has neither NaN nor infinity: an undefined or unbounded figure is null."""
    return round(float(value), 6) if np.isfinite(value) else None
