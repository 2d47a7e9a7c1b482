"""Folders of other versions: older ones are read and gone on with, newer ones refused with the remedy.

The older forms are those that the history of this package really had: what was added since is taken away again.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from isdm import provenance
from isdm.config import (
    DataConfig,
    EvaluateConfig,
    ExperimentConfig,
    FinetuneConfig,
    SampleConfig,
    TrainConfig,
    build,
    with_preset,
)
from isdm.data.dataset import DatasetInfo, SegmentationDataset
from isdm.errors import IsdmError, OutputError
from isdm.model_info import ModelInfo
from isdm.pipeline import SemanticDiffusionPipeline
from isdm.report.study_files import read_study
from isdm.training import checkpoint
from isdm.training.diffusion import train

GAINED = {
    "learning_rate_decay", "monitor_samples", "images", "instances", "noise_schedule", "prediction", "loss_weighting",
    "monitor", "grid_interval_steps", "holdout", "stop_on_copying", "checkpoint_activations", "compile", "trackers",
}  # fmt: skip
"""Options of a training that the first version did not have."""
COUNTED = {
    "step", "seconds", "epoch", "epoch_losses", "epoch_samples", "best_loss", "best_step", "metrics",
}  # fmt: skip
"""What the first version counted."""


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def small(steps: int) -> TrainConfig:
    unet = {"base_channels": 8, "norm_groups": 4, "channel_multipliers": [1], "spade_channels": 8}
    values = {"preset": "tiny", "unet": unet, "batch_size": 4, "precision": "float32", "device": "cpu"}
    return build(TrainConfig, with_preset(values | {"steps": steps, "monitor_samples": 1}))


@pytest.fixture(scope="module")
def trained(fruit: SegmentationDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder in the first version's form, two steps trained."""
    out = tmp_path_factory.mktemp("first") / "model"
    train(small(2), fruit, out)

    def without_what_was_gained(record: dict[str, Any]) -> None:
        record["config"] = {key: value for key, value in record["config"].items() if key not in GAINED}
        del record["format_version"]

    rewrite(out / "provenance.json", without_what_was_gained)
    rewrite(out / "isdm.json", lambda info: info.pop("instances"))
    state = torch.load(out / checkpoint.STATE, weights_only=True)
    del state["format_version"]
    state["counters"] = {key: value for key, value in state["counters"].items() if key in COUNTED}
    torch.save(state, out / checkpoint.STATE)
    return out


def test_a_training_of_the_first_version_goes_on(fruit: SegmentationDataset, trained: Path) -> None:
    train(small(3), fruit, trained)
    state = checkpoint.read_state(trained)
    assert state is not None
    assert (state["counters"]["step"], state["counters"]["samples"]) == (3, 12)
    assert state["format_version"] == checkpoint.STATE_FORMAT_VERSION
    info = SemanticDiffusionPipeline.from_pretrained(trained).info
    assert info is not None
    assert not info.instances


@pytest.mark.parametrize("config", [TrainConfig(), FinetuneConfig(), SampleConfig(), EvaluateConfig()])
def test_a_record_without_an_option_counts_as_its_default(tmp_path: Path, config: Any) -> None:
    """Whichever option a later version gains, the folder goes on, unless the version before acted otherwise."""
    for option, value in config.plain().items():
        old = {key: kept for key, kept in config.plain().items() if key != option}
        folder = tmp_path / option
        provenance.begin(folder, "stage", old, {})
        if config.BEFORE.get(option, value) == value:
            assert provenance.begin(folder, "stage", config, {}) == "unfinished"
        else:
            with pytest.raises(OutputError, match=f"{option} was {config.BEFORE[option]}, now {value}"):
                provenance.begin(folder, "stage", config, {})


def test_an_option_within_an_option_counts_too(tmp_path: Path) -> None:
    old = TrainConfig().plain()
    del old["unet"]["spade_resize"]
    provenance.begin(tmp_path / "model", "train", old | {"monitor_samples": 1000}, {})
    assert provenance.begin(tmp_path / "model", "train", TrainConfig(), {}) == "unfinished"


