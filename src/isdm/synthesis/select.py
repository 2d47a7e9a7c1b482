"""The stage `select`: keep, drop or repair each synthetic pair, by the real data's own measure.

Segmenters trained on parts of the real training set (`judges`) say whether a picture shows its mask; distances
say whether it looks like a real one, and whether it is a copy of one (`scores`). Every number and every decision
is written to `metadata.jsonl`; the dropped pairs stay in the folder, but no tool takes them.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isdm import provenance
from isdm.config import Criterion, SelectConfig
from isdm.data.dataset import IGNORE_INDEX, Pair, SegmentationDataset, palette_image, write_metadata
from isdm.data.decoding import in_blocks, load_arrays
from isdm.data.image_files import write_png
from isdm.data.judgements import DROPPED, KEPT
from isdm.errors import DataError
from isdm.files import copy_file, read_json_lines, write_json
from isdm.hardware import select_device
from isdm.locking import one_at_a_time
from isdm.models.features import FeatureExtractor, encoder_extractor, load_extractor, needs_segmenter
from isdm.progress import progress, say, track
from isdm.synthesis.decisions import Decision, Judged, decide
from isdm.synthesis.doubt import ClassLosses, Doubted, label_losses, write_without_doubted
from isdm.synthesis.judges import Judge, judge_steps, parts_of, read_images, train_judges
from isdm.synthesis.scores import (
    Agreement,
    Colours,
    Measures,
    References,
    Yardstick,
    agreement,
    colour_statistics,
    compare,
    measure,
)
from isdm.training.segmentation import LabelledImages

FILE_NAME = "select.json"


@one_at_a_time
def select(
    config: SelectConfig, synthetic: SegmentationDataset, dataset: SegmentationDataset, out: Path
) -> SegmentationDataset:
    """Write the dataset `out` with the pairs of `synthetic` and a decision for each.

    Args:
        config: the options.
        synthetic: the synthetic dataset.
        dataset: the real dataset that it was made from; only its training split is read.
        out: folder of the selected dataset.

    Raises:
        DataError: the datasets have other classes or sizes, or no pair is kept.
        OutputError: `out` holds something else.
    """
    if [entry.name for entry in synthetic.info.classes] != [entry.name for entry in dataset.info.classes]:
        raise DataError(f"{synthetic.folder} and {dataset.folder} have different classes; select with its own data.")
    pairs = synthetic.require("train")
    inputs = {"synthetic": synthetic.judged_fingerprint("train"), "train split": dataset.fingerprint("train")}
    if provenance.begin(out, "select", config, inputs, may_change={"device"}) == "finished":
        say(f"{out} is already selected.")
        shutil.rmtree(out / JUDGES, ignore_errors=True)  # of a run that was ended right behind its last file
        return SegmentationDataset(out)
    watch = provenance.Stopwatch()
    real_pairs = dataset.require("train")
    training = LabelledImages(*load_arrays(dataset, real_pairs))
    groups = [pair.group for pair in real_pairs]
    _warn_of_few_groups(config, groups)
    judges, judge_scores = _judges(config, training, groups, dataset.info.num_classes, out / JUDGES)
    extractor = _extractor(config, judges)
    references = References(
        training.images, groups, extractor.compute(training.images), Colours.of(colour_statistics(training.images))
    )
    judged, losses, facts = _judge_all(config, synthetic, pairs, dataset, training, judges, extractor, references)
    judgements = synthetic.judgements("train")
    named = [pair.metadata["image_file_name"] for pair in pairs]
    decisions = decide(config, judged, [judgements.get(name, False) for name in named])
    if not any(decision.kept for decision in decisions):
        raise DataError(_none_passes(synthetic, len(pairs), judged.fails(config)))
    doubted = Doubted.nothing(synthetic.info.num_classes)
    if config.doubt is not None:
        as_they_are = [pair for pair, decision in zip(pairs, decisions, strict=True) if decision.may_lose_pixels]
        doubted = write_without_doubted(synthetic, as_they_are, judges, losses.limits(config.doubt), out)
    num_dropped_by_people = _write_pairs(synthetic, pairs, decisions, judged, judges, doubted, out)
    summary = _summary(config, decisions, judged, judge_scores, num_dropped_by_people) | facts
    if config.doubt is not None:
        summary["share_doubted"] = doubted.shares(synthetic.info)
    write_json(out / FILE_NAME, summary)
    source = synthetic.info.source | {"selected_with": inputs["train split"], "selected_from": inputs["synthetic"]}
    split = {"train": summary["num_kept"]}
    replace(synthetic.info, name=out.resolve().name, source=source, split=split).write(out)
    provenance.finish(out, config, watch.seconds)
    shutil.rmtree(out / JUDGES)
    say(describe(summary))
    return SegmentationDataset(out)


JUDGES = "judges"


def _none_passes(synthetic: SegmentationDataset, num_pairs: int, fails: Mapping[Criterion, NDArray[np.bool_]]) -> str:
    """What the pairs fail by, and what can be done: `reject` moves the thresholds of two criteria alone."""
    counts = {name: int(failed.sum()) for name, failed in fails.items() if failed.any()}
    reasons = ", ".join(f"{name} {count}" for name, count in counts.items())
    smaller = "a smaller --set reject=… or " if {"agreement", "copies"} & counts.keys() else ""
    return (
        f"None of the {num_pairs} pairs of {synthetic.folder} passes (failing: {reasons}). Train the model longer, "
        f"or select into another folder with {smaller}fewer --set criteria=[…]."
    )


def _warn_of_few_groups(config: SelectConfig, groups: Sequence[str]) -> None:
    """A real picture's own group is left out, and its two nearest groups are compared."""
    if "copies" in config.criteria and len(set(groups)) < 3:
        say(
            f"The training split has {len(set(groups))} groups; it takes three to tell how alike real pictures are, "
            f"so no pair is dropped as a copy."
        )


