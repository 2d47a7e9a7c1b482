"""Options of `isdm train` and `isdm finetune`, and the shape of the network."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from isdm.config.base import MOST_SEED, Seconds, StageConfig, contradiction

NoiseScheduleName = Literal["linear", "cosine"]
Prediction = Literal["eps", "v"]
LossWeighting = Literal["uniform", "min-snr"]
TrainingImagesKind = Literal["all", "with-defects", "defect-free"]
Compile = Literal["auto", "on", "off"]

LIMITS = ("steps", "epochs", "max_time")
"""Options that say where a training ends, whichever comes first."""


class UNetConfig(StageConfig):
    """Shape of the denoising network (docs/mathematics.md)."""

    base_channels: int = Field(64, ge=8, multiple_of=2)
    """Width of the first level, a multiple of `norm_groups`."""
    channel_multipliers: tuple[Annotated[int | float, Field(gt=0, le=64)], ...] = Field(
        (1, 2, 3, 4), min_length=1, max_length=12
    )
    """Width of each level as a multiple of `base_channels`; every level after the first halves the size."""
    num_res_blocks: int = Field(2, ge=1)
    """Residual blocks a level in the encoder; the decoder has one more."""
    attention_downsamplings: tuple[int, ...] = (8, 16, 32)
    """Self-attention where the feature map is this many times smaller than the image."""
    attention_head_channels: int = Field(64, ge=8)
    """Channels of one attention head; fewer where a level's width is not a multiple."""
    spade_channels: int = Field(128, ge=8)
    """Hidden width of the SPADE layers."""
    spade_resize: Literal["nearest", "area"] = "nearest"
    """How the semantic map is brought to a feature map's size; `area` keeps defects of a few pixels."""
    norm_groups: int = Field(32, ge=1)
    """Groups of every normalisation; fewer than 32 keep brightness and colour in a narrow network."""
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    """Dropout in the residual blocks."""
    patch_size: int = Field(1, ge=1, le=8)
    """Side of the squares of pixels that the network sees as one position; 2 is a quarter of the arithmetic."""

    @model_validator(mode="after")
    def _groups_divide_the_width(self) -> Self:
        if self.base_channels % self.norm_groups:
            raise contradiction(f"base_channels = {self.base_channels} must be a multiple of {self.norm_groups}")
        for multiplier in self.channel_multipliers:
            width = int(multiplier * self.base_channels)
            if not width or width % self.norm_groups:
                raise contradiction(
                    f"channel_multipliers: {multiplier} makes a level of {width} channels; each must be a multiple "
                    f"of norm_groups = {self.norm_groups}"
                )
        return self


