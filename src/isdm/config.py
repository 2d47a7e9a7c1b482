"""One frozen, validated model per stage; an unknown key is an error that names the nearest known one.

A field's description says what it does and its range; the command line shows the same words.
"""

import difflib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)

from isdm.errors import ConfigError

Layout = Literal["auto", "folders", "isdm", "magnetic-tile"]
Fit = Literal["stretch", "pad", "crop"]
Sampler = Literal["ddpm", "ddim", "dpmsolver++", "dpmsolver++-sde", "unipc"]
Timesteps = Literal["respaced", "rescaled"]
Masks = Literal["real", "augmented"]
Protocol = Literal["paper", "equal-steps"]
Arm = Literal["plain", "augmented", "duplicated"]
Count = int | Literal["all", "equal"]


def parse_size(value: object) -> object:
    """Read `256` or `96x128` (height x width) as (height, width); other values pass on to validation."""
    if isinstance(value, int):
        return (value, value)
    if isinstance(value, str):
        parts = value.lower().split("x")
        if len(parts) in (1, 2) and all(part.strip().isdigit() for part in parts):
            return (int(parts[0]), int(parts[-1]))
        raise ValueError(f"{value!r} is not a size; write 256 or HEIGHTxWIDTH such as 96x128")
    return value


def parse_duration(value: object) -> object:
    """Read `90s`, `45m`, `2h` or a number of seconds as seconds; other values pass on to validation."""
    if isinstance(value, str):
        units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
        number, unit = (value[:-1], value[-1]) if value[-1:] in units else (value, "s")
        try:
            return float(number) * units[unit]
        except ValueError:
            raise ValueError(f"{value!r} is not a duration; write 90s, 45m or 2h") from None
    return value


Size = Annotated[tuple[PositiveInt, PositiveInt], BeforeValidator(parse_size)]
Seconds = Annotated[float, BeforeValidator(parse_duration)]


