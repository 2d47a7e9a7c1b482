"""What a studio works with: the model, the real dataset, the synthetic one, and where painted pairs go."""

from dataclasses import dataclass
from pathlib import Path

from isdm.data.dataset import DatasetInfo, SegmentationDataset
from isdm.errors import DataError
from isdm.hardware import select_device, select_dtype
from isdm.model_info import ModelInfo
from isdm.pipeline import SemanticDiffusionPipeline
from isdm.synthesis.generate import check_model
from isdm.training.checkpoint import weights_fingerprint

BACKGROUND = "background"


@dataclass(frozen=True)
class Bench:
    """Everything that is opened once, when the studio starts."""

    model: Path
    pipeline: SemanticDiffusionPipeline
    model_fingerprint: str
    info: DatasetInfo
    """Classes and form of what is painted."""
    dataset: SegmentationDataset | None
    """The real dataset that the model was trained on."""
    synthetic: SegmentationDataset | None
    """The synthetic dataset to judge."""
    out: Path
    """Where painted pairs go."""

    @property
    def model_info(self) -> ModelInfo:
        """What the network paints."""
        assert self.pipeline.info is not None
        return self.pipeline.info

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its pictures."""
        return self.model_info.image_size


def open_bench(model: Path, data: Path | None, synthetic: Path | None, out: Path, device: str) -> Bench:
    """Open a model, and the datasets that belong to it.

    Raises:
        ModelError: the folder is no model, or paints other classes than the dataset's.
        DataError: a dataset is none, or not of the kind that is asked for.
    """
    pipeline = SemanticDiffusionPipeline.from_pretrained(model)
    assert pipeline.info is not None
    dataset = None if data is None else SegmentationDataset(data)
    judged = None if synthetic is None else SegmentationDataset(synthetic)
    if dataset is not None:
        check_model(model, pipeline.info, dataset)
    if judged is not None and not judged.info.source.get("synthetic"):
        raise DataError(
            f"{synthetic} is no synthetic dataset; judge one that `isdm sample` made; the real one is --data."
        )
    place = select_device(device)
    pipeline.prepare(place, select_dtype("auto", place))
    return Bench(model, pipeline, weights_fingerprint(model), _info(pipeline.info, dataset), dataset, judged, out)


def _info(model: ModelInfo, dataset: SegmentationDataset | None) -> DatasetInfo:
    has_background = model.classes[0].name == BACKGROUND if dataset is None else dataset.info.has_background
    name = "painted" if dataset is None else dataset.info.name
    return DatasetInfo(name, model.classes, model.channels, model.bit_depth, has_background=has_background)
