"""The stage `sample`: a synthetic dataset, streamed to disk, resumable at the sample."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from isdm import provenance
from isdm.config import SampleConfig
from isdm.data.dataset import SegmentationDataset, write_metadata
from isdm.data.decoding import load_masks
from isdm.data.instances import load_instances
from isdm.errors import DataError, ModelError
from isdm.files import append_json_line, read_json, sha256_of_json, write_json
from isdm.locking import one_at_a_time
from isdm.model_info import ModelInfo, check_masks, warn_of_useless_guidance
from isdm.pipeline import SemanticDiffusionPipeline
from isdm.progress import progress, say
from isdm.synthesis.backgrounds import find_backgrounds, painted_ids
from isdm.synthesis.held_out import without_held_out
from isdm.synthesis.painters import sample_on_ray
from isdm.synthesis.painting import open_job, paint
from isdm.synthesis.parts import Parts
from isdm.training.checkpoint import weights_fingerprint

MAY_CHANGE = frozenset({"batch_size", "device", "precision", "compile"})
"""Options that a resumed run may be given anew; they do not change the pictures (but for rounding)."""


@one_at_a_time
def sample(
    config: SampleConfig, model: Path, dataset: SegmentationDataset, out: Path, ray: str | None = None
) -> SegmentationDataset:
    """Paint `config.num_samples` images for masks of the training split; started again, it goes on.

    Args:
        config: the options.
        model: a model folder.
        dataset: the real dataset; only its training split is read, and of it only masks, and backgrounds where
            those are real.
        out: folder of the synthetic dataset, which has a single split, `train`.
        ray: share the work through Ray: `auto` on this machine, or the address of a running cluster.

    Raises:
        ModelError: the model is none, or its classes are not the dataset's.
        DataError: there is no background to paint into.
        OutputError: `out` holds something else.
    """
    pipeline = SemanticDiffusionPipeline.from_pretrained(model)
    assert pipeline.info is not None
    check_model(model, pipeline.info, dataset)
    inputs = {"model": weights_fingerprint(model), "train split": dataset.fingerprint("train")}
    photographs = find_photographs(config, dataset, out)
    if photographs:
        inputs["photographs"] = sha256_of_json([[path.name, path.stat().st_size] for path in photographs])
    if provenance.begin(out, "sample", config, inputs, may_change=MAY_CHANGE) == "finished":
        say(f"{out} already holds its {config.num_samples} pairs.")
        Parts(out / "train").remove()  # of a run that was ended right behind its last file
        return SegmentationDataset(out)
    warn_of_useless_guidance(pipeline.info, config.guidance)
    if photographs:
        write_json(out / PHOTOGRAPHS, [str(path.resolve()) for path in photographs])
    watch = provenance.Stopwatch()
    job = open_job(config, pipeline, inputs["model"], dataset, out, photographs)
    parts = Parts(job.split_folder)
    missing = np.setdiff1d(np.arange(config.num_samples), parts.finished()).tolist()
    done = config.num_samples - len(missing)
    with progress("Sampling", total=config.num_samples, done=done, unit="images") as bar:
        if ray is not None and missing:
            folders = (model.resolve(), inputs["model"], dataset.folder.resolve(), out.resolve(), photographs)
            work = list(blocks(missing, config.batch_size))
            sample_on_ray(ray, lambda: (config, *folders), work, parts, out, bar.advance)
        elif missing:
            own = parts.own("0")
            job.prepared()
            for indices in blocks(missing, config.batch_size):
                for line in paint(job, indices):
                    append_json_line(own, line)
                    bar.advance()
    write_metadata(job.split_folder, parts.lines())
    job.info.write(out)
    provenance.finish(out, config, watch.seconds)
    parts.remove()
    return SegmentationDataset(out)


PHOTOGRAPHS = "photographs.json"


def find_photographs(config: SampleConfig, dataset: SegmentationDataset, out: Path) -> list[Path]:
    """The photographs that may be painted into: none of a validation or test image, none with a defect.

    Comparing them all takes a while, so a run that goes on reads the list that it wrote before.
    """
    if config.photographs is None:
        return []
    if (out / PHOTOGRAPHS).is_file() and provenance.read(out) is not None:
        found = [Path(name) for name in read_json(out / PHOTOGRAPHS)]
        gone = next((path for path in found if not path.is_file()), None)
        if gone is not None:
            raise DataError(
                f"{gone} is gone, but {out} was begun with it; put it back, or give another output folder."
            )
        return found
    masks = load_masks(dataset, dataset.require("train")[:1])
    backgrounds = find_backgrounds(config, dataset, masks, masks.shape[1:])
    if config.window is None and backgrounds.window is not None:
        height, width = backgrounds.window
        say(
            f"The dataset's pictures are windows of {height}x{width} pixels, so defects are painted into windows of "
            f"that size; --set window=… takes others."
        )
    return without_held_out(backgrounds.photographs, dataset, painted_ids(config, dataset.info))


def check_model(model: Path, info: ModelInfo, dataset: SegmentationDataset) -> None:
    """Refuse a model that paints other classes or images than the dataset's.

    Raises:
        ModelError: saying in what they differ.
    """
    names, own = ([entry.name for entry in x] for x in (dataset.info.classes, info.classes))
    if names != own:
        raise ModelError(f"{model} paints the classes {own}, but {dataset.folder} has {names}.")
    form, own_form = ((x.channels, x.bit_depth) for x in (dataset.info, info))
    if form != own_form:
        raise ModelError(
            f"{model} paints {own_form[0]} channel(s) of {own_form[1]} bits, but {dataset.folder} has {form[0]} of "
            f"{form[1]}; sample for the dataset that the model was trained on."
        )
    pairs = dataset.require("train")
    check_masks(load_masks(dataset, pairs), info)
    if info.instances and load_instances(dataset, pairs[:1]) is None:
        raise ModelError(
            f"{model} was trained with instance maps, but {dataset.folder} has none; import it with instances/."
        )


def blocks(indices: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Cut `indices` into lists of `size`."""
    for start in range(0, len(indices), size):
        yield indices[start : start + size]
