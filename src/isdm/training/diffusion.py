"""The stages `train` and `finetune`: learn to paint images for masks."""

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler

from isdm import provenance
from isdm.config import FinetuneConfig, TrainConfig, build, inherited_by_finetuning, limited, merged, read_yaml
from isdm.data.dataset import SegmentationDataset
from isdm.errors import ModelError
from isdm.files import write_yaml
from isdm.locking import one_at_a_time
from isdm.model_info import ModelInfo, trained_process
from isdm.models.model_files import check_scheduler
from isdm.models.unet import SemanticUNet
from isdm.pipeline import SemanticDiffusionPipeline
from isdm.progress import progress, say
from isdm.signals import StopRequestedError, held_back
from isdm.training import checkpoint
from isdm.training.batches import load_training_images
from isdm.training.checkpoint import Counters, Weights
from isdm.training.geometry import NUM_LABELS
from isdm.training.loop import StopRule
from isdm.training.pictures import draw_when_due
from isdm.training.run import Run
from isdm.training.savings import checkpoint_savings
from isdm.training.trackers import check_trackers
from isdm.training.workers import Workers

MAY_CHANGE = frozenset(
    {
        "steps",
        "epochs",
        "max_time",
        "patience_steps",
        "save_interval",
        "sample_interval_steps",
        "device",
        "precision",
        "compile",
        "checkpoint_activations",
        "trackers",
    }
)
"""Options that a resumed run may be given anew: where to stop, what to run on and what to show."""

_DOING = {"train": "Training", "finetune": "Fine-tuning"}


@one_at_a_time
def train(
    config: TrainConfig, dataset: SegmentationDataset, out: Path, init: Path | None = None
) -> SemanticDiffusionPipeline:
    """Train a semantic diffusion model on the training split; started again, it goes on.

    Args:
        config: the options, preset filled in.
        dataset: the real dataset; only its training split is read.
        out: the model folder.
        init: a model folder to take the first weights from; layers of another shape start anew.

    Raises:
        DataError: the training images are missing, broken or of a size that the network cannot take.
        OutputError: `out` holds something else.
    """
    options = config.unet.model_dump() | {"augmentation_labels": NUM_LABELS if config.augment else 0}
    info = _model_info(dataset, config, config.drop_rate)
    torch.manual_seed(config.seed)
    unet = SemanticUNet(in_channels=info.channels, num_classes=info.num_map_channels, **options)
    inputs = {"train split": info.trained_on["fingerprint"]}
    if init is not None:
        info.trained_on["initialised_from"] = ModelInfo.read(init).trained_on
        _take_over(unet, checkpoint.read_raw_weights(init), init)
        inputs["init"] = checkpoint.weights_fingerprint(init)
    return _fit("train", config, unet, dataset, info, out, inputs)


def finetune_config(model: Path, values: Mapping[str, Any]) -> FinetuneConfig:
    """Options of a fine-tuning: those of the model's own training unless `values` say otherwise.

    What the network predicts, of which process and for which maps, the model tells even without a `config.yaml`.
    The drop rate has a default of its own, and so has the batch size, of which a smaller one is kept; without a limit
    in `values`, a quarter of the steps that the model was trained for. Its learning rate falls only towards a known
    number of steps.
    """
    path = model / "config.yaml"
    base = read_yaml(path) if path.is_file() else {}
    base |= _process_of(model) | {"steps": None}  # steps planned, perhaps; those really made count
    inherited = inherited_by_finetuning(base, values, not_these=("patience_steps", "device", "precision"))
    config = build(FinetuneConfig, merged(inherited, values), where="the options of finetune")
    return limited(config, checkpoint.steps_made(model))


def _process_of(model: Path) -> dict[str, Any]:
    """Options of the process that a model was trained on and of the maps that it reads; none of what is no model."""
    if not (model / "isdm.json").is_file():
        return {}
    info = ModelInfo.read(model)
    scheduler = DDPMScheduler.from_config(check_scheduler(model))
    noise_schedule, prediction = trained_process(scheduler)
    return {
        "noise_schedule": noise_schedule,
        "prediction": prediction,
        "num_train_timesteps": scheduler.config.num_train_timesteps,
        "instances": info.instances,
    }


@one_at_a_time
def finetune(
    config: FinetuneConfig, model: Path, dataset: SegmentationDataset, out: Path
) -> SemanticDiffusionPipeline:
    """Go on from a model's raw weights with a fresh optimiser, dropping whole masks at `drop_rate`.

    Args:
        config: the options, see `finetune_config`.
        model: a model folder with its `training/` folder; it is not changed.
        dataset: a real dataset of the same form; only its training split is read.
        out: folder of the new model.

    Raises:
        ModelError: `model` is no model, or its number of classes or channels is not the dataset's, or it was
            trained with another process, prediction, kind of maps or network than the options name.
        OutputError: `out` holds something else.
    """
    base = ModelInfo.read(model)
    config = limited(config, checkpoint.steps_made(model))
    info = _model_info(dataset, config, max(config.drop_rate, base.drop_rate))
    info.trained_on["initialised_from"] = base.trained_on
    if (base.channels, len(base.classes)) != (info.channels, len(info.classes)):
        raise ModelError(
            f"{model} paints {base.channels} channel(s) for {len(base.classes)} classes but {dataset.folder} has "
            f"{info.channels} and {len(info.classes)}; fine-tune on a dataset of the same form."
        )
    pipeline = SemanticDiffusionPipeline.from_pretrained(model)
    noise_schedule, prediction = trained_process(pipeline.scheduler)
    trained = {
        "instances": base.instances,
        "prediction": prediction,
        "noise_schedule": noise_schedule,
        "num_train_timesteps": pipeline.scheduler.config.num_train_timesteps,
    }
    for name, value in trained.items():
        if getattr(config, name) != value:
            raise ModelError(f"{model} was trained with {name}={value}; fine-tune it so: --set {name}={value}.")
    unet = pipeline.unet
    _refuse_another_network(config, unet, model)
    weights = checkpoint.read_raw_weights(model)
    checkpoint.check_weights(unet, weights, model / checkpoint.RAW_WEIGHTS)
    unet.load_state_dict(weights)
    inputs = {"train split": info.trained_on["fingerprint"], "model": checkpoint.weights_fingerprint(model)}
    return _fit("finetune", config, unet, dataset, info, out, inputs)


