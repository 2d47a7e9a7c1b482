"""Options of a downstream segmentation network and its training."""

from typing import Literal

from pydantic import Field

from isdm.config.base import StageConfig


class SegmenterConfig(StageConfig):
    """A downstream segmentation network and its training, as in the paper unless said otherwise."""

    encoder: str = "resnet34"
    """Any encoder name of segmentation_models_pytorch."""
    encoder_weights: str = "imagenet"
    """`imagenet`, `none`, or a file with the encoder's weights."""
    loss: Literal["dice", "dice+crossentropy"] = "dice"
    """Dice as in the paper, or with cross-entropy beside it, which helps encoders without pretraining."""
    batch_norm: Literal["running", "precise"] = "running"
    """What batch normalisation predicts with: the running averages of training, as usual, or averages measured anew
    over up to 512 training images before each validation, which trainings of a few hundred steps need."""
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