class StageConfig(BaseModel):
    """What every stage's options share: frozen, no unknown keys, defaults validated too."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True)

    def plain(self) -> dict[str, Any]:
        """Give the options as JSON-ready values, for provenance and comparison."""
        return self.model_dump(mode="json")


class UNetConfig(StageConfig):
    """Shape of the denoising network (DESIGN, section 5)."""

    base_channels: int = Field(64, ge=8, multiple_of=2)
    """Width of the first level, a multiple of `norm_groups`."""
    channel_multipliers: tuple[int, ...] = Field((1, 2, 3, 4), min_length=1)
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

    @model_validator(mode="after")
    def _groups_divide_the_width(self) -> Self:
        if self.base_channels % self.norm_groups:
            raise ValueError(f"base_channels = {self.base_channels} must be a multiple of {self.norm_groups}")
        return self


class DataConfig(StageConfig):
    """Importing a dataset."""

    source: Path
    """Folder with the images and masks to import; it is never written to."""
    layout: Layout = "auto"
    """How the source is arranged."""
    size: Size | None = None
    """Size of the imported images, 256 or HEIGHTxWIDTH; without it they keep their own."""
    fit: Fit = "stretch"
    """How an image is brought to `size`: stretched, padded or cropped around its centre."""
    classes: tuple[str, ...] | None = Field(None, min_length=1)
    """Names of the classes to keep, background left out; the others become background."""
    merge: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """New class name: the classes that it is made of."""
    group_by: str | None = None
    """Regular expression on the file stem; what its first group matches must not be parted by a split."""
    test: float | int = Field(0.2, ge=0)
    """Share (below 1) or number of test images."""
    validation: float | int = Field(0.2, ge=0)
    """Share of what the test split leaves (below 1), or number, of validation images."""
    max_defect_free: float | None = Field(None, ge=0)
    """Keep at most this many pairs without any foreground pixel, as a multiple of the others."""
    seed: int = Field(0, ge=0)
    """Seed of the split."""


class TrainConfig(StageConfig):
    """Training a diffusion model. `unet` comes from the preset unless given."""

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
    """Images a step."""
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
    num_train_timesteps: int = Field(1000, ge=20)
    """Length T of the diffusion process."""
    monitor_samples: int = Field(1000, ge=1)
    """The monitored loss is the mean over the last epochs that hold so many samples; 1 is a single epoch."""
    save_interval: Seconds = Field(300.0, gt=0)
    """Seconds between saves of what a resumed run needs."""
    sample_interval_steps: int | None = Field(None, ge=1)
    """Draw a few pictures into `samples/` every so many steps."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the network; `auto` takes bfloat16 where the hardware has it."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:1`."""
    seed: int = Field(0, ge=0)
    """Seed of the weights, order, t, noise, flips and drops."""

    @model_validator(mode="after")
    def _decay_needs_an_end(self) -> Self:
        if self.learning_rate_decay == "cosine" and self.steps is None:
            raise ValueError("learning_rate_decay 'cosine' needs steps, the step at which it reaches zero")
        return self


class FinetuneConfig(TrainConfig):
    """Fine-tuning: the same training from the raw weights of a model, with a fresh optimiser."""

    batch_size: int = Field(12, ge=1)
    """Images a step."""
    drop_rate: float = Field(0.2, ge=0, le=1)
    """Probability that a sample's whole semantic map is set to zero (the null map)."""


class SampleConfig(StageConfig):
    """Sampling a synthetic dataset."""

    num_samples: int = Field(1000, ge=1)
    """Number of synthetic pairs."""
    sampler: Sampler = "ddpm"
    """The method that walks from noise to image."""
    steps: int = Field(300, ge=1, le=1000)
    """Sampling steps, one or (with guidance) two passes through the network each."""
    timesteps: Timesteps = "respaced"
    """`respaced` keeps a subset of the trained timesteps; `rescaled` does as the paper's code did."""
    guidance: float = Field(1.5, ge=0)
    """Classifier-free guidance scale; 1 is off."""
    masks: Masks = "real"
    """Where the masks come from: the training masks, or those flipped, turned, scaled and moved."""
    batch_size: int = Field(16, ge=1)
    """Images sampled at a time; it does not change the pictures."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the network; `auto` takes bfloat16 where the hardware has it."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:1`."""
    seed: int = Field(0, ge=0)
    """Seed of the masks and of the noise."""

    @model_validator(mode="after")
    def _rescaled_needs_an_ancestral_sampler(self) -> Self:
        if self.timesteps == "rescaled" and self.sampler not in ("ddpm", "ddim"):
            raise ValueError(f"timesteps 'rescaled' goes with ddpm or ddim, not {self.sampler}; use 'respaced'")
        if self.timesteps == "rescaled" and self.steps < 20:
            raise ValueError(f"'rescaled' needs at least 20 steps, not {self.steps}: below, its beta exceeds 1")
        return self


class SegmenterConfig(StageConfig):
    """A downstream segmentation network and its training, as in the paper unless said otherwise."""

    encoder: str = "resnet34"
    """Any encoder name of segmentation_models_pytorch."""
    encoder_weights: str = "imagenet"
    """`imagenet`, `none`, or a file with the encoder's weights."""
    loss: Literal["dice", "dice+crossentropy"] = "dice"
    """Dice as in the paper, or with cross-entropy beside it, which helps encoders without pretraining."""
    learning_rate: float = Field(1e-4, gt=0)
    """Adam's learning rate."""
    batch_size: int = Field(2, ge=1)
    """Images a step."""
    epochs: int = Field(50, ge=1)
    """Passes over a row's training images (protocol `paper`), or over the largest mix (`equal-steps`)."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the network; `auto` takes bfloat16 where the hardware has it."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:1`."""


class AuditConfig(SegmenterConfig):
    """Auditing a synthetic dataset with a segmenter trained on the real training images."""

    architecture: str = "fpn"
    """The judging segmenter: unetplusplus, fpn, deeplabv3plus or another of segmentation_models_pytorch."""
    seed: int = Field(0, ge=0)
    """Seed of the segmenter and of the shuffled control."""