def test_an_option_within_a_stage_that_need_not_be_there_counts_too() -> None:
    values = build(ExperimentConfig, {"data": {"source": "photos"}, "audit": {"augment": False}}).plain()
    old = {**values, "audit": {name: value for name, value in values["audit"].items() if name != "augment"}}
    assert ExperimentConfig.completed(old) == values
    assert ExperimentConfig.completed(values | {"audit": None})["audit"] is None


def test_an_import_before_near_duplicates_were_seen_is_not_taken_for_one_after(tmp_path: Path) -> None:
    values = build(DataConfig, {"source": "photos"}).plain()
    del values["near_duplicates"]
    provenance.begin(tmp_path / "data", "data import", values, {})
    with pytest.raises(OutputError, match="near_duplicates was false, now true"):
        provenance.begin(tmp_path / "data", "data import", build(DataConfig, {"source": "photos"}), {})
    as_before = build(DataConfig, {"source": "photos", "near_duplicates": False})
    assert provenance.begin(tmp_path / "data", "data import", as_before, {}) == "unfinished"


def test_options_that_were_dropped_count_where_they_were_used(tmp_path: Path) -> None:
    unused = SampleConfig().plain() | {"mask_model": None, "mask_steps": 2000}
    provenance.begin(tmp_path / "a", "sample", unused, {})
    assert provenance.begin(tmp_path / "a", "sample", SampleConfig(), {}) == "unfinished"
    provenance.begin(tmp_path / "b", "sample", unused | {"mask_model": "masks"}, {})
    with pytest.raises(OutputError, match="mask_model was masks, now not given"):
        provenance.begin(tmp_path / "b", "sample", SampleConfig(), {})


def test_a_dataset_and_a_study_of_the_first_version_are_read(fruit: SegmentationDataset, tmp_path: Path) -> None:
    fruit.info.write(tmp_path)
    rewrite(tmp_path / "dataset.json", lambda info: [info.pop(key) for key in ("has_background", "format_version")])
    assert DatasetInfo.read(tmp_path) == fruit.info
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"name": "first", "classes": [], "config": {}}))
    facts = read_study(tmp_path / "study.yaml")
    assert (facts["folds"], facts["leaks"], facts["primary_row"]) == (1, [], None)


NEWER: dict[str, Callable[[Path], object]] = {
    "dataset.json": lambda path: DatasetInfo.read(path.parent),
    "isdm.json": lambda path: ModelInfo.read(path.parent),
    "provenance.json": lambda path: provenance.read(path.parent),
    "study.yaml": read_study,
    "training/state.pt": lambda path: checkpoint.read_state(path.parents[1]),
}


@pytest.mark.parametrize("name", NEWER)
def test_what_a_newer_version_wrote_is_refused_with_the_remedy(
    fruit: SegmentationDataset, trained: Path, tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(trained, tmp_path / "model")
    fruit.info.write(folder)
    (folder / "study.yaml").write_text("{}")
    path = folder / name
    if path.suffix == ".pt":
        torch.save(torch.load(path, weights_only=True) | {"format_version": 2}, path)
    else:
        path.write_text(json.dumps(yaml.safe_load(path.read_text()) | {"format_version": 2}))
    with pytest.raises(IsdmError, match=r"has format version 2, of a newer isdm; .* reads up to 1\. Install a newer"):
        NEWER[name](path)


@pytest.mark.parametrize("version", [0, -1, 1.5, "1", None, True])
def test_a_version_that_no_isdm_writes(fruit: SegmentationDataset, tmp_path: Path, version: object) -> None:
    fruit.info.write(tmp_path)
    rewrite(tmp_path / "dataset.json", lambda info: info.update(format_version=version))
    with pytest.raises(IsdmError, match="which no isdm writes"):
        DatasetInfo.read(tmp_path)
