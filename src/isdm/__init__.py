"""Paint new images for given masks, make synthetic segmentation datasets, measure what they bring.

The public names are loaded when first used, so that importing `isdm` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from isdm.version import __version__

if TYPE_CHECKING:
    from isdm.data.dataset import SegmentationDataset
    from isdm.data.exporting import export_dataset
    from isdm.data.importing import import_dataset
    from isdm.evaluation.study import evaluate
    from isdm.models.unet import SemanticUNet
    from isdm.pipeline import SemanticDiffusionPipeline
    from isdm.report import report
    from isdm.synthesis.audit import audit
    from isdm.synthesis.generate import sample
    from isdm.synthesis.select import select
    from isdm.training.diffusion import finetune, train

_HOME = {
    "SegmentationDataset": "isdm.data.dataset",
    "SemanticDiffusionPipeline": "isdm.pipeline",
    "SemanticUNet": "isdm.models.unet",
    "audit": "isdm.synthesis.audit",
    "evaluate": "isdm.evaluation.study",
    "export_dataset": "isdm.data.exporting",
    "finetune": "isdm.training.diffusion",
    "import_dataset": "isdm.data.importing",
    "sample": "isdm.synthesis.generate",
    "select": "isdm.synthesis.select",
    "train": "isdm.training.diffusion",
}

__all__ = [
    "SegmentationDataset",
    "SemanticDiffusionPipeline",
    "SemanticUNet",
    "__version__",
    "audit",
    "evaluate",
    "export_dataset",
    "finetune",
    "import_dataset",
    "report",
    "sample",
    "select",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "report":
        return import_module("isdm.report")  # the package, which can be called
    if name not in _HOME:
        raise AttributeError(f"module 'isdm' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
