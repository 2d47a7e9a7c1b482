"""One training run: its state, one step of it, and what it saves."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from accelerate.utils.memory import should_reduce_batch_size
from torch import Tensor
from torch.func import functional_call

from isdm import provenance
from isdm.config import TrainConfig
from isdm.diffusion.process import HybridLoss, hybrid_loss
from isdm.diffusion.schedule import NoiseSchedule, training_schedule
from isdm.errors import ModelError
from isdm.hardware import autocast, compiled, select_dtype, select_memory_format
from isdm.model_info import ModelInfo, training_scheduler
from isdm.models.unet import SemanticUNet
from isdm.progress import format_seconds, say
from isdm.training import checkpoint
from isdm.training.batches import Batch, TrainingImages, draw_batch
from isdm.training.checkpoint import Counters, Weights
from isdm.training.loop import Clock, StopRule
from isdm.training.monitor import count_samples, divergence, judge_grid, make_grid
from isdm.training.randomness import dropout_seed
from isdm.training.trackers import Trackers
from isdm.training.workers import Workers

STEPS_TIMED = 8
MOST_SKIPPED = 5
"""Steps in a row whose gradients may be no numbers, as single overflows in bfloat16 are."""


def learning_rate(config: TrainConfig, step: int, max_steps: int) -> float:
    """Learning rate of a step: risen linearly over the warm-up, then constant or falling as a half cosine."""
    warmup = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    decay = 1.0
    if config.learning_rate_decay == "cosine":
        decay = 0.5 * (1 + math.cos(math.pi * min(step / max_steps, 1.0)))
    return config.learning_rate * warmup * decay


class Run:
    """The state of one training run: network, averages, optimiser, counters, best model so far."""

    def __init__(
        self,
        config: TrainConfig,
        unet: SemanticUNet,
        info: ModelInfo,
        images: tuple[TrainingImages, TrainingImages],
        out: Path,
        workers: Workers,
    ) -> None:
        self.config, self.info, self.out, self.workers = config, info, out, workers
        self.images, self.held_out = images
        self.device = workers.device
        self.dtype = select_dtype(config.precision, self.device)
        self.memory_format = select_memory_format(self.device, self.dtype)
        self.unet = unet.to(self.device).to(memory_format=self.memory_format).train()
        if config.checkpoint_activations:
            self.unet.enable_gradient_checkpointing()
        self.schedule: NoiseSchedule = training_schedule(config.num_train_timesteps, config.noise_schedule)
        self.optimizer = torch.optim.AdamW(
            self.unet.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.counters = Counters(num_processes=workers.count)
        self.ema: Weights = {name: value.detach().clone() for name, value in self.unet.named_parameters()}
        self.best: tuple[Weights, Weights] | None = None  # EMA and raw weights not yet on disk
        self._resume()
        self.stop = StopRule.of(config, len(self.images), workers.count, self.counters)
        self.network = workers.wrap(compiled(self.unet, config.compile))
        self.num_parts = 1
        self.grid_of_training = make_grid(self.images, config) if self._measures_grid else None
        self.grid_held_out = make_grid(self.held_out, config) if self._measures_grid else None
        self.started = replace(self.counters)
        self._trackers: Trackers | None = None
        self._num_shown = len(self.counters.metrics)
        self.num_skipped = 0
        self.is_asked_to_stop = False
        self.clock = Clock()
        self.saved_at = self.counters.seconds

    @property
    def _measures_grid(self) -> bool:
        return self.config.monitor == "grid" or self.config.stop_on_copying

    def _resume(self) -> None:
        state = checkpoint.read_state(self.out)
        if state is None:
            return
        for part in ("weights", "ema"):
            checkpoint.check_weights(self.unet, state[part], self.out / checkpoint.STATE)
        self.unet.load_state_dict(state["weights"])
        for name, value in self.ema.items():  # in place: another order in memory would round otherwise
            value.copy_(state["ema"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.counters = Counters(**state["counters"])
        if not self.counters.samples:  # a state from before samples were counted
            self.counters.samples = self.counters.step * self.config.batch_size
        if self.counters.num_processes != self.workers.count:
            say(
                f"Going on with {self.workers.count} process(es) instead of {self.counters.num_processes}: a step "
                f"now takes {self.workers.count * self.config.batch_size} images."
            )
            self.counters.num_processes = self.workers.count

    def explain(self, stage: str) -> None:
        """Say what is about to run and what it will cost."""
        size = sum(parameter.numel() for parameter in self.unet.parameters())
        each = (
            f"{self.workers.count} x {self.config.batch_size}" if self.workers.count > 1 else self.config.batch_size
        )
        limit = f"at most {self.stop.max_steps:,} steps of {each}"
        if self.stop.max_seconds is not None:
            limit += f" or {format_seconds(self.stop.max_seconds)}"
        held_out = f" ({len(self.held_out)} more held out)" if len(self.held_out) else ""
        say(
            f"{stage}: {size / 1e6:.1f} M parameters, {len(self.images)} images of "
            f"{self.info.image_size[1]}x{self.info.image_size[0]}{held_out}, {limit}, on {self.device} in "
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
        rest = f"{self.stop.max_steps - self.counters.step:,} of {self.stop.max_steps:,} steps"
        line = f"One step takes {per_step:.2f} s; the remaining {rest} take about {format_seconds(left)}"
        if self.stop.max_seconds is not None and self.stop.max_seconds - self.counters.seconds < left:
            line += f", but max_time ends it after {format_seconds(self.stop.max_seconds)}"
        say(line + ".")

    def train_step(self, is_asked: Callable[[], bool] = lambda: False) -> float:
        """One optimiser step over the next samples of all processes; their mean loss.

        Where one process is asked to stop (`is_asked`), all find `is_asked_to_stop` set after the same step.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.counters.step, self.stop.max_steps)
        first = self.counters.samples + self.workers.index * self.config.batch_size
        batch = draw_batch(self.images, self.config, range(first, first + self.config.batch_size))
        if self.unet.config.dropout:  # a model that is fine-tuned has its own
            torch.manual_seed(dropout_seed(self.config.seed, first))
        rows = self._gradients_within_memory(batch)  # (B, 3)
        self._update()
        self.counters.step += 1
        self.counters.samples += self.workers.count * self.config.batch_size
        self.clock.tick(self.counters)
        # One exchange: every process's losses, the clock of the first, and who is asked to stop; all decide alike.
        more = rows.new_tensor([[self.counters.seconds, float(is_asked()), 0.0]], dtype=torch.float64)
        table = torch.cat([rows.double(), more]).to(self.device)
        table = self.workers.gather(table).view(self.workers.count, len(table), -1)
        self.counters.seconds = table[0, -1, 0].item()
        self.is_asked_to_stop = bool(table[:, -1, 1].any())
        everyone = table[:, :-1].flatten(0, 1)
        if not self.num_skipped:
            self._watch(everyone.tolist())
        if self.counters.seconds - self.saved_at >= self.config.save_interval:
            self.save()
        return everyone[:, 0].mean().item()

    def _gradients_within_memory(self, batch: Batch) -> Tensor:
        """Gradients of the batch's mean loss, in more parts where memory does not suffice for fewer."""
        while True:
            try:
                return self._gradients(batch)
            except RuntimeError as error:
                if not should_reduce_batch_size(error):
                    raise
                size = -(-len(batch) // self.num_parts)
                if size == 1 or self.workers.count > 1:
                    raise ModelError(
                        f"Memory does not suffice for {size} image(s) at a time; use a smaller preset or image size, "
                        f"--set checkpoint_activations=true, or a smaller batch_size."
                    ) from None
            self.optimizer.zero_grad(set_to_none=True)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self.num_parts *= 2
            say(f"Out of memory: each step is now worked through in {self.num_parts} parts, with the same result.")

    def _gradients(self, batch: Batch) -> Tensor:
        """Add up the gradients part by part; returns loss, mse and vb of each sample (B, 3)."""
        size = -(-len(batch) // self.num_parts)
        rows = []
        for start in range(0, len(batch), size):
            part = batch.part(start, start + size).to(self.device, self.memory_format)
            losses = self._losses(part, self.network)
            (losses.total.sum() / len(batch)).backward()  # type: ignore[no-untyped-call]
            rows.append(torch.stack([losses.total, losses.mse, losses.vb], dim=1).detach())
        return torch.cat(rows)

    def _losses(self, batch: Batch, network: Callable[..., Tensor]) -> HybridLoss:
        x_t = batch.x_t(self.schedule)
        with autocast(self.device, self.dtype):
            told = (batch.changes,) if self.unet.config.augmentation_labels else ()
            output = network(x_t, batch.t(self.schedule), batch.semantic_map, *told)
        return hybrid_loss(
            self.schedule,
            output,
            batch.x_start,
            x_t,
            batch.steps,
            batch.noise,
            self.info.bit_depth,
            self.config.prediction,
            self.config.loss_weighting,
        )

    @torch.no_grad()
    def _loss_of_average(self, batch: Batch) -> Tensor:
        """Loss (B,) of the averaged weights."""
        on_device = batch.to(self.device, self.memory_format)
        return self._losses(on_device, lambda *inputs: functional_call(self.unet, self.ema, inputs)).total

    def _update(self) -> None:
        """Change the weights by the gradients, and their average; gradients that are no numbers change nothing."""
        parameters = list(self.unet.parameters())
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if bool(norm.isfinite()):
            if self.config.max_gradient_norm is not None:
                torch.nn.utils.clip_grads_with_norm_(parameters, self.config.max_gradient_norm, norm)
            self.optimizer.step()
            self._update_ema()
            self.num_skipped = 0
        else:
            self.num_skipped += 1
            self._judge_skipped()
        self.optimizer.zero_grad(set_to_none=True)

    def _judge_skipped(self) -> None:
        if self.num_skipped > MOST_SKIPPED:
            raise ModelError(
                f"The gradients of {self.num_skipped} steps in a row are no numbers, up to step "
                f"{self.counters.step + 1:,}; {self._save_and_name_best()}. {self._remedy}"
            )
        say(f"The gradients of step {self.counters.step + 1:,} are no numbers; it changes nothing.")

    def _save_and_name_best(self) -> str:
        """Before a run that has failed ends: write the best model so far, and say which it is."""
        self._save_best()
        if not (self.out / checkpoint.AVERAGED_WEIGHTS).is_file():
            return "no model was kept yet"
        return f"the model of step {self.counters.best_step:,} is kept"

    @property
    def _remedy(self) -> str:
        return (
            f"Train into another folder with a lower --set learning_rate than {self.config.learning_rate:g}, with "
            f"--set max_gradient_norm=1, or with --set precision=float32."
        )

    @torch.no_grad()
    def _update_ema(self) -> None:
        """Average the weights with a warm-up: decay (1 + step) / (10 + step) until it reaches ema_decay."""
        step = self.counters.step
        decay = min(self.config.ema_decay, (1 + step) / (10 + step))
        weights = [parameter.detach() for parameter in self.unet.parameters()]
        torch._foreach_lerp_(list(self.ema.values()), weights, 1 - decay)

    def _watch(self, rows: list[list[float]]) -> None:
        """Count the samples, measure the grid when it is time, and keep the model if it is the best so far."""
        config, counters = self.config, self.counters
        try:
            of_epoch = count_samples(counters, rows, len(self.images), config.monitor_samples)
        except FloatingPointError as error:
            raise ModelError(f"{error}; {self._save_and_name_best()}. {self._remedy}") from None
        of_grid = None
        if self.grid_of_training is not None and counters.step % config.grid_interval_steps == 0:
            of_grid = self._measure_grid()
        monitored = of_grid if config.monitor == "grid" else of_epoch
        if monitored is not None and monitored < (counters.best_loss or math.inf):
            counters.best_loss = monitored
            self._keep()
        if of_epoch is not None and (rise := divergence(counters, len(self.images))) is not None:
            self._save_best()
            raise ModelError(
                f"The loss has risen from {rise[0]:.4g} to {rise[1]:.4g} at step {counters.step:,}: the training "
                f"diverges. The model of step {counters.best_step:,} is kept. {self._remedy}"
            )

    def _measure_grid(self) -> float:
        assert self.grid_of_training is not None
        size = -(-self.config.batch_size // self.num_parts)
        self.unet.eval()
        grids = [grid for grid in (self.grid_of_training, self.grid_held_out) if grid is not None]
        # The clock is not read here but at the next step, where the first process's is given to all.
        losses = [self.workers.of_first(grid.losses(self._loss_of_average, size)) for grid in grids]
        self.unet.train()
        return judge_grid(self.counters, losses[0], losses[1] if len(losses) > 1 else None)

    def _keep(self) -> None:
        self.counters.best_step = self.counters.step
        if self.workers.is_main:
            self.best = (checkpoint.snapshot(self.ema), checkpoint.snapshot(self.unet.state_dict()))

    def close_short_run(self) -> None:
        """At the end of a run too short to compare epochs, the last model is the one to keep."""
        if self.counters.best_loss is None:
            self._keep()

    def save(self) -> None:
        """Write the best model if it is new, then where the run stands."""
        self.saved_at = self.counters.seconds
        if not self.workers.is_main:
            return
        watch = provenance.Stopwatch()
        self._save_best()
        checkpoint.write_metrics(self.out, self.counters)
        checkpoint.write_state(
            self.out,
            checkpoint.snapshot(self.unet.state_dict()),
            checkpoint.snapshot(self.ema),
            self.optimizer,
            self.counters,
        )
        self.counters.saved_bytes += checkpoint.state_bytes(self.out)
        self._show_metrics()
        self.counters.save_seconds += watch.seconds

    def _save_best(self) -> None:
        if self.best is None:
            return
        ema, raw = self.best
        scheduler = training_scheduler(len(self.schedule), self.config.noise_schedule, self.config.prediction)
        checkpoint.write_model(self.out, self.unet, ema, self.info, scheduler)
        checkpoint.write_raw_weights(self.out, raw)
        self.counters.saved_bytes += checkpoint.model_bytes(self.out)
        self.best = None

    def _show_metrics(self) -> None:
        """Give the trackers the lines that are now saved."""
        lines = self.counters.metrics[self._num_shown :]
        if not lines or not self.config.trackers:
            return
        if self._trackers is None:
            self._trackers = Trackers(self.config.trackers, self.out.name, self.out)
        for line in lines:
            self._trackers.log(line, int(line["step"]))
        self._num_shown = len(self.counters.metrics)

    def close_trackers(self) -> None:
        """End what shows the curves."""
        if self._trackers is not None:
            self._trackers.close()
