"""The stages `train` and `finetune`: learn to paint images for masks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isdm import provenance
from isdm.config import FinetuneConfig, TrainConfig, build, merged, read_yaml
from isdm.data.dataset import SegmentationDataset, load_arrays
from isdm.data.semantic_map import semantic_map
from isdm.data.transforms import to_model_range
from isdm.diffusion.process import HybridLoss, hybrid_loss, q_sample
from isdm.diffusion.schedule import NoiseSchedule, training_schedule
from isdm.errors import DataError, ModelError
from isdm.files import write_yaml
from isdm.hardware import autocast, select_device, select_dtype
from isdm.models.unet import SemanticUNet
from isdm.pipeline import ModelInfo, SemanticDiffusionPipeline
from isdm.progress import format_seconds, progress, say
from isdm.training import checkpoint
from isdm.training.checkpoint import Counters, Weights
from isdm.training.loop import Clock, StopRule
from isdm.training.randomness import draw_sample
from isdm.training.savings import checkpoint_savings

MAY_CHANGE = frozenset({"steps", "epochs", "max_time", "patience_steps", "save_interval", "device", "precision"})
"""Options that a resumed run may be given anew: where to stop and what to run on."""

STEPS_TIMED = 8

_DOING = {"train": "Training", "finetune": "Fine-tuning"}


@dataclass(frozen=True)
class TrainingImages:
    """The training split in memory: `x_start` (N, C, H, W) float32 and `masks` (N, H, W) int64."""

    x_start: Tensor
    masks: Tensor
    num_classes: int


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
    options = config.unet.model_dump()
    info = _model_info(dataset, config.drop_rate)
    torch.manual_seed(config.seed)
    unet = SemanticUNet(in_channels=info.channels, num_classes=dataset.info.num_classes, **options)
    inputs = {"train split": info.trained_on["fingerprint"]}
    if init is not None:
        ModelInfo.read(init)
        _take_over(unet, checkpoint.read_raw_weights(init), init)
        inputs["init"] = checkpoint.weights_fingerprint(init)
    return _fit("train", config, unet, dataset, info, out, inputs)


def finetune_config(model: Path, values: Mapping[str, Any]) -> FinetuneConfig:
    """Options of a fine-tuning: those of the model's own training unless `values` say otherwise.

    Batch size and drop rate have defaults of their own; without a limit in `values`, a quarter of the
    model's steps.
    """
    own = {"batch_size", "drop_rate", "steps", "epochs", "max_time", "patience_steps", "device", "precision"}
    path = model / "config.yaml"
    base = read_yaml(path) if path.is_file() else {}
    inherited = {key: value for key, value in base.items() if key not in own}
    if not {"steps", "epochs", "max_time"} & values.keys() and base.get("steps"):
        inherited["steps"] = max(1, base["steps"] // 4)
    return build(FinetuneConfig, merged(inherited, values), where="the options of finetune")


def finetune(
    config: FinetuneConfig, model: Path, dataset: SegmentationDataset, out: Path
) -> SemanticDiffusionPipeline:
    """Go on from a model's raw weights with a fresh optimiser, dropping whole masks at `drop_rate`.

    Raises:
        ModelError: `model` is no model, or its classes, channels or image size are not the dataset's.
    """
    base = ModelInfo.read(model)
    info = _model_info(dataset, max(config.drop_rate, base.drop_rate))
    if (base.channels, len(base.classes)) != (info.channels, len(info.classes)):
        raise ModelError(
            f"{model} paints {base.channels} channel(s) for {len(base.classes)} classes but {dataset.folder} has "
            f"{info.channels} and {len(info.classes)}; fine-tune on a dataset of the same form."
        )
    unet = SemanticDiffusionPipeline.from_pretrained(model).unet
    unet.load_state_dict(checkpoint.read_raw_weights(model))
    inputs = {"train split": info.trained_on["fingerprint"], "model": checkpoint.weights_fingerprint(model)}
    return _fit("finetune", config, unet, dataset, info, out, inputs)


def _model_info(dataset: SegmentationDataset, drop_rate: float) -> ModelInfo:
    pairs = dataset.require("train")
    image, _ = dataset.load(pairs[0])
    height, width, channels = image.shape
    trained_on = {
        "dataset": dataset.info.name,
        "num_images": len(pairs),
        "fingerprint": dataset.fingerprint("train"),
    }
    return ModelInfo(dataset.info.classes, channels, (height, width), drop_rate, trained_on=trained_on)


def _take_over(unet: SemanticUNet, weights: Weights, init: Path) -> None:
    own = unet.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise ModelError(f"{init} shares no layer with this network; choose the same preset or leave out --init.")
    unet.load_state_dict(fitting, strict=False)
    anew = len(own) - len(fitting)
    say(f"Took {len(fitting)} of {len(own)} weights from {init}" + (f"; {anew} start anew." if anew else "."))


def _fit(
    stage: str,
    config: TrainConfig,
    unet: SemanticUNet,
    dataset: SegmentationDataset,
    info: ModelInfo,
    out: Path,
    inputs: dict[str, str],
) -> SemanticDiffusionPipeline:
    images = _load_images(dataset, info, unet.size_divisor)
    state = provenance.begin(out, stage, config.plain(), inputs, may_change=MAY_CHANGE)
    write_yaml(out / "config.yaml", config.plain())
    run = _Run(config, unet, info, images, out)
    if state == "finished" and run.stop.reason(run.counters) is not None:
        say(f"{out} is already trained: {run.stop.reason(run.counters)}.")
        return SemanticDiffusionPipeline.from_pretrained(out)
    run.explain(stage)
    with progress(_DOING[stage], total=run.stop.max_steps, done=run.counters.step) as bar:
        while run.stop.reason(run.counters) is None:
            loss = run.train_step()
            bar.advance(note=f"loss {loss:.4f}")
            run.explain_cost()
    run.close_short_run()
    run.save()
    provenance.finish(out, config.plain(), run.counters.seconds)
    say(f"{stage}: {run.stop.reason(run.counters)}. {checkpoint_savings(out, run.counters)}")
    return SemanticDiffusionPipeline.from_pretrained(out)


def _load_images(dataset: SegmentationDataset, info: ModelInfo, divisor: int) -> TrainingImages:
    height, width = info.image_size
    if height % divisor or width % divisor:
        raise DataError(
            f"{dataset.folder} has images of {width}x{height}; this network needs multiples of {divisor}. Import "
            f"with --size, such as {max(divisor, height // divisor * divisor)}x"
            f"{max(divisor, width // divisor * divisor)} (height x width)."
        )
    images, masks = load_arrays(dataset, dataset.pairs("train"))
    return TrainingImages(
        to_model_range(images, info.bit_depth), torch.from_numpy(masks.astype(np.int64)), len(info.classes)
    )


def learning_rate(config: TrainConfig, step: int, max_steps: int) -> float:
    """Learning rate of a step: risen linearly over the warm-up, then constant or falling as a half cosine."""
    warmup = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    decay = 1.0
    if config.learning_rate_decay == "cosine":
        decay = 0.5 * (1 + math.cos(math.pi * min(step / max_steps, 1.0)))
    return config.learning_rate * warmup * decay


class _Run:
    """The state of one training run: network, averages, optimiser, counters, best model so far."""

    def __init__(
        self, config: TrainConfig, unet: SemanticUNet, info: ModelInfo, images: TrainingImages, out: Path
    ) -> None:
        self.config, self.info, self.images, self.out = config, info, images, out
        self.device = select_device(config.device)
        self.dtype = select_dtype(config.precision, self.device)
        self.unet = unet.to(self.device).to(memory_format=torch.channels_last).train()
        self.schedule: NoiseSchedule = training_schedule(config.num_train_timesteps)
        self.optimizer = torch.optim.AdamW(
            self.unet.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.counters = Counters()
        self.stop = StopRule.of(config, len(images.masks))
        self.ema: Weights = {name: value.detach().clone() for name, value in self.unet.named_parameters()}
        self.best: tuple[Weights, Weights] | None = None  # EMA and raw weights not yet on disk
        self._resume()
        self.started = replace(self.counters)
        self.clock = Clock()
        self.saved_at = self.counters.seconds

    def _resume(self) -> None:
        state = checkpoint.read_state(self.out)
        if state is None:
            return
        self.unet.load_state_dict(state["weights"])
        self.ema = {name: state["ema"][name].to(self.device) for name in self.ema}
        self.optimizer.load_state_dict(state["optimizer"])
        self.counters = Counters(**state["counters"])

    def explain(self, stage: str) -> None:
        """Say what is about to run and what it will cost."""
        size = sum(parameter.numel() for parameter in self.unet.parameters())
        limit = f"at most {self.stop.max_steps:,} steps of {self.config.batch_size}"
        if self.stop.max_seconds is not None:
            limit += f" or {format_seconds(self.stop.max_seconds)}"
        say(
            f"{stage}: {size / 1e6:.1f} M parameters, {len(self.images.masks)} images of "
            f"{self.info.image_size[1]}x{self.info.image_size[0]}, {limit}, on {self.device} in "
            f"{str(self.dtype).removeprefix('torch.')}."
        )
        if self.counters.step:
            say(f"Going on at step {self.counters.step:,}.")

    def explain_cost(self) -> None:
        """After a few steps, say what the run will take."""
        timed = self.counters.step - self.started.step
        if timed != STEPS_TIMED:
            return
        per_step = (self.counters.seconds - self.started.seconds) / timed
        left = (self.stop.max_steps - self.counters.step) * per_step
        line = f"One step takes {per_step:.2f} s; the {self.stop.max_steps:,} steps would take {format_seconds(left)}"
        if self.stop.max_seconds is not None and self.stop.max_seconds - self.counters.seconds < left:
            line += f", but max_time ends it after {format_seconds(self.stop.max_seconds)}"
        say(line + ".")

    def train_step(self) -> float:
        """One optimiser step over the next `batch_size` samples; its mean loss."""
        self._set_learning_rate()
        losses = self._losses()
        loss = losses.total.mean()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.config.max_gradient_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.unet.parameters(), self.config.max_gradient_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._update_ema()
        self.counters.step += 1
        self.clock.tick(self.counters)
        self._count(losses)
        if self.counters.seconds - self.saved_at >= self.config.save_interval:
            self.save()
        return loss.item()

    def _set_learning_rate(self) -> None:
        rate = learning_rate(self.config, self.counters.step, self.stop.max_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _losses(self) -> HybridLoss:
        first = self.counters.step * self.config.batch_size
        num_images, *shape = self.images.x_start.shape
        draws = [
            draw_sample(
                self.config.seed,
                index,
                num_images,
                len(self.schedule),
                (shape[0], shape[1], shape[2]),
                self.config.flip,
                self.config.drop_rate,
            )
            for index in range(first, first + self.config.batch_size)
        ]
        chosen = [draw.image_index for draw in draws]
        x_start = self.images.x_start[chosen]  # (B, C, H, W)
        conditions = semantic_map(self.images.masks[chosen], self.images.num_classes)  # (B, K, H, W)
        flips, drops = ([getattr(draw, name) for draw in draws] for name in ("flip", "drop"))
        x_start[flips], conditions[flips] = x_start[flips].flip(-1), conditions[flips].flip(-1)
        conditions[drops] = 0  # the null map
        noise = torch.from_numpy(np.stack([draw.noise for draw in draws]))
        x_start, conditions, noise = (
            tensor.to(self.device).contiguous(memory_format=torch.channels_last)
            for tensor in (x_start, conditions, noise)
        )
        steps = torch.tensor([draw.step for draw in draws], device=self.device)
        t = torch.from_numpy(self.schedule.timestep_map).to(self.device)[steps].float()
        x_t = q_sample(self.schedule, x_start, steps, noise)
        with autocast(self.device, self.dtype):
            output = self.unet(x_t, t, conditions)
        return hybrid_loss(self.schedule, output, x_start, x_t, steps, noise, self.info.bit_depth)

    @torch.no_grad()
    def _update_ema(self) -> None:
        """Average the weights with a warm-up: decay (1 + step) / (10 + step) until it reaches ema_decay."""
        step = self.counters.step
        decay = min(self.config.ema_decay, (1 + step) / (10 + step))
        weights = [parameter.detach() for parameter in self.unet.parameters()]
        torch._foreach_lerp_(list(self.ema.values()), weights, 1 - decay)

    def _count(self, losses: HybridLoss) -> None:
        """Add samples to their epochs; where one ends, compare its mean loss with the best."""
        table = torch.stack([losses.total, losses.mse, losses.vb], dim=1).tolist()  # (B, 3)
        for row in table:
            self.counters.epoch_losses = [a + b for a, b in zip(self.counters.epoch_losses, row, strict=True)]
            self.counters.epoch_samples += 1
            if self.counters.epoch_samples == len(self.images.masks):
                self._end_epoch()

    def _end_epoch(self) -> None:
        counters = self.counters
        loss, mse, vb = (total / counters.epoch_samples for total in counters.epoch_losses)
        if not math.isfinite(loss):
            raise ModelError(
                f"The loss became {loss} in epoch {counters.epoch}; the saved model is from before. Lower "
                f"--set learning_rate={self.config.learning_rate:g}, or use --set precision=float32."
            )
        window = -(-self.config.monitor_samples // len(self.images.masks))
        recent = [*(line["loss"] for line in counters.metrics[1 - window :] if window > 1), loss]
        monitored = sum(recent) / len(recent)
        counters.metrics.append(
            {
                "epoch": counters.epoch,
                "step": counters.step,
                "loss": loss,
                "monitored": monitored,
                "mse": mse,
                "vb": vb,
                "seconds": round(counters.seconds, 2),
            }
        )
        is_comparable = len(recent) == window  # the mean over fewer epochs is a matter of luck
        if is_comparable and (counters.best_loss is None or monitored < counters.best_loss):
            counters.best_loss = monitored
            self._keep()
        counters.epoch += 1
        counters.epoch_losses, counters.epoch_samples = [0.0, 0.0, 0.0], 0

    def _keep(self) -> None:
        self.counters.best_step = self.counters.step
        self.best = (checkpoint.snapshot(self.ema), checkpoint.snapshot(self.unet.state_dict()))

    def close_short_run(self) -> None:
        """At the end of a run too short to compare epochs, the last model is the one to keep."""
        if self.counters.best_loss is None:
            self._keep()

    def save(self) -> None:
        """Write the best model if it is new, then where the run stands."""
        watch = provenance.Stopwatch()
        if self.best is not None:
            ema, raw = self.best
            checkpoint.write_model(self.out, self.unet, ema, self.info, len(self.schedule))
            checkpoint.write_raw_weights(self.out, raw)
            self.counters.saved_bytes += checkpoint.model_bytes(self.out)
            self.best = None
        checkpoint.write_metrics(self.out, self.counters)
        checkpoint.write_state(
            self.out,
            checkpoint.snapshot(self.unet.state_dict()),
            checkpoint.snapshot(self.ema),
            self.optimizer,
            self.counters,
        )
        self.counters.saved_bytes += checkpoint.state_bytes(self.out)
        self.counters.save_seconds += watch.seconds
        self.saved_at = self.counters.seconds
