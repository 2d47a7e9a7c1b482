"""A run in a folder that was made with other options is refused while everything in it is as it was."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from isdm import provenance
from isdm.cli.app import app
from isdm.cli.experiment import read_experiment, run_experiment
from isdm.cli.recorded import changes, check_recorded, refusal, wanted_stages
from isdm.config import ExperimentConfig, build
from isdm.data.builtin import write_fruit_source
from isdm.errors import OutputError
from isdm.files import write_yaml

VALUES: dict[str, Any] = {
    "data": {"source": "source"},
    "train": {"steps": 60, "unet": {"norm_groups": 8}},
    "finetune": {"steps": 15},
    "sample": {"num_samples": 3},
    "audit": {},
}


def config(**changed: dict[str, Any] | None) -> ExperimentConfig:
    values = {stage: VALUES.get(stage, {}) | (changed.get(stage) or {}) for stage in {*VALUES, *changed}}
    return build(ExperimentConfig, {k: v for k, v in values.items() if changed.get(k, {}) is not None})


def make(run: Path, experiment: ExperimentConfig, *, until: str = "study") -> None:
    """Records as finished stages leave them."""
    for stage in wanted_stages(experiment):
        provenance.begin(run / stage.folder, stage.key, stage.options, {})
        provenance.finish(run / stage.folder, stage.options, 1.0)
        if stage.folder == until:
            break
    (run / "data" / "dataset.json").touch()
    write_yaml(run / "experiment.yaml", experiment.plain())


@pytest.fixture
def goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every training with another limit be one that would go on."""
    monkeypatch.setattr("isdm.training.diffusion.would_go_on", lambda *_: True)
    monkeypatch.setattr("isdm.data.dataset.SegmentationDataset", lambda folder: folder)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"data": {"source": "elsewhere"}},
        {"train": {"device": "cpu", "save_interval": 9}},
        {"sample": {"batch_size": 2}},
        {"evaluate": {"repeats": 9, "architectures": ["unet"], "synthetic_counts": [0]}},
        {"audit": None},
    ],
)
def test_what_a_stage_allows_to_change_stays_allowed(tmp_path: Path, changed: dict[str, Any]) -> None:
    make(tmp_path, config())
    assert refusal(changes(config(**changed), tmp_path), tmp_path) is None


@pytest.mark.parametrize(
    ("changed", "folder", "told"),
    [
        ({"data": {"test": 0.3}}, "data", "data.test was 0.2, now 0.3"),
        ({"train": {"unet": {"norm_groups": 32}}}, "model", "train.unet.norm_groups was 8, now 32"),
        ({"finetune": {"drop_rate": 0.5}}, "finetuned", "finetune.drop_rate was 0.2, now 0.5"),
        ({"sample": {"num_samples": 5}}, "synthetic", "sample.num_samples was 3, now 5"),
        ({"audit": {"epochs": 3}}, "audit", "audit.epochs was 50, now 3"),
        ({"evaluate": {"epochs": 3}}, "study", "evaluate.epochs was 50, now 3"),
        ({"finetune": None}, "finetuned", "finetune was given, now left out"),
        ({"select": {}}, "selected", "select was left out, now given"),
    ],
)
def test_every_other_change_is_refused_by_its_key(
    tmp_path: Path, changed: dict[str, Any], folder: str, told: str
) -> None:
    make(tmp_path, config())
    assert changes(config(**changed), tmp_path) == {folder: [told]}
    with pytest.raises(OutputError) as caught:
        check_recorded(config(**changed), tmp_path)
    first, remedy = str(caught.value).splitlines()
    assert first == f"{tmp_path} was made with other options: {told}."
    assert (f"--reuse {tmp_path}" in remedy) == (folder != "data"), "a study of other images is of no use"


def test_a_longer_training_is_refused_once_something_was_made_from_it(tmp_path: Path, goes_on: None) -> None:
    make(tmp_path, config(), until="model")
    assert changes(config(train={"steps": 80}), tmp_path) == {}
    make(tmp_path, config(), until="finetuned")
    assert changes(config(finetune={"steps": 20}), tmp_path) == {}
    assert changes(config(train={"steps": 80}), tmp_path) == {"model": ["train.steps was 60, now 80"]}
    make(tmp_path, config())
    message = refusal(changes(config(train={"steps": 80}), tmp_path), tmp_path)
    assert message is not None
    assert message.splitlines() == [
        f"{tmp_path} was made with other options: train.steps was 60, now 80.",
        f"Repeat the first run's options, or give another --out and, for what stays the same, --reuse {tmp_path}.",
        f"To train its model on there instead of anew, copy {tmp_path / 'model'} to the same place first.",
    ]


def test_a_stage_may_be_added_before_anything_follows_it(tmp_path: Path) -> None:
    make(tmp_path, config(), until="synthetic")
    assert refusal(changes(config(select={}), tmp_path), tmp_path) is None
    message = refusal(changes(config(sample={"num_samples": 5}), tmp_path), tmp_path)
    assert message is not None
    assert "--reuse" not in message, "there is no study yet"


def test_a_fold_names_the_folder_of_all(tmp_path: Path) -> None:
    make(tmp_path / "fold-0", config())
    message = refusal(changes(config(evaluate={"epochs": 3}), tmp_path / "fold-0"), tmp_path / "fold-0", tmp_path)
    assert message is not None
    assert message.startswith(f"{tmp_path / 'fold-0'} was made")
    assert message.endswith(f"--reuse {tmp_path}.")


@pytest.mark.slow
@pytest.mark.parametrize("folds", [None, 2])
def test_a_refused_run_leaves_the_folder_as_it_was(tmp_path: Path, folds: int | None) -> None:
    write_fruit_source(tmp_path / "source", num_fruits=8, num_views=2, size_px=32, seed=0)
    network = {"base_channels": 16, "norm_groups": 4, "channel_multipliers": [1, 2], "spade_channels": 8}
    judge = {"encoder": "resnet18", "encoder_weights": "none", "epochs": 1, "batch_size": 4}
    values = {
        "folds": folds,
        "data": {"source": "source", "group_by": r"(fruit\d+)", "test": 0.25, "validation": 0.25},
        "train": {"preset": "tiny", "unet": network, "steps": 4, "batch_size": 4},
        "sample": {"num_samples": 4, "sampler": "ddim", "steps": 2},
        "evaluate": judge | {"architectures": ["fpn"], "synthetic_counts": [0, 4], "real_counts": ["all"]},
    }
    values["evaluate"]["repeats"] = 2
    file, out = tmp_path / "experiment.yaml", tmp_path / "run"
    file.write_text(yaml.safe_dump(values))
    page = run_experiment(read_experiment(file), out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    part = [] if folds is None else ["--fold", "1"]
    for setting, told in (("steps=6", "steps was 4, now 6"), ("learning_rate=1", "learning_rate was 0.0")):
        with pytest.raises(OutputError, match=f"other options: train.{told}"):
            app(["run", str(file), "--out", str(out), "--set", f"train.{setting}"], standalone_mode=False)
        with pytest.raises(OutputError, match=f"other options: train.{told}"):
            app(["run", str(file), "--out", str(out), "--set", f"train.{setting}", *part], standalone_mode=False)
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert run_experiment(read_experiment(file, {"train": {"steps": 2}}), out) == page, "it has these steps already"
    assert run_experiment(read_experiment(file), out) == page