def _refuse_another_network(config: FinetuneConfig, unet: SemanticUNet, model: Path) -> None:
    """Refuse options of a network that are not those of the model's own, which fine-tuning keeps."""
    if config.augment and not unet.config.augmentation_labels:
        raise ModelError(
            f"{model} was trained without augment, so its network cannot be told of changes; fine-tune it with "
            f"--set augment=0, or train one with --set augment={config.augment:g}."
        )
    if "unet" not in config.model_fields_set:  # the defaults of a new network, which nobody asked for
        return
    for name, value in config.unet.model_dump().items():
        own = unet.config[name]
        if value != (tuple(own) if isinstance(own, list) else own):
            raise ModelError(
                f"unet.{name} = {value}, but the network of {model} has {own} and fine-tuning keeps it; leave the "
                f"option out, or make a new network with `isdm train --init {model}`."
            )


def would_go_on(config: TrainConfig, dataset: SegmentationDataset, model: Path) -> bool:
    """Whether these options would train a model further that is there, instead of finding it trained."""
    state = checkpoint.read_state(model)
    counters = Counters() if state is None else Counters(**state["counters"])
    images, _ = load_training_images(dataset, config)
    return StopRule.of(config, len(images), counters.num_processes).reason(counters) is None


def _model_info(dataset: SegmentationDataset, config: TrainConfig, drop_rate: float) -> ModelInfo:
    pairs = dataset.require("train")
    image, _ = dataset.load(pairs[0])
    height, width, channels = image.shape
    trained_on: dict[str, Any] = {
        "dataset": dataset.info.name,
        "num_images": len(pairs),
        "fingerprint": dataset.fingerprint("train"),
    }
    if config.images != "all":
        trained_on["images"] = config.images
    return ModelInfo(
        dataset.info.classes,
        channels,
        (height, width),
        drop_rate,
        bit_depth=dataset.info.bit_depth,
        instances=config.instances,
        trained_on=trained_on,
    )


def _take_over(unet: SemanticUNet, weights: Weights, init: Path) -> None:
    own = unet.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise ModelError(f"{init} shares no layer with this network; choose the same preset or leave out --init.")
    unet.load_state_dict(fitting, strict=False)
    anew = sorted(own.keys() - fitting.keys())
    line = f"Took {len(fitting)} of {len(own)} weights from {init}"
    of_maps = [name for name in anew if name.endswith("shared.weight") and name in weights]
    if of_maps:
        before, now = (table[of_maps[0]].shape[1] for table in (weights, own))
        line += f"; it read class maps of {before} channels and this one reads {now}, so those layers start anew"
    others = len(anew) - len(of_maps)
    say(line + (f"; {others} others start anew." if others else "."))


def _with_steps_done(config: TrainConfig, step: int) -> TrainConfig:
    """The options that the folder records: asked to stop before where it stands, it says where it stands."""
    if config.steps is None or config.steps >= step:
        return config
    return config.model_copy(update={"steps": step})


def _fit(
    stage: str,
    config: TrainConfig,
    unet: SemanticUNet,
    dataset: SegmentationDataset,
    info: ModelInfo,
    out: Path,
    inputs: dict[str, str],
) -> SemanticDiffusionPipeline:
    check_trackers(config.trackers)
    images = load_training_images(dataset, config)
    workers = Workers(config.device)
    with workers.main_first():
        state = provenance.begin(out, stage, config, inputs, may_change=MAY_CHANGE)
    run = Run(config, unet, info, images, out, workers)
    if state == "finished" and run.stop.reason(run.counters) is not None:
        say(f"{out} is already trained: {run.stop.reason(run.counters)}.")
        return SemanticDiffusionPipeline.from_pretrained(out)
    config = _with_steps_done(config, run.counters.step)
    if workers.is_main:
        provenance.go_on(out, config)
        write_yaml(out / "config.yaml", config.plain())
    run.explain(stage)
    with held_back() as asked, progress(_DOING[stage], total=run.stop.max_steps, done=run.counters.step) as bar:
        while run.stop.reason(run.counters) is None and not run.is_asked_to_stop:
            loss = run.train_step(asked.is_asked)
            bar.advance(note=f"loss {loss:.4f}")
            draw_when_due(run)
            run.explain_cost()
        asked.is_asked()  # from here on the end may take its time
        if not run.is_asked_to_stop:
            run.close_short_run()
            draw_when_due(run, at_end=True)
        run.save()
    if run.is_asked_to_stop:  # by another process of this training
        raise StopRequestedError(signal.SIGTERM)
    run.close_trackers()
    if workers.is_main:
        provenance.finish(out, config, run.counters.seconds)
        say(f"{stage}: {run.stop.reason(run.counters)}. {checkpoint_savings(out, run.counters)}")
    workers.wait()
    return SemanticDiffusionPipeline.from_pretrained(out)
