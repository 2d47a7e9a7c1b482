"""The stage itself: read everything once, measure, write."""

from pathlib import Path
from typing import Any

from isdm import provenance
from isdm.config import AuditConfig
from isdm.data.dataset import SegmentationDataset
from isdm.data.decoding import load_arrays
from isdm.errors import DataError
from isdm.files import read_json, write_json, write_json_lines
from isdm.hardware import select_device
from isdm.locking import one_at_a_time
from isdm.metrics.light import light
from isdm.models.features import encoder_extractor, load_extractor, needs_segmenter
from isdm.progress import say
from isdm.synthesis.audit.agreement import agreement, number, train_judge
from isdm.synthesis.audit.copying import Side, copying, lines
from isdm.synthesis.audit.fidelity import diversity_of_masks, fidelity
from isdm.training.segmentation import LabelledImages

FILE_NAME = "audit.json"
NEAREST = "nearest.jsonl"
NUM_WORST = 20


@one_at_a_time
def audit(
    config: AuditConfig, synthetic: SegmentationDataset, dataset: SegmentationDataset, out: Path
) -> dict[str, Any]:
    """Measure a synthetic dataset against real data; written to `out`/audit.json and nearest.jsonl.

    The training split is what the generator saw, the validation split stands for new real images; the test split
    is not read.

    Returns:
        `real_iou`, `synthetic_iou`, `shuffled_iou`: mean foreground IoU of a segmenter on real held-out images, on
        synthetic ones, and on synthetic ones against other images' masks; `agreement` and `shuffled_agreement`: the
        last two as a share of the first; the same per class. `fidelity`, `diversity` and `copying`, in features
        whose name stands with them. `light`: brightness of each side. `worst`: the synthetic images most like
        copies.

    Raises:
        DataError: the datasets have other classes or sizes, or fewer than two synthetic pairs.
    """
    if synthetic.info.num_classes != dataset.info.num_classes:
        raise DataError(
            f"{synthetic.folder} has {synthetic.info.num_classes} classes but {dataset.folder} has "
            f"{dataset.info.num_classes}; audit a synthetic dataset against the one that it was made from."
        )
    inputs = {
        "synthetic": synthetic.judged_fingerprint("train"),
        "train split": dataset.fingerprint("train"),
        "validation split": dataset.fingerprint("validation"),
    }
    state = provenance.begin(out, "audit", config, inputs, may_change={"device"})
    if state == "finished":
        say(f"{out} is already audited.")
        return dict(read_json(out / FILE_NAME))
    watch = provenance.Stopwatch()
    pairs, real_pairs = synthetic.require("train"), dataset.require("train")
    held_out_pairs = dataset.require("validation")
    painted = LabelledImages(*load_arrays(synthetic, pairs))
    training, held_out = (LabelledImages(*load_arrays(dataset, own)) for own in (real_pairs, held_out_pairs))
    if painted.images.shape[1:] != training.images.shape[1:]:
        raise DataError(
            f"{synthetic.folder} has images of shape {painted.images.shape[1:]}, the real ones "
            f"{training.images.shape[1:]}; audit pictures of the real size."
        )
    judge = train_judge(config, training, held_out, dataset.info.num_classes)
    held_out_groups = [pair.group for pair in held_out_pairs]
    result, each = agreement(config, judge, held_out, held_out_groups, painted, pairs, dataset)
    if needs_segmenter(config.extractor):
        extractor = encoder_extractor(judge, f"{config.encoder} of the segmenter trained on the real images")
    else:
        extractor = load_extractor(config.extractor, select_device(config.device))
    say(f"Comparing features ({extractor.name}) and pixels of {len(pairs)} synthetic images.")
    new, known, unseen = (
        Side(images.images, extractor.compute(images.images), [pair.group for pair in own])
        for images, own in ((painted, pairs), (training, real_pairs), (held_out, held_out_pairs))
    )
    found = copying(config, extractor.name, known, unseen, new)
    rows = lines(found, pairs, real_pairs)
    for row, value in zip(rows, each, strict=True):
        row["iou"] = number(value)
    write_json_lines(out / NEAREST, rows)
    result |= {
        "num_synthetic_images": len(pairs),
        "fidelity": fidelity(
            config,
            extractor.name,
            *((side.features, side.groups) for side in (known, unseen, new)),
        ),
        "diversity": diversity_of_masks(config, pairs, new.features),
        "light": {
            side: light(images.images)
            for side, images in (("real", training), ("held_out", held_out), ("synthetic", painted))
        },
        "copying": found.figures,
        "worst": [int(row) for row in found.worst_first()[:NUM_WORST]],
        "num_real_backgrounds": sum("background" in pair.metadata for pair in pairs),
    }
    write_json(out / FILE_NAME, result)
    provenance.finish(out, config, watch.seconds)
    return result
