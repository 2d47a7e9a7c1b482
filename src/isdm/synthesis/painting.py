"""Paint and write synthetic pairs of given numbers: what one process does, alone or among several."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from isdm.config import SampleConfig
from isdm.data.dataset import DatasetInfo, Pair, SegmentationDataset, pair_names, write_pair
from isdm.data.decoding import load_masks
from isdm.data.image_files import ImageArray, MaskArray
from isdm.data.instances import InstanceArray, load_instances
from isdm.errors import DataError
from isdm.hardware import select_device, select_dtype
from isdm.pipeline import SemanticDiffusionPipeline
from isdm.synthesis.backgrounds import (
    Background,
    Backgrounds,
    find_backgrounds,
    is_painted,
    painted_ids,
    put_back,
    seamed,
    seen_by_network,
    with_defects,
)
from isdm.synthesis.masks import DrawnMask, MaskSource, TrainingMasks, mask_source

MASK_ATTEMPTS = 1000
"""Masks drawn at most until one has a defect, where only defects are painted."""


@dataclass(frozen=True)
class Job:
    """All that painting takes; every process opens its own."""

    config: SampleConfig
    pipeline: SemanticDiffusionPipeline
    model: str
    """Fingerprint of the model's weights."""
    pairs: Sequence[Pair]
    masks: MaskSource
    backgrounds: Backgrounds | None
    painted_ids: Sequence[int]
    """Classes that are painted into backgrounds."""
    info: DatasetInfo
    """What the synthetic dataset's `dataset.json` says."""
    has_instances: bool
    split_folder: Path

    def prepared(self) -> "Job":
        """The same with its network on the device and in the arithmetic that the options name."""
        device = select_device(self.config.device)
        self.pipeline.prepare(device, select_dtype(self.config.precision, device), self.config.compile == "on")
        return self


class _Plan(NamedTuple):
    """One picture to paint."""

    drawn: DrawnMask
    background: Background | None
    seen: ImageArray | None
    """(h, w, C) what the network sees of the background."""
    mask: MaskArray
    """(h, w) what is painted for."""


def open_job(
    config: SampleConfig,
    pipeline: SemanticDiffusionPipeline,
    model: str,
    dataset: SegmentationDataset,
    out: Path,
    photographs: Sequence[Path] = (),
) -> Job:
    """Get ready to paint.

    Args:
        config: the options.
        pipeline: the model.
        model: fingerprint of its weights.
        dataset: the real dataset; only the training split is read.
        out: folder of the synthetic dataset.
        photographs: for background `real`, the photographs that may be used.
    """
    assert pipeline.info is not None
    pairs = dataset.require("train")
    masks, instances = load_masks(dataset, pairs), load_instances(dataset, pairs)
    source = {
        "synthetic": True,
        "dataset": dataset.info.name,
        "model": model,
        "model_trained_on": pipeline.info.trained_on,
        "masks_from": dataset.fingerprint("train"),
        "masks": config.masks,
        "background": config.background,
    }
    training = TrainingMasks(masks, instances, [p.stem for p in pairs], [p.group for p in pairs], dataset.info)
    backgrounds, ids = None, list[int]()
    if config.background == "real":
        ids = painted_ids(config, dataset.info)
        backgrounds = find_backgrounds(config, dataset, masks, masks.shape[1:])
        if config.photographs is not None:
            backgrounds = replace(backgrounds, photographs=photographs)
    return Job(
        config,
        pipeline,
        model,
        pairs,
        mask_source(config, training, out),
        backgrounds,
        ids,
        replace(dataset.info, name=out.resolve().name, source=source, split={"train": config.num_samples}),
        instances is not None and backgrounds is None,
        out / "train",
    )


