"""Paint new images for given masks, make synthetic segmentation datasets, measure what they bring.

The public names are loaded when first used, so that importing `isdm` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from isdm.version import __version__

if TYPE_CHECKING:
    from isdm.data.dataset import SegmentationDataset
    from isdm.data.importing import import_dataset
    from isdm.models.unet import SemanticUNet
    from isdm.pipeline import SemanticDiffusionPipeline
    from isdm.training.diffusion import finetune, train

_HOME = {
    "SegmentationDataset": "isdm.data.dataset",
    "SemanticDiffusionPipeline": "isdm.pipeline",
    "SemanticUNet": "isdm.models.unet",
    "finetune": "isdm.training.diffusion",
    "import_dataset": "isdm.data.importing",
    "train": "isdm.training.diffusion",
}

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'isdm' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