def describe(summary: Mapping[str, Any]) -> str:
    """One line on what was kept and why the rest was not."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in summary["dropped"].items())
    repaired = f", {summary['num_repaired']} of them repaired" if summary["num_repaired"] else ""
    kept = f"Kept {summary['num_kept']} of {summary['num_pairs']} pairs{repaired}"
    kept += f"; dropped: {reasons}." if reasons else "."
    if shares := summary.get("share_doubted"):
        kept += " Doubted and ignored: " + ", ".join(f"{share:.1%} of {name}" for name, share in shares.items()) + "."
    return kept


def _judges(
    config: SelectConfig, training: LabelledImages, groups: Sequence[str], num_classes: int, folder: Path
) -> tuple[list[Judge], list[float]]:
    if len(set(groups)) < config.folds:
        raise DataError(
            f"The training split has {len(set(groups))} groups, too few for {config.folds} folds; lower --set folds=…"
        )
    steps = sum(judge_steps(config, len(seen)) for seen, _ in parts_of(config, training, groups))
    total = steps * len(config.architectures)
    with progress("Training the judges", total=total) as bar:
        return train_judges(config, training, groups, num_classes, folder, bar.advance)


def _extractor(config: SelectConfig, judges: Sequence[Judge]) -> FeatureExtractor:
    if needs_segmenter(config.extractor):
        return encoder_extractor(judges[0].network, f"{config.encoder} of a judge trained on the real images")
    return load_extractor(config.extractor, select_device(config.device))


def _judge_all(
    config: SelectConfig,
    synthetic: SegmentationDataset,
    pairs: Sequence[Pair],
    dataset: SegmentationDataset,
    training: LabelledImages,
    judges: Sequence[Judge],
    extractor: FeatureExtractor,
    references: References,
) -> tuple[Judged, ClassLosses, dict[str, Any]]:
    """Measure all synthetic pairs against the real ones, which the judges read in the same way."""
    own = [[group] for group in references.groups]
    info = dataset.info
    reading = read_images(judges, training.images, own)
    real = measure(
        agreement(reading.probabilities, training.masks, info),
        training.images,
        references.features,
        own,
        references,
        are_references=True,
    )
    yardstick = Yardstick.of(real, info)
    real_confidence = reading.probabilities.max(axis=1).mean(axis=(1, 2))
    parts: list[Measures] = []
    confidence, unseen = [], []
    losses = ClassLosses.none(info.num_classes)
    for chunk, images, masks in in_blocks(synthetic, pairs, "Judging"):
        if images.shape[1:] != training.images.shape[1:]:
            raise DataError(
                f"{synthetic.folder} has images of shape {images.shape[1:]}, the real ones "
                f"{training.images.shape[1:]}; select among pictures of the real size."
            )
        sources = [list(pair.metadata.get("source_groups", [pair.group])) for pair in chunk]
        seen = read_images(judges, images, sources)
        features = extractor.compute(images)
        found = agreement(seen.probabilities, masks, info)
        parts.append(measure(found, images, features, sources, references, are_references=False))
        confidence.append(seen.probabilities.max(axis=1).mean(axis=(1, 2)))
        unseen.append(seen.num_unseen)
        losses.add(label_losses(seen.probabilities, masks), masks)
    measures = _joined(parts)
    judged = Judged(
        measures,
        compare(measures, yardstick),
        np.array(["background" in pair.metadata for pair in pairs]),
        np.concatenate(confidence) >= np.quantile(real_confidence, config.reject),
        [int(pair.metadata.get("mask_index", place)) for place, pair in enumerate(pairs)],
    )
    facts = {
        "features": extractor.name,
        "num_real_images": len(training),
        "num_judged_by_networks_that_saw_a_source": int((np.concatenate(unseen) == 0).sum()),
    }
    return judged, losses, facts


def _joined(parts: Sequence[Measures]) -> Measures:
    return Measures(
        Agreement(
            *(
                np.concatenate([getattr(part.agreement, name) for part in parts])
                for name in ("overlap", "area", "false_alarm")
            )
        ),
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("feature_distance", "colour_distance", "copy_ratio")
        ),
    )


def _write_pairs(
    synthetic: SegmentationDataset,
    pairs: Sequence[Pair],
    decisions: Sequence[Decision],
    judged: Judged,
    judges: Sequence[Judge],
    doubted: Doubted,
    out: Path,
) -> int:
    """Copy the files of all pairs, new masks apart, and write their metadata.

    Returns:
        Number of pairs that a person dropped, which are not among `pairs`.
    """
    own, split = synthetic.folder / "train", out / "train"
    dropped_by_people = {name for name, kept in synthetic.judgements("train").items() if not kept}
    decision_of = {pair.image: decision for pair, decision in zip(pairs, decisions, strict=True)}
    scores_of = {pair.image: judged.scores(place) for place, pair in enumerate(pairs)}
    lines, num_dropped_by_people = [], 0
    for line in track(read_json_lines(own / "metadata.jsonl"), "Writing pairs", total=len(pairs), unit="pairs"):
        image = own / line["image_file_name"]
        names = [line[key] for key in ("image_file_name", "mask_file_name", "instance_file_name") if key in line]
        decision = decision_of.get(image)
        for name in names:
            has_new_mask = image in doubted.num_px or (decision is not None and decision.repaired)
            if not (has_new_mask and name == line["mask_file_name"]):
                copy_file(own / name, split / name)
        if decision is None:  # dropped before, or by a person
            by_person = line["image_file_name"] in dropped_by_people
            num_dropped_by_people += by_person
            lines.append({**line, **Decision(False, DROPPED).as_metadata()} if by_person else line)
            continue
        if decision.repaired:
            _write_repaired(synthetic, Pair(image, own / line["mask_file_name"], line), judges, split)
        scores = scores_of[image]
        if image in doubted.num_px:
            scores |= {"doubted_px": doubted.num_px[image]}
        lines.append({**line, "scores": scores, **decision.as_metadata()})
    write_metadata(split, lines)
    return num_dropped_by_people


def _write_repaired(synthetic: SegmentationDataset, pair: Pair, judges: Sequence[Judge], split: Path) -> None:
    """Write the mask that the judges see in place of the pair's; what it ignores stays ignored."""
    image, mask = synthetic.load(pair)
    sources = list(pair.metadata.get("source_groups", [pair.group]))
    seen = read_images(judges, image[None], [sources]).probabilities[0].argmax(axis=0)
    repaired = np.where(mask == IGNORE_INDEX, IGNORE_INDEX, seen).astype(np.uint8)
    write_png(split / pair.metadata["mask_file_name"], palette_image(repaired, synthetic.info))


def _summary(
    config: SelectConfig,
    decisions: Sequence[Decision],
    judged: Judged,
    judge_scores: Sequence[float],
    num_dropped_by_people: int,
) -> dict[str, Any]:
    reasons = [decision.reason for decision in decisions if not decision.kept] + [DROPPED] * num_dropped_by_people
    return {
        "num_pairs": len(decisions) + num_dropped_by_people,
        "num_judged_by_people": num_dropped_by_people + sum(one.reason.startswith(KEPT) for one in decisions),
        "num_kept": sum(decision.kept for decision in decisions),
        "num_repaired": sum(decision.repaired for decision in decisions),
        "dropped": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
        "share_failing": {name: round(float(failed.mean()), 4) for name, failed in judged.fails(config).items()},
        "median_agreement": round(float(np.median(judged.result.agreement)), 4),
        "judges": {
            "architectures": list(config.architectures),
            "encoder": config.encoder,
            "folds": config.folds,
            "iou_on_unseen_real_images": [None if np.isnan(x) else round(float(x), 4) for x in judge_scores],
        },
    }