def paint(job: Job, indices: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Paint the samples with these numbers; gives each one's line of `metadata.jsonl` when its files are written."""
    assert job.pipeline.info is not None
    config = job.config
    plans = [_plan(job, index) for index in indices]
    masks = np.stack([plan.mask for plan in plans])
    known: dict[str, Any] = {}
    if job.backgrounds is not None:
        seam_px = config.blend * min(masks.shape[1:])
        known = {
            "backgrounds": np.stack([plan.seen for plan in plans if plan.seen is not None]),
            "painted": np.stack([seamed(is_painted(mask, job.painted_ids), seam_px) for mask in masks]),
        }
    images = job.pipeline(
        masks,
        instances=_instances(job, plans) if job.pipeline.info.instances else None,
        sample_indices=indices,
        seed=config.seed,
        sampler=config.sampler,
        num_sampling_steps=config.steps,
        timesteps=config.timesteps,
        guidance_scale=config.guidance,
        guidance_interval=config.guidance_interval,
        **known,
    )
    for index, plan, image in zip(indices, plans, images, strict=True):
        line = _metadata(job, index, plan)
        whole, mask = image, plan.mask
        if plan.background is not None:
            assert plan.seen is not None
            whole, mask = put_back(plan.background, plan.seen, image, mask, job.painted_ids, config.blend)
        write_pair(job.split_folder, line, whole, mask, job.info, plan.drawn.instances if job.has_instances else None)
        yield line


def _plan(job: Job, index: int) -> _Plan:
    number = index // job.config.variants
    if job.backgrounds is None:
        drawn = job.masks(number)
        return _Plan(drawn, None, None, drawn.mask)
    background = job.backgrounds.draw(index)
    drawn = _with_defect(job, number)
    seen, below = seen_by_network(background, (drawn.mask.shape[0], drawn.mask.shape[1]))
    return _Plan(drawn, background, seen, with_defects(below, drawn.mask, job.painted_ids))


def _with_defect(job: Job, number: int) -> DrawnMask:
    """The mask of that number, or the next of its own sequence that has a defect."""
    num_masks = -(-job.config.num_samples // job.config.variants)
    for attempt in range(MASK_ATTEMPTS):
        drawn = job.masks(number + attempt * num_masks)
        if is_painted(drawn.mask, job.painted_ids).any():
            return drawn
    raise DataError(
        f"{MASK_ATTEMPTS} masks were drawn and none has a class to paint; background 'real' needs training masks "
        f"with defects."
    )


def _instances(job: Job, plans: Sequence[_Plan]) -> InstanceArray:
    """Instance maps (N, h, w) for the network; where only defects are painted, all else is one object."""
    maps = []
    for plan in plans:
        ids = plan.drawn.instances
        assert ids is not None, "a model with instance maps needs one for each mask"
        maps.append(ids if plan.background is None else np.where(is_painted(plan.mask, job.painted_ids), ids + 1, 0))
    return np.stack(maps).astype(np.uint16)


def _metadata(job: Job, index: int, plan: _Plan) -> dict[str, Any]:
    config, total = job.config, job.config.num_samples
    always_guided = config.guidance_interval == SampleConfig.model_fields["guidance_interval"].default
    number = index // config.variants
    sources = [job.pairs[place] for place in plan.drawn.sources]
    own_name = f"generated-{number:06d}"
    main = sources[0].stem if sources else own_name
    groups = [pair.group for pair in sources] + ([plan.background.group] if plan.background is not None else [])
    background: dict[str, Any] = {}
    if plan.background is not None:
        top, left = (part.start for part in plan.background.window)
        background = {"background": plan.background.name, "background_top_left": [top, left]}
    return {
        **pair_names(f"{index:06d}_{main}", index, total, instances=job.has_instances),
        "group": sources[0].group if sources else own_name,
        "source": "synthetic",
        "source_mask": main,
        **({"source_masks": [pair.stem for pair in sources]} if len(sources) > 1 else {}),
        "source_groups": list(dict.fromkeys(groups)),
        "sample_index": index,
        "mask_index": number,
        **background,
        "seed": config.seed,
        "sampler": config.sampler,
        "timesteps": config.timesteps,
        "num_sampling_steps": config.steps,
        "guidance_scale": config.guidance,
        **({} if always_guided else {"guidance_interval": config.guidance_interval}),
        "masks": config.masks,
        "model": job.model,
    }
