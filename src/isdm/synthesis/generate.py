"""The stage `sample`: a synthetic dataset, streamed to disk, resumable at the sample."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from isdm import provenance
from isdm.config import SampleConfig
from isdm.data.dataset import (
    Pair,
    SegmentationDataset,
    load_masks,
    pair_names,
    write_metadata,
    write_pair,
)
from isdm.data.instances import load_instances
from isdm.errors import ModelError
from isdm.files import append_json_line, read_json_lines
from isdm.hardware import select_device, select_dtype
from isdm.pipeline import SemanticDiffusionPipeline, check_masks, warn_of_useless_guidance
from isdm.progress import progress, say
from isdm.synthesis.masks import draw_instances, draw_mask, source_index
from isdm.training.checkpoint import weights_fingerprint

MAY_CHANGE = frozenset({"batch_size", "device", "precision", "compile"})
"""Options that a resumed run may be given anew; they do not change the pictures (but for rounding)."""


def sample(config: SampleConfig, model: Path, dataset: SegmentationDataset, out: Path) -> SegmentationDataset:
    """Paint `config.num_samples` images for masks of the training split; started again, it goes on.

    Args:
        config: the options.
        model: a model folder.
        dataset: the real dataset; only the masks of its training split are read.
        out: folder of the synthetic dataset, which has a single split, `train`.

    Raises:
        ModelError: the model is none, or its classes are not the dataset's.
        OutputError: `out` holds something else.
    """
    pipeline = SemanticDiffusionPipeline.from_pretrained(model)
    assert pipeline.info is not None
    names, own = ([entry.name for entry in x] for x in (dataset.info.classes, pipeline.info.classes))
    if names != own:
        raise ModelError(f"{model} paints the classes {own}, but {dataset.folder} has {names}.")
    form, own_form = ((x.channels, x.bit_depth) for x in (dataset.info, pipeline.info))
    if form != own_form:
        raise ModelError(
            f"{model} paints {own_form[0]} channel(s) of {own_form[1]} bits, but {dataset.folder} has {form[0]} of "
            f"{form[1]}; sample for the dataset that the model was trained on."
        )
    pairs = dataset.require("train")
    masks = load_masks(dataset, pairs)
    check_masks(masks, pipeline.info)
    instances = load_instances(dataset, pairs)
    if pipeline.info.instances and instances is None:
        raise ModelError(
            f"{model} was trained with instance maps, but {dataset.folder} has none; import it with instances/."
        )
    inputs = {"model": weights_fingerprint(model), "train split": dataset.fingerprint("train")}
    if provenance.begin(out, "sample", config.plain(), inputs, may_change=MAY_CHANGE) == "finished":
        say(f"{out} already holds its {config.num_samples} pairs.")
        return SegmentationDataset(out)
    warn_of_useless_guidance(pipeline.info, config.guidance)
    watch = provenance.Stopwatch()
    device = select_device(config.device)
    pipeline.prepare(device, select_dtype(config.precision, device), config.compile == "on")
    info = replace(
        dataset.info,
        name=out.resolve().name,
        source={
            "synthetic": True,
            "dataset": dataset.info.name,
            "model": inputs["model"],
            "model_trained_on": pipeline.info.trained_on,
            "masks_from": inputs["train split"],
        },
        split={"train": config.num_samples},
    )
    parts = out / "train" / "metadata.parts" / "0.jsonl"
    parts.parent.mkdir(parents=True, exist_ok=True)
    done = read_json_lines(parts, tolerate_cut_tail=True) if parts.is_file() else []
    _cut_tail(parts, done)
    missing = sorted(set(range(config.num_samples)) - {line["sample_index"] for line in done})
    with progress("Sampling", total=config.num_samples, done=config.num_samples - len(missing), unit="images") as bar:
        for indices in _batches(missing, config.batch_size):
            sources = [source_index(config.seed, index, len(masks)) for index in indices]
            drawn = [
                draw_mask(config.masks, masks[source], config.seed, index)
                for source, index in zip(sources, indices, strict=True)
            ]
            drawn_instances = None
            if instances is not None:
                drawn_instances = [
                    draw_instances(config.masks, instances[source], masks[source], config.seed, index)
                    for source, index in zip(sources, indices, strict=True)
                ]
            images = pipeline(
                np.stack(drawn),
                instances=np.stack(drawn_instances) if drawn_instances and pipeline.info.instances else None,
                sample_indices=indices,
                seed=config.seed,
                sampler=config.sampler,
                num_sampling_steps=config.steps,
                timesteps=config.timesteps,
                guidance_scale=config.guidance,
                guidance_interval=config.guidance_interval,
            )
            for place, (index, source) in enumerate(zip(indices, sources, strict=True)):
                line = _metadata(config, index, pairs[source], inputs["model"])
                ids = drawn_instances[place] if drawn_instances else None
                write_pair(out / "train", line, images[place], drawn[place], info, ids)
                append_json_line(parts, line)
            bar.advance(len(indices))
    lines = read_json_lines(parts, tolerate_cut_tail=True)
    write_metadata(out / "train", sorted(lines, key=lambda line: int(line["sample_index"])))
    info.write(out)
    provenance.finish(out, config.plain(), watch.seconds)
    parts.unlink()
    parts.parent.rmdir()
    return SegmentationDataset(out)


def _batches(indices: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(indices), size):
        yield indices[start : start + size]


def _cut_tail(parts: Path, done: list[Any]) -> None:
    """Remove a half-written last line, so that the next append starts on a line of its own."""
    if parts.is_file() and not parts.read_bytes().endswith(b"\n"):
        parts.unlink()
        for line in done:
            append_json_line(parts, line)


def _metadata(config: SampleConfig, index: int, source: Pair, model: str) -> dict[str, Any]:
    always_guided = config.guidance_interval == SampleConfig.model_fields["guidance_interval"].default
    return {
        **pair_names(f"{index:06d}_{source.stem}", index, config.num_samples, instances=source.instances is not None),
        "group": source.group,
        "source": "synthetic",
        "source_mask": source.stem,
        "sample_index": index,
        "seed": config.seed,
        "sampler": config.sampler,
        "timesteps": config.timesteps,
        "num_sampling_steps": config.steps,
        "guidance_scale": config.guidance,
        **({} if always_guided else {"guidance_interval": config.guidance_interval}),
        "masks": config.masks,
        "model": model,
    }
