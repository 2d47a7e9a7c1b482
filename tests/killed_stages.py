"""Every stage with minute options, for the harness that kills them (`killing`)."""

from pathlib import Path
from typing import Any

from isdm.config import (
    AuditConfig,
    DataConfig,
    EvaluateConfig,
    FinetuneConfig,
    SampleConfig,
    SelectConfig,
    TrainConfig,
    TuneConfig,
    build,
    with_preset,
)
from isdm.data.builtin import write_fruit_source
from isdm.data.dataset import SegmentationDataset
from isdm.data.importing import import_dataset
from isdm.evaluation.executors import Execution
from isdm.evaluation.study import evaluate
from isdm.evaluation.tuning import tune
from isdm.report import report
from isdm.synthesis.audit import audit
from isdm.synthesis.generate import sample
from isdm.synthesis.select import select
from isdm.training.diffusion import finetune, train
from killing import Stage

SEGMENTER: dict[str, Any] = {
    "encoder": "resnet18",
    "encoder_weights": "none",
    "batch_size": 4,
    "epochs": 1,
    "precision": "float32",
    "device": "cpu",
}
TRAINING: dict[str, Any] = {
    "batch_size": 4,
    "save_interval": 0.2,
    "precision": "float32",
    "device": "cpu",
    "trackers": [],
}
NETWORK = {"base_channels": 16, "norm_groups": 4, "channel_multipliers": [1, 2], "spade_channels": 8, "dropout": 0.1}


def write_source(folder: Path) -> None:
    """The pictures that the import reads."""
    write_fruit_source(folder / "source", num_fruits=8, num_views=2, size_px=32, seed=0)


def import_(folder: Path) -> None:
    values = {"source": folder / "source", "group_by": r"(fruit\d+)", "test": 0.25, "validation": 0.25}
    import_dataset(build(DataConfig, values), folder / "data")


def train_(folder: Path) -> None:
    values = with_preset({"preset": "tiny", "unet": NETWORK, "steps": 40, **TRAINING})
    train(build(TrainConfig, values), SegmentationDataset(folder / "data"), folder / "model")


def finetune_(folder: Path) -> None:
    values = with_preset({"preset": "tiny", "unet": NETWORK, "steps": 20, **TRAINING})
    finetune(
        build(FinetuneConfig, values), folder / "model", SegmentationDataset(folder / "data"), folder / "finetuned"
    )


def sample_(folder: Path) -> None:
    values = {"num_samples": 24, "sampler": "dpmsolver++-sde", "steps": 3, "batch_size": 4, "precision": "float32"}
    sample(build(SampleConfig, values), folder / "model", SegmentationDataset(folder / "data"), folder / "synthetic")


def select_(folder: Path) -> None:
    # The networks have learnt next to nothing, so that nothing but the mildest rule is sure to leave pairs.
    values = {**SEGMENTER, "architectures": ["fpn"], "folds": 2, "criteria": ["agreement"], "reject": 0.05}
    sets = (SegmentationDataset(folder / name) for name in ("synthetic", "data"))
    select(build(SelectConfig, values), *sets, folder / "selected")


def audit_(folder: Path) -> None:
    sets = (SegmentationDataset(folder / name) for name in ("synthetic", "data"))
    audit(build(AuditConfig, {**SEGMENTER, "architecture": "fpn"}), *sets, folder / "audit")


def evaluate_(folder: Path, execution: Execution | None = None) -> None:
    values = {**SEGMENTER, "architectures": ["fpn"], "synthetic_counts": [0, 8], "repeats": 2, "trackers": []}
    sets = {"synthetic": SegmentationDataset(folder / "synthetic")}
    config = build(EvaluateConfig, values)
    evaluate(config, SegmentationDataset(folder / "data"), sets, folder / "study", execution=execution)


def evaluate_on_ray(folder: Path) -> None:
    evaluate_(folder, Execution(ray="auto"))


def tune_(folder: Path) -> None:
    values = {**SEGMENTER, "trials": 3, "synthetic_counts": [4, 8], "keep_shares": [1.0], "repeats": 1}
    sets = {"synthetic": SegmentationDataset(folder / "synthetic")}
    tune(build(TuneConfig, values), SegmentationDataset(folder / "data"), sets, folder / "tuned")


def report_(folder: Path) -> None:
    report(folder / "study")


STAGES = {
    "import": Stage("data", import_),
    "train": Stage("model", train_),
    "finetune": Stage("finetuned", finetune_),
    "sample": Stage("synthetic", sample_),
    "select": Stage("selected", select_),
    "audit": Stage("audit", audit_),
    "evaluate on Ray": Stage("study", evaluate_on_ray),
    "evaluate": Stage("study", evaluate_),
    "tune": Stage("tuned", tune_),
    "report": Stage("study", report_),
}
"""In their order: each reads what those before it have made."""
