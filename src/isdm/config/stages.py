"""Options of the other stages, and of an experiment file that holds all of them."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from isdm.config.base import Size, StageConfig, contradiction
from isdm.config.training import Compile, FinetuneConfig, TrainConfig

Fit = Literal["stretch", "pad", "crop", "tile"]
MaskReading = Literal["auto", "ids", "binary", "colours", "instances", "alpha", "one-hot"]
Sampler = Literal["ddpm", "ddim", "dpmsolver++", "dpmsolver++-sde", "unipc"]
Timesteps = Literal["respaced", "rescaled"]
Masks = Literal["real", "augmented"]
Protocol = Literal["paper", "equal-steps"]
Arm = Literal["plain", "augmented", "duplicated"]
Count = int | Literal["all", "equal"]
ExportLayout = Literal["isdm", "coco", "voc", "ultralytics", "mmseg"]


class DataConfig(StageConfig):
    """Importing a dataset."""

    source: Path
    """Folder with the images and masks to import; it is never written to."""
    layout: str = "auto"
    """How the source is arranged: a layout's name, or `auto` to recognise it."""
    recipe: str | None = None
    """A published selection of classes and images of a known dataset, such as `lemons-blemish`."""
    masks: MaskReading = "auto"
    """What mask pixels mean, in layouts of image files; `auto` finds it from all masks and says what it found."""
    mask_threshold: int = Field(127, ge=0, le=254)
    """Mask values above it are foreground, where masks are `binary` or `alpha`."""
    size: Size | None = None
    """Size of the imported images, 256 or HEIGHTxWIDTH; without it they keep their own."""
    fit: Fit = "stretch"
    """How an image is brought to `size`: stretched, padded, cropped with its defects, or cut into tiles."""
    window: Size | None = None
    """Pixels of the source that a crop or tile spans; without it a crop is as large as fits and a tile is `size`."""
    classes: tuple[str, ...] | None = Field(None, min_length=1)
    """Names of the classes to keep, background left out; the others become background."""
    merge: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """New class name: the classes that it is made of."""
    group_by: str | None = None
    """Regular expression on the file stem; what its first group matches must not be parted by a split."""
    groups: Path | None = None
    """CSV file with the columns `name` (file stem) and `group`, in place of `group_by`."""
    near_duplicates: bool = True
    """Also keep pictures together that show the same thing, whatever the light; not where groups are given."""
    split_by: Literal["group", "image"] = "group"
    """`image` splits as if pictures had no groups, which lets test images leak into training: for comparison."""
    splits: Literal["source", "new"] = "source"
    """Keep the splits that the source itself has, or split anew."""
    folds: int | None = Field(None, ge=2)
    """Number of folds of a cross-validation; the test split is then the fold number `fold`."""
    fold: int = Field(0, ge=0)
    """Which of the folds is the test split, counted from 0."""
    test: float | int = Field(0.2, ge=0)
    """Share (below 1) or number of test images."""
    validation: float | int = Field(0.2, ge=0)
    """Share of what the test split leaves (below 1), or number, of validation images."""
    defect_free: Path | None = None
    """Folder of further pictures without any defect and without masks, for the training split."""
    max_defect_free: float | None = Field(None, ge=0)
    """Keep at most this many pairs without any foreground pixel, as a multiple of the others."""
    skip_bad: bool = False
    """Leave out pairs with a problem, and record which, instead of refusing the whole source."""
    seed: int = Field(0, ge=0)
    """Seed of the split."""

    @model_validator(mode="after")
    def _groups_come_from_one_place(self) -> Self:
        if self.group_by is not None and self.groups is not None:
            raise contradiction("group_by and groups exclude one another; give the expression or the file")
        return self

    @model_validator(mode="after")
    def _fold_exists(self) -> Self:
        if self.fold >= (self.folds or 1):
            raise contradiction(f"fold = {self.fold} must be below folds = {self.folds or 'none given'}")
        return self

    @model_validator(mode="after")
    def _windows_need_a_size(self) -> Self:
        if self.fit == "tile" and self.size is None:
            raise contradiction("fit 'tile' needs a size; give --size")
        if self.window is not None and (self.fit not in ("crop", "tile") or self.size is None):
            raise contradiction("window goes with fit 'crop' or 'tile' and a size")
        return self


class ExportConfig(StageConfig):
    """Exporting a dataset for other tools."""

    dataset: Path
    """Dataset folder, real or synthetic; rejected pairs are left out."""
    layout: ExportLayout
    """The form to write: isdm, coco, voc, ultralytics or mmseg."""


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
    guidance_interval: tuple[float, float] = (0.0, 1000.0)
    """Guide only while t (0 clean, 1000 noise) lies within; elsewhere one pass is made instead of two."""
    masks: Masks = "real"
    """Where the masks come from: the training masks, or those flipped, turned, scaled and moved."""
    batch_size: int = Field(16, ge=1)
    """Images sampled at a time, fewer where memory does not suffice; it does not change the pictures."""
    compile: Compile = "auto"
    """Compile the network; `auto` does where it pays (see `isdm doctor`)."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the network; `auto` takes bfloat16 where the hardware has it."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:1`."""
    seed: int = Field(0, ge=0)
    """Seed of the masks and of the noise."""

    @model_validator(mode="after")
    def _interval_is_in_order(self) -> Self:
        low, high = self.guidance_interval
        if not 0 <= low <= high <= 1000:
            raise contradiction(f"guidance_interval = [{low:g}, {high:g}] must be ascending within 0 and 1000")
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
