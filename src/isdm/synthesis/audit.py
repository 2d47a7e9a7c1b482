"""The stage `audit`: do the synthetic images follow their masks?

A segmenter trained on the real training images reads the synthetic ones. Its agreement with their masks is
set against its agreement on real held-out images (the validation split, on which nothing is chosen here),
and against the same synthetic images with masks of other images, which shows what chance would give.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isdm import provenance
from isdm.config import AuditConfig
from isdm.data.dataset import Pair, SegmentationDataset, load_arrays
from isdm.data.image_files import MaskArray
from isdm.errors import DataError
from isdm.files import read_json, write_json
from isdm.hardware import select_device, select_dtype
from isdm.metrics.segmentation import Counts, count_pixels, mean_foreground_iou, pooled_iou
from isdm.progress import progress, say
from isdm.training.segmentation import LabelledImages, predict_masks, train_segmenter

FILE_NAME = "audit.json"


def audit(
    config: AuditConfig, synthetic: SegmentationDataset, dataset: SegmentationDataset, out: Path
) -> dict[str, Any]:
    """Measure the agreement of synthetic images with their masks; written to `out`/audit.json.

    Returns:
        `real_iou`, `synthetic_iou`, `shuffled_iou`: mean foreground IoU of the segmenter on real held-out
        images, on synthetic ones, and on synthetic ones against other images' masks; `agreement` and
        `shuffled_agreement`: the last two as a share of the first; the same per class.

    Raises:
        DataError: the datasets have other classes, or fewer than two synthetic pairs.
    """
    if synthetic.info.num_classes != dataset.info.num_classes:
        raise DataError(
            f"{synthetic.folder} has {synthetic.info.num_classes} classes but {dataset.folder} has "
            f"{dataset.info.num_classes}; audit a synthetic dataset against the one that it was made from."
        )
    if not dataset.info.has_background:
        say(f"The means leave out class 0, {dataset.info.classes[0].name!r}, as if it were a background.")
    inputs = {
        "synthetic": synthetic.fingerprint("train"),
        "train split": dataset.fingerprint("train"),
        "validation split": dataset.fingerprint("validation"),
    }
    state = provenance.begin(out, "audit", config.plain(), inputs, may_change={"device"})
    if state == "finished":
        say(f"{out} is already audited.")
        return dict(read_json(out / FILE_NAME))
    watch = provenance.Stopwatch()
    num_classes = dataset.info.num_classes
    pairs = synthetic.require("train")
    training, held_out, painted = (
        LabelledImages(*load_arrays(source, chosen))
        for source, chosen in (
            (dataset, dataset.require("train")),
            (dataset, dataset.require("validation")),
            (synthetic, pairs),
        )
    )
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
            keep="last",
            on_step=bar.advance,
        )
    dtype = select_dtype(config.precision, select_device(config.device))
    predicted = predict_masks(judge.network, painted.images, dtype)
    other = masks_of_other_images(pairs, config.seed)
    counts = {
        "real": count_pixels(predict_masks(judge.network, held_out.images, dtype), held_out.masks, num_classes),
        "synthetic": count_pixels(predicted, painted.masks, num_classes),
        "shuffled": _count_against(predicted, painted.masks, other, num_classes),
    }
    result = _summary(counts, dataset, config) | {"num_synthetic_images": len(pairs)}
    write_json(out / FILE_NAME, result)
    provenance.finish(out, config.plain(), watch.seconds)
    return result


def masks_of_other_images(pairs: list[Pair], seed: int) -> NDArray[np.int64]:
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
    iou = {name: mean_foreground_iou(value) for name, value in counts.items()}
    per_class = {name: pooled_iou(value) for name, value in counts.items()}
    return {
        "segmenter": {
            "architecture": config.architecture,
            "encoder": config.encoder,
            "encoder_weights": Path(config.encoder_weights).name,
        },
        "held_out": "validation",
        "num_held_out_images": len(counts["real"]),
        **{f"{name}_iou": _number(value) for name, value in iou.items()},
        "agreement": _number(iou["synthetic"] / iou["real"] if iou["real"] else float("nan")),
        "shuffled_agreement": _number(iou["shuffled"] / iou["real"] if iou["real"] else float("nan")),
        "per_class": {
            entry.name: {name: _number(float(values[entry.id])) for name, values in per_class.items()}
            for entry in dataset.info.classes[1:]
        },
    }


def _number(value: float) -> float | None:
    """JSON has no NaN: an undefined figure is null."""
    return None if np.isnan(value) else round(float(value), 6)