class EvaluateConfig(SegmenterConfig):
    """The study: grid of architectures, image counts and repeats."""

    architectures: tuple[str, ...] = Field(("unetplusplus", "fpn", "deeplabv3plus"), min_length=1)
    """Downstream networks."""
    real_counts: tuple[Count, ...] = Field((0, "all"), min_length=1)
    """Numbers of real training images; `all` of them."""
    synthetic_counts: tuple[Count, ...] = Field((0, 100, 400, "equal", 700, 1000), min_length=1)
    """Numbers of synthetic images; `equal` to the real training images, `all` that there are."""
    arms: tuple[Arm, ...] = Field(("plain",), min_length=1)
    """Treatment of the training images: plain, ordinarily augmented, or real ones duplicated instead."""
    repeats: int = Field(3, ge=1)
    """Trainings of each cell with other seeds and subsets."""
    protocol: Protocol = "paper"
    """`paper`: fixed epochs; `equal-steps`: every row trains as many steps as the largest mix."""
    seed: int = Field(0, ge=0)
    """Seed of subsets, initial weights and order."""


class ExperimentConfig(StageConfig):
    """All stages of one experiment file."""

    name: str = "experiment"
    """Name shown in the report."""
    seed: int = Field(0, ge=0)
    """Seed of every stage that does not set its own."""
    data: DataConfig
    """Options of `isdm data import`."""
    train: TrainConfig = TrainConfig()
    """Options of `isdm train`."""
    finetune: FinetuneConfig | None = None
    """Options of `isdm finetune`; left out, the stage is left out."""
    sample: SampleConfig = SampleConfig()
    """Options of `isdm sample`."""
    audit: AuditConfig | None = None
    """Options of `isdm audit`; left out, the stage is left out."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """Options of `isdm evaluate`."""


Config = TypeVar("Config", bound=StageConfig)


def build(kind: type[Config], values: Mapping[str, Any], *, where: str = "the options") -> Config:
    """Validate `values` as a `kind`.

    Raises:
        ConfigError: naming every wrong key with its value, the rule and, for an unknown key, the nearest one.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(_explain(kind, error, where)) from None


def _explain(kind: type[StageConfig], error: ValidationError, where: str) -> str:
    lines = []
    for problem in error.errors():
        path = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _keys_beside(kind, problem["loc"])
            nearest = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.5)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known keys: {', '.join(sorted(known))}"
            line = f"unknown key {path!r}; {hint}"
        elif problem["type"] == "missing":
            line = f"{path!r} is missing"
        else:
            rule = problem["msg"].removeprefix("Value error, ")
            line = f"{path} = {problem['input']!r}: {rule}" if path else rule
        if line not in lines:
            lines.append(line)
    return f"In {where}: " + "; ".join(lines) + "."


def _keys_beside(kind: type[StageConfig], location: Sequence[int | str]) -> list[str]:
    """Keys that the (sub-)model at `location` knows."""
    fields = kind.model_fields
    for part in location[:-1]:
        annotation = fields[str(part)].annotation if str(part) in fields else None
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        models = [kind for kind in candidates if isinstance(kind, type) and issubclass(kind, StageConfig)]
        if not models:
            break
        fields = models[0].model_fields
    return list(fields)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; an unreadable file is a `ConfigError` that names it."""
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; give the path of a YAML file.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold 'key: value' lines, not {type(values).__name__}.")
    return values


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Turn `key=value` and `part.key=value` into nested values, each value read as YAML."""
    values: dict[str, Any] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise ConfigError(f"--set {setting!r} must have the form key=value.")
        *parts, last = path.strip().split(".")
        inner = values
        for part in parts:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"--set {setting!r}: {part!r} was given a single value before.")
        try:
            inner[last] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(
                f"--set {setting!r}: the value cannot be read as YAML: {' '.join(str(error).split())}"
            ) from None
    return values


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested values; later layers win."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            old = result.get(key)
            both = isinstance(old, Mapping) and isinstance(value, Mapping)
            result[key] = merged(old, value) if both else value  # type: ignore[arg-type]
    return result


def with_preset(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the settings of the preset that `values` name (default `small`); explicit values win."""
    name = values.get("preset", TrainConfig.model_fields["preset"].default)
    file = resources.files("isdm.presets").joinpath(f"{name}.yaml")
    if not file.is_file():
        known = sorted(
            Path(entry.name).stem
            for entry in resources.files("isdm.presets").iterdir()
            if entry.name.endswith(".yaml")
        )
        raise ConfigError(f"preset {name!r} is unknown; choose one of {', '.join(known)}.")
    return merged(yaml.safe_load(file.read_text("utf-8")), values)
