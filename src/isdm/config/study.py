"""Options of the study: which segmenters are trained on what, and what they are compared with."""

from typing import Annotated, Literal

from pydantic import Field

from isdm.config.base import MOST_SEED, StageConfig
from isdm.config.segmenter import SegmenterConfig

Protocol = Literal["paper", "equal-steps"]
Arm = Literal[
    "plain",
    "augmented",
    "synthetic-first",
    "synthetic-first+augmented",
    "duplicated",
    "duplicated+augmented",
    "pasted",
    "pasted+augmented",
]
Count = int | Literal["all", "equal"]


def added_images(arm: str) -> Literal["synthetic", "duplicated", "pasted"]:
    """What the added images of an arm are: synthetic, or made of real ones."""
    kind = arm.partition("+")[0]
    return "duplicated" if kind == "duplicated" else "pasted" if kind == "pasted" else "synthetic"


def is_synthetic_first(arm: str) -> bool:
    """Whether an arm takes synthetic and real images one after the other instead of mixed."""
    return arm.startswith("synthetic-first")


def is_augmented(arm: str) -> bool:
    """Whether an arm flips, turns and relights its training images at random."""
    return arm.endswith("augmented")


class PrimaryContrast(StageConfig):
    """The one comparison that the study is made for, named before any test score is read.

    The row is compared with the same real images without synthetic ones, in each architecture.
    """

    real: Count = "all"
    """Number of real training images."""
    synthetic: Count = "equal"
    """Number of synthetic images added to them."""
    arm: Arm | None = None
    """Treatment of the training images; the baseline's unless given."""
    synthetic_set: str | None = None
    """Name of the synthetic set; needed where there are several."""


class EvaluateConfig(SegmenterConfig):
    """The study: grid of architectures, image counts and repeats."""

    architectures: tuple[str, ...] = Field(("unetplusplus", "fpn", "deeplabv3plus"), min_length=1)
    """Downstream networks: the paper's three, or any other of segmentation_models_pytorch."""
    real_counts: tuple[Count, ...] = Field((0, "all"), min_length=1)
    """Numbers of real training images; `all` of them."""
    learning_curve: tuple[Annotated[int, Field(gt=0)], ...] = ()
    """Smaller numbers of real images to train on alone, so that a gain can be expressed in real images."""
    synthetic_counts: tuple[Count, ...] = Field((0, 100, 400, "equal", 700, 1000), min_length=1)
    """Numbers of synthetic images; `equal` to the real training images, `all` that there are."""
    arms: tuple[Arm, ...] = Field(("plain",), min_length=1)
    """Treatment of the training images: as they are (`plain`) or ordinarily `augmented`; instead of a mix the
    synthetic ones first and the real ones after them (`synthetic-first`); instead of synthetic images real ones again
    (`duplicated`) or with their objects cut out and `pasted` elsewhere; the last three with augmentation or not."""
    baseline: Literal["plain", "augmented"] | None = None
    """Treatment of the real images alone that all else is compared with; plain unless given."""
    primary: PrimaryContrast | None = None
    """The comparison named beforehand, which alone is tested; without it all are, corrected for their number."""
    repeats: int = Field(3, ge=1)
    """Trainings of each cell with other seeds and subsets."""
    protocol: Protocol = "paper"
    """`paper`: fixed epochs; `equal-steps`: every row trains as many steps as the largest mix."""
    trackers: tuple[str, ...] = ("tensorboard",)
    """Where finished cells are shown: tensorboard (below `logs/`), wandb, mlflow and others that Accelerate knows."""
    allow_leaks: bool = False
    """Go on where synthetic pairs or test images leak, and say so on every page, instead of refusing."""
    seed: int = Field(0, ge=0, le=MOST_SEED)
    """Seed of subsets, initial weights and order."""


class TuneConfig(SegmenterConfig):
    """Searching for the best mix on the validation images, then one study of it on the test images."""

    architectures: tuple[str, ...] = Field(("fpn",), min_length=1)
    """Networks whose mean validation IoU is maximised."""
    trials: int = Field(20, ge=1)
    """Mixes to try in all; started again with more, the search goes on."""
    real_counts: tuple[Count, ...] = Field(("all",), min_length=1)
    """Numbers of real images to choose from; a set may only join as many as its generator saw, or more."""
    synthetic_counts: tuple[Count, ...] = Field((0, 100, 400, "equal", "all"), min_length=1)
    """Numbers of synthetic images to choose from."""
    arms: tuple[Literal["plain", "augmented"], ...] = Field(("plain", "augmented"), min_length=1)
    """Treatments of the training images to choose from."""
    keep_shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field((1.0, 0.75, 0.5), min_length=1)
    """Shares of a selected set to choose from: its best pairs by agreement with their masks."""
    storage: str | None = None
    """Database of Optuna for a team, such as a PostgreSQL address; a file in the output folder unless given."""
    repeats: int = Field(3, ge=1)
    """Trainings of each cell in the closing study."""
    seed: int = Field(0, ge=0, le=MOST_SEED)
    """Seed of the search and the trainings."""