class TrainConfig(StageConfig):
    """Training a diffusion model. `unet` comes from the preset unless given."""

    BEFORE = {"monitor_samples": 1}  # noqa: RUF012

    preset: Literal["tiny", "small", "base", "paper"] = "small"
    """Size of the network and the settings that go with it."""
    unet: UNetConfig = UNetConfig()
    """Shape of the network."""
    steps: int | None = Field(None, ge=1)
    """Stop after this many optimiser steps."""
    epochs: int | None = Field(20_000, ge=1)
    """Stop after this many passes over the training images."""
    max_time: Seconds | None = Field(None, gt=0)
    """Stop after this much training time (90s, 45m, 2h), over all resumptions."""
    patience_steps: int | None = Field(100_000, ge=1)
    """Stop when this many steps brought no better epoch loss."""
    batch_size: int = Field(32, ge=1)
    """Images a step and process; what does not fit into memory at once is worked through in parts."""
    learning_rate: float = Field(1e-4, gt=0)
    """AdamW's learning rate."""
    warmup_steps: int = Field(0, ge=0)
    """Steps over which the learning rate rises from zero."""
    learning_rate_decay: Literal["none", "cosine"] = "none"
    """`cosine` lets the learning rate fall to zero towards the last step; it needs `steps`."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's weight decay."""
    max_gradient_norm: float | None = Field(None, gt=0)
    """Clip the gradient to this norm."""
    ema_decay: float = Field(0.9999, ge=0, lt=1)
    """Decay of the running average of the weights, approached as (1 + step) / (10 + step)."""
    drop_rate: float = Field(0.1, ge=0, le=1)
    """Probability that a sample's whole semantic map is set to zero (the null map)."""
    flip: bool = True
    """Flip images and masks horizontally at random."""
    augment: float = Field(0.0, ge=0, le=1)
    """Probability of each of five changes of image and mask (flip upside down, scale, turn, stretch, shift) that the
    network is told of and does not paint: against learning few pictures by heart; 0.15 is usual."""
    images: TrainingImagesKind = "all"
    """Training images to use: `defect-free` ones (no foreground pixel) pretrain a model for `--init`."""
    instances: bool = False
    """Give the network the borders between objects of one class too; the dataset needs instance maps."""
    num_train_timesteps: int = Field(1000, ge=21)
    """Length T of the diffusion process."""
    noise_schedule: NoiseScheduleName = "linear"
    """How noise grows over the process: `linear` betas as published, or the `cosine` of Improved DDPM."""
    prediction: Prediction = "eps"
    """What the network predicts: the noise `eps` as published, or the velocity `v`."""
    loss_weighting: LossWeighting = "uniform"
    """`min-snr` caps the weight of nearly clean timesteps (SNR above 5) in the loss."""
    monitor: Literal["epoch", "grid"] = "epoch"
    """Loss that the kept checkpoint is chosen by: of the epoch, or of EMA weights on a fixed grid of (t, noise)."""
    monitor_samples: int = Field(1000, ge=1)
    """The monitored loss is the mean over the last epochs that hold so many samples; 1 is a single epoch."""
    grid_interval_steps: int = Field(250, ge=1)
    """Steps between measurements of the loss on the fixed grid."""
    holdout: float = Field(0.0, ge=0, lt=1)
    """Share of the training groups that is kept from the gradient for the loss on the fixed grid."""
    stop_on_copying: bool = False
    """Stop when the held-out loss rises while the training loss still falls; it needs `holdout`."""
    save_interval: Seconds = Field(300.0, gt=0)
    """Seconds between saves of what a resumed run needs."""
    sample_interval_steps: int | None = Field(None, ge=0)
    """Steps between sheets of a few pictures in `samples/`; null is 1000, or more where that takes 2 %; 0 is none."""
    trackers: tuple[str, ...] = ("tensorboard",)
    """Where the curves are shown: tensorboard (below `logs/`), wandb, mlflow and others that Accelerate knows."""
    checkpoint_activations: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    compile: Compile = "auto"
    """Compile the network; `auto` does where it pays (see `isdm doctor`)."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the network; `auto` takes bfloat16 where the hardware has it."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:1`."""
    seed: int = Field(0, ge=0, le=MOST_SEED)
    """Seed of the weights, order, t, noise, flips and drops."""

    @model_validator(mode="after")
    def _decay_needs_an_end(self) -> Self:
        if self.learning_rate_decay == "cosine" and self.steps is None and not self._takes_its_steps_from_a_model:
            raise contradiction("learning_rate_decay 'cosine' needs steps, the step at which it reaches zero")
        return self

    @property
    def _takes_its_steps_from_a_model(self) -> bool:
        return False

    @model_validator(mode="after")
    def _copying_is_seen_on_held_out_images(self) -> Self:
        if self.stop_on_copying and not self.holdout:
            raise contradiction("stop_on_copying needs held-out training images; set holdout, such as 0.15")
        return self


class FinetuneConfig(TrainConfig):
    """Fine-tuning: the same training from the raw weights of a model, with a fresh optimiser.

    With `steps`, `epochs` and `max_time` all null it takes a quarter of the steps that the model was trained for.
    """

    batch_size: int = Field(12, ge=1)
    """Images a step."""
    drop_rate: float = Field(0.2, ge=0, le=1)
    """Probability that a sample's whole semantic map is set to zero (the null map)."""

    @property
    def _takes_its_steps_from_a_model(self) -> bool:
        return all(getattr(self, limit) is None for limit in LIMITS)
