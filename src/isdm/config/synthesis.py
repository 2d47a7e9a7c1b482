"""Options of sampling, selecting and auditing synthetic pairs."""

from typing import Literal, Self

from pydantic import Field, model_validator

from isdm.config.base import MOST_SEED, PathOption, Size, StageConfig, contradiction
from isdm.config.segmenter import SegmenterConfig
from isdm.config.training import Compile

Sampler = Literal["ddpm", "ddim", "dpmsolver++", "dpmsolver++-sde", "unipc"]
Timesteps = Literal["respaced", "rescaled"]
Masks = Literal["real", "augmented", "generated"]
Balance = Literal["none", "pixels", "objects"]
Background = Literal["generated", "real"]
Criterion = Literal["agreement", "features", "colour", "copies"]


class SampleConfig(StageConfig):
    """Sampling a synthetic dataset."""

    DROPPED = {"mask_model": None, "mask_steps": 2000}  # noqa: RUF012

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
    guidance_interval: tuple[float, float] = (0.0, 1000.0)
    """Guide only while t (0 clean, 1000 noise) lies within; elsewhere one pass is made instead of two."""
    masks: Masks = "real"
    """Where the masks come from: the training masks (`real`), those moved, bent and combined (`augmented`), or new
    ones made of their shapes (`generated`)."""
    balance: Balance = "none"
    """Choose masks so that real and synthetic classes together become even, by `pixels` or by `objects`."""
    balance_tolerance: float = Field(0.1, gt=0, lt=1)
    """Classes count as even when none has less than 1 - this of the most frequent one."""
    variants: int = Field(1, ge=1)
    """Pictures painted for each mask, for `isdm select --best-of`."""
    background: Background = "generated"
    """Paint the whole picture, or only the defect into a `real` picture without defects."""
    photographs: PathOption | None = None
    """Folder of pictures without defects for background `real`, painted into at their own size; without it, the
    training pairs without foreground."""
    window: Size | None = None
    """Pixels of a photograph that the network sees; without it, as many as the dataset's windows were cut of, or the
    largest crop of the network's shape."""
    painted_classes: tuple[str, ...] | None = Field(None, min_length=1)
    """Names of the classes to paint into a real background; without it, all but the background class."""
    blend: float = Field(0.03, ge=0, le=0.25)
    """Width of the seam between defect and background, as a share of the window's shorter side."""
    batch_size: int = Field(16, ge=1)
    """Images sampled at a time, fewer where memory does not suffice; it does not change the pictures."""
    compile: Compile = "auto"
    """Compile the network; `auto` does where it pays (see `isdm doctor`)."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the network; `auto` takes bfloat16 where the hardware has it."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:1`."""
    seed: int = Field(0, ge=0, le=MOST_SEED)
    """Seed of the masks and of the noise."""

    @model_validator(mode="after")
    def _interval_is_in_order(self) -> Self:
        low, high = self.guidance_interval
        if not 0 <= low <= high <= 1000:
            raise contradiction(f"guidance_interval = [{low:g}, {high:g}] must be ascending within 0 and 1000")
        return self

    @model_validator(mode="after")
    def _backgrounds_are_wanted(self) -> Self:
        if self.background == "generated" and (self.photographs is not None or self.window is not None):
            raise contradiction("photographs and window go with background 'real'; add --background real")
        if self.background == "generated" and self.painted_classes is not None:
            raise contradiction("painted_classes goes with background 'real'; add --background real")
        if self.window is not None and self.photographs is None:
            raise contradiction("window goes with photographs; give their folder with --photographs DIR")
        return self

    @model_validator(mode="after")
    def _noise_must_go(self) -> Self:
        if self.steps == 1 and self.sampler in ("ddpm", "ddim") and self.timesteps == "respaced":
            raise contradiction(
                f"steps = 1 of {self.sampler} visits t = 0 alone and leaves the noise; take 2 or more"
            )
        return self

    @model_validator(mode="after")
    def _rescaled_needs_an_ancestral_sampler(self) -> Self:
        if self.timesteps == "rescaled" and self.sampler not in ("ddpm", "ddim"):
            raise contradiction(f"timesteps 'rescaled' goes with ddpm or ddim, not {self.sampler}; use 'respaced'")
        if self.timesteps == "rescaled" and self.steps < 21:
            raise contradiction(
                f"'rescaled' needs at least 21 steps, not {self.steps}: below, its last beta reaches 1"
            )
        return self


class SelectConfig(SegmenterConfig):
    """Selecting synthetic pairs by an ensemble of segmenters and by the real data's own distribution."""

    encoder: str = "resnet18"
    """Encoder of the judging segmenters, any of segmentation_models_pytorch."""
    loss: Literal["dice", "dice+crossentropy"] = "dice+crossentropy"
    """Loss of the judging segmenters."""
    learning_rate: float = Field(1e-3, gt=0)
    """Adam's learning rate."""
    batch_size: int = Field(8, ge=1)
    """Images a step."""
    epochs: int = Field(8, ge=1)
    """Passes of each judging segmenter over its training images."""
    architectures: tuple[str, ...] = Field(("unet",), min_length=1)
    """Judging segmenters, one of each for every fold."""
    augment: bool = False
    """Flip, turn, scale, shift and relight the pictures that the judges train on, at random."""
    folds: int = Field(3, ge=2, le=10)
    """Parts of the real training set; each is judged by networks that trained on the others."""
    criteria: tuple[Criterion, ...] = ("agreement", "features", "colour", "copies")
    """What pairs are judged by; none drops no pair."""
    reject: float = Field(0.05, gt=0, lt=0.5)
    """Share of the real pairs that agreement, and likeness to a copy, would each reject: their quantile is the
    threshold. Features and colour drop what lies beyond the real pairs' outer fence."""
    best_of: int = Field(1, ge=1)
    """Keep the best of so many pictures of each mask (see `isdm sample --variants`)."""
    keep: int | None = Field(None, ge=1)
    """Keep at most so many pairs, those of the best scores."""
    doubt: float | None = Field(None, gt=1)
    """Ignore the pixels of kept pairs whose label costs the judges more than so many times the mean of its class, as
    1.25; null ignores none."""
    repair: bool = False
    """Give a pair that fails only by its agreement the mask that the ensemble sees, and flag it."""
    extractor: str = "auto"
    """Features: `auto`, `efficientnet-lite0`, `inception`, `timm:NAME`, `timm:NAME=FILE`, or `segmenter`."""
    seed: int = Field(0, ge=0, le=MOST_SEED)
    """Seed of folds and segmenters."""


class AuditConfig(SegmenterConfig):
    """Auditing a synthetic dataset with a segmenter trained on the real training images."""

    BEFORE = {"augment": False}  # noqa: RUF012

    architecture: str = "fpn"
    """The judging segmenter: unetplusplus, fpn, deeplabv3plus or another of segmentation_models_pytorch."""
    augment: bool = True
    """Flip, turn, scale, shift and relight the pictures that the judge trains on, at random."""
    extractor: str = "auto"
    """Features: `auto`, `efficientnet-lite0`, `inception`, `timm:NAME`, `timm:NAME=FILE`, or `segmenter`."""
    resamples: int = Field(200, ge=20)
    """Resamples of the confidence intervals; permutations of the copying test are ten times as many."""
    significance: float = Field(0.01, gt=0, lt=0.5)
    """p-value below which the audit says that the generator copies."""
    seed: int = Field(0, ge=0, le=MOST_SEED)
    """Seed of the segmenter, the shuffled control and the resamples."""
