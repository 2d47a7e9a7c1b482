"""Options of import and export, and of an experiment file that holds those of all stages."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from isdm.config.base import MOST_SEED, PathOption, Size, StageConfig, contradiction
from isdm.config.study import EvaluateConfig
from isdm.config.synthesis import AuditConfig, SampleConfig, SelectConfig
from isdm.config.training import FinetuneConfig, TrainConfig

Fit = Literal["stretch", "pad", "crop", "tile"]
MaskReading = Literal["auto", "ids", "binary", "colours", "instances", "alpha", "one-hot"]
ExportLayout = Literal["isdm", "coco", "voc", "ultralytics", "mmseg"]


class DataConfig(StageConfig):
    """Importing a dataset."""

    BEFORE = {"near_duplicates": False}  # noqa: RUF012

    source: PathOption
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
    ignore: tuple[str, ...] = ()
    """Names of classes whose pixels count for nothing, as nobody knows what they show; `__ignore__` always."""
    group_by: str | None = None
    """Regular expression on the file stem; what its first group matches must not be parted by a split."""
    groups: PathOption | None = None
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
    train: int | None = Field(None, ge=1)
    """Training images to keep, by whole groups; without it all that test and validation leave."""
    defect_free: PathOption | None = None
    """Folder of further pictures without any defect and without masks, for the training split."""
    max_defect_free: float | None = Field(None, ge=0)
    """Keep at most this many pairs without any foreground pixel, as a multiple of the others."""
    skip_bad: bool = False
    """Leave out pairs with a problem, and record which, instead of refusing the whole source."""
    seed: int = Field(0, ge=0, le=MOST_SEED)
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

    dataset: PathOption
    """Dataset folder, real or synthetic; rejected pairs are left out."""
    layout: ExportLayout
    """The form to write: isdm, coco, voc, ultralytics or mmseg."""


class ExperimentConfig(StageConfig):
    """All stages of one experiment file."""

    name: str = "experiment"
    """Name shown in the report."""
    seed: int = Field(0, ge=0, le=MOST_SEED)
    """Seed of every stage that does not set its own."""
    folds: int | None = Field(None, ge=2)
    """Cross-validation: every stage once for each fold, with a generator of its own, and their tests pooled."""
    data: DataConfig
    """Options of `isdm data import`."""
    train: TrainConfig = TrainConfig()
    """Options of `isdm train`."""
    finetune: FinetuneConfig | None = None
    """Options of `isdm finetune`; left out, the stage is left out."""
    sample: SampleConfig = SampleConfig()
    """Options of `isdm sample`."""
    select: SelectConfig | None = None
    """Options of `isdm select`; left out, the stage is left out."""
    audit: AuditConfig | None = None
    """Options of `isdm audit`; left out, the stage is left out."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """Options of `isdm evaluate`."""

    @model_validator(mode="after")
    def _folds_are_given_once(self) -> Self:
        if self.folds is not None and self.data.folds is not None:
            raise contradiction("folds runs all folds and data.folds a single one; give one of them")
        return self

    def candidates(self) -> SampleConfig:
        """What is sampled: with `select.best_of` so many pictures of each mask, `num_samples` being those wanted."""
        best_of = 1 if self.select is None else self.select.best_of
        sample = self.sample
        return sample.model_copy(
            update={"num_samples": sample.num_samples * best_of, "variants": sample.variants * best_of}
        )
