import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from isdm.cli.app import app
from isdm.cli.cost import _shape
from isdm.cli.experiment import read_experiment, run_experiment
from isdm.cli.folds import run_fold
from isdm.config import ExperimentConfig
from isdm.data.builtin import write_fruit_source
from isdm.data.dataset import SegmentationDataset
from isdm.errors import ConfigError, DataError, OutputError, UsageError

ISDM = Path(sys.executable).parent / "isdm"
KILLED_WHEN_THERE_ARE = ("model/training/*", "synthetic/train/images/*.png")

EXPERIMENT = r"""
name: small
seed: 1
data: {source: source, group_by: '(fruit\d+)', test: 0.25, validation: 0.25}
train:
  preset: tiny
  unet: {base_channels: 16, norm_groups: 4, channel_multipliers: [1, 2], spade_channels: 8}
  steps: 30
  batch_size: 4
  save_interval: 0.5
  precision: float32
finetune: {steps: 6, batch_size: 4, save_interval: 0.5}
sample: {num_samples: 8, sampler: dpmsolver++-sde, steps: 4, batch_size: 2, precision: float32}
audit: &judge
  architecture: fpn
  encoder: resnet18
  encoder_weights: none
  batch_size: 4
  epochs: 1
  precision: float32
evaluate:
  <<: *judge
  architecture: null
  architectures: [fpn]
  synthetic_counts: [0, 8]
  repeats: 1
  protocol: equal-steps
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    write_fruit_source(tmp_path / "source", num_fruits=8, num_views=2, size_px=32, seed=0)
    values = yaml.safe_load(EXPERIMENT)
    del values["evaluate"]["architecture"]
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def command(*arguments: str | Path) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [str(ISDM), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


@pytest.mark.slow
def test_run_killed_again_and_again_ends_with_the_same_result(
    experiment: Path, tmp_path: Path, aside_of_dead_process: Callable[[Path], Path]
) -> None:
    undisturbed = command("run", experiment, "--out", tmp_path / "whole")
    text, _ = undisturbed.communicate(timeout=400)
    assert undisturbed.returncode == 0, text
    assert "Report:" in text
    for files in KILLED_WHEN_THERE_ARE:
        process = command("run", experiment, "--out", tmp_path / "killed")
        while not list((tmp_path / "killed").glob(files)):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (tmp_path / "killed" / "study").exists(), "it was killed on its way"
    aside_of_dead_process(tmp_path / "killed" / "experiment.yaml").write_text("half")
    last = command("run", experiment, "--out", tmp_path / "killed")
    text, _ = last.communicate(timeout=400)
    assert last.returncode == 0, text
    for model in ("model", "finetuned"):
        one, other = (
            load_file(tmp_path / name / model / "unet" / "diffusion_pytorch_model.safetensors")
            for name in ("whole", "killed")
        )
        assert all(torch.equal(one[key], other[key]) for key in one)
    whole, killed = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name / "synthetic" / "train").rglob("*.*")
        }
        for name in ("whole", "killed")
    )
    assert whole == killed
    columns = ["row", "architecture", "repeat", "class_id", "tp", "fp", "fn"]
    results = [pl.read_parquet(tmp_path / name / "study" / "results.parquet") for name in ("whole", "killed")]
    assert results[0].select(columns).equals(results[1].select(columns))
    assert not list(tmp_path.rglob(".aside-*")), "nothing half-written stays"
    assert (tmp_path / "killed" / "study" / "report" / "index.html").is_file()


@pytest.mark.slow
def test_dry_run_lists_the_work_and_writes_nothing(experiment: Path, tmp_path: Path) -> None:
    process = command("run", experiment, "--out", tmp_path / "planned", "--dry-run")
    text, _ = process.communicate(timeout=200)
    assert process.returncode == 0, text
    for stage in ("data import", "train", "finetune", "sample", "audit", "evaluate"):
        assert stage in text
    assert "About" in text
    assert not (tmp_path / "planned").exists()


def test_demo_samples_enough_for_its_grid(tmp_path: Path) -> None:
    from importlib import resources

    from isdm.cli.experiment import check_grid
    from isdm.cli.run import DEMO_NUM_FRUITS, DEMO_NUM_VIEWS
    from isdm.data.importing import import_dataset

    write_fruit_source(tmp_path / "source", num_fruits=DEMO_NUM_FRUITS, num_views=DEMO_NUM_VIEWS, size_px=16, seed=0)
    path = tmp_path / "demo.yaml"
    path.write_text(resources.files("isdm.cli").joinpath("demo.yaml").read_text("utf-8"))
    config = read_experiment(path)
    dataset = import_dataset(config.data, tmp_path / "data")
    check_grid(config, len(dataset.pairs("train")))


@pytest.mark.parametrize("seed", [-1, 2**63, "one", None])
def test_a_wrong_seed_is_told_once(experiment: Path, seed: object) -> None:
    with pytest.raises(ConfigError) as told:
        read_experiment(experiment, {"seed": seed})
    assert str(told.value).count("seed = ") == 1
    assert f"seed = {seed!r}" in str(told.value)


@pytest.mark.parametrize("value", ["four", [4], {"a": 4}, float("inf"), -4])
def test_a_batch_size_that_is_no_number_is_told_once(experiment: Path, value: object) -> None:
    values = yaml.safe_load(experiment.read_text())
    values["train"]["batch_size"], values["finetune"] = value, {"steps": 6}
    experiment.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError) as told:
        read_experiment(experiment)
    assert str(told.value).count("batch_size = ") == 1
    assert "train.batch_size = " in str(told.value)


def test_seed_goes_to_every_stage(experiment: Path) -> None:
    config = read_experiment(experiment)
    assert config.finetune is not None
    assert {config.data.seed, config.train.seed, config.finetune.seed, config.evaluate.seed} == {1}


def test_as_many_pictures_are_painted_as_selection_chooses_from(experiment: Path) -> None:
    assert read_experiment(experiment).candidates().num_samples == 8
    values = yaml.safe_load(experiment.read_text())
    experiment.write_text(yaml.safe_dump(values | {"select": {"best_of": 3}}))
    config = read_experiment(experiment)
    assert (config.candidates().num_samples, config.candidates().variants) == (24, 3)
    assert config.select is not None
    assert config.select.seed == 1


def test_folders_are_relative_to_the_file(experiment: Path) -> None:
    values = yaml.safe_load(experiment.read_text())
    values["sample"] |= {"background": "real", "photographs": "good"}
    experiment.write_text(yaml.safe_dump(values))
    config = read_experiment(experiment)
    assert config.sample.photographs == experiment.parent / "good"
    assert config.data.source == experiment.parent / "source"


@pytest.mark.slow
def test_selection_is_a_stage(experiment: Path, tmp_path: Path) -> None:
    values = yaml.safe_load(experiment.read_text())
    judges = {"encoder_weights": "none", "epochs": 1, "folds": 2, "precision": "float32", "criteria": ["copies"]}
    values["select"] = judges | {"best_of": 2, "extractor": "segmenter"}
    values["evaluate"]["synthetic_counts"] = [0, "all"]
    run_experiment(build_experiment(experiment, values), tmp_path / "run")
    selected = SegmentationDataset(tmp_path / "run" / "selected")
    kept = len(selected.pairs("train"))
    assert 0 < kept <= 8
    assert len(SegmentationDataset(tmp_path / "run" / "synthetic").pairs("train")) == 16
    results = pl.read_parquet(tmp_path / "run" / "study" / "results.parquet")
    assert set(results["num_synthetic_images"]) == {0, kept}
    assert (tmp_path / "run" / "audit" / "index.html").is_file()
    page = (tmp_path / "run" / "study" / "report" / "index.html").read_text()
    assert "selection" in page


@pytest.mark.slow
def test_a_cross_validation_tests_every_picture_once(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = yaml.safe_load(experiment.read_text())
    values["folds"] = 2
    values["train"]["steps"], values["finetune"]["steps"] = 4, 2
    values["evaluate"] |= {"repeats": 2, "synthetic_counts": [0, "equal"], "primary": {"synthetic": "equal"}}
    del values["audit"]
    page = run_experiment(build_experiment(experiment, values), tmp_path / "run")
    folds = [SegmentationDataset(tmp_path / "run" / f"fold-{fold}" / "data") for fold in (0, 1)]
    tested = [{pair.stem for pair in dataset.pairs("test")} for dataset in folds]
    assert len(tested[0] | tested[1]) == 16
    assert not tested[0] & tested[1]
    models = [tmp_path / "run" / f"fold-{fold}" / "model" / "isdm.json" for fold in (0, 1)]
    assert models[0].read_text() != models[1].read_text()
    counts = pl.read_parquet(tmp_path / "run" / "study" / "counts.parquet")
    assert counts["group"].n_unique() == 8
    text = page.read_text("utf-8")
    assert "cross-validation of 2 folds" in text
    assert "2 generators, one for each fold" in text
    assert "named before any test score was read" in text
    again = run_experiment(build_experiment(experiment, values), tmp_path / "run")
    assert again == page
    with pytest.raises(DataError, match=r"--reuse .*nowhere has no fold with a study"):
        run_experiment(build_experiment(experiment, values), tmp_path / "other", reuse=tmp_path / "nowhere")
    assert not (tmp_path / "other" / "fold-0" / "model").exists(), "told before hours of training"
    values["train"]["steps"] = 5
    (tmp_path / "half" / "fold-1").mkdir(parents=True)
    (tmp_path / "half" / "fold-1" / "study").symlink_to(tmp_path / "run" / "fold-1" / "study")
    capsys.readouterr()
    run_fold(build_experiment(experiment, values), 0, tmp_path / "other", reuse=tmp_path / "half")
    assert "half has no study of fold 0; all of its cells are trained." in capsys.readouterr().err
    shutil.rmtree(tmp_path / "other" / "fold-0" / "study")
    run_experiment(build_experiment(experiment, values), tmp_path / "other", reuse=tmp_path / "run")
    said = capsys.readouterr().err
    for number in (0, 1):
        study = tmp_path / "run" / f"fold-{number}" / "study"
        assert f"2 of 6 cells to train are those of {study}" in said, "those of real images alone"
    assert "same options, and taken from there" not in said, "the generator has other steps"
    values["train"]["steps"], values["evaluate"]["repeats"] = 4, 1
    run_experiment(build_experiment(experiment, values), tmp_path / "fewer", reuse=tmp_path / "run")
    said = capsys.readouterr().err
    for number in (0, 1):
        fold = tmp_path / "run" / f"fold-{number}"
        assert f"model, finetuned, synthetic: finished in {fold} with the same options, and taken from there" in said
        assert f"3 of 3 cells to train are those of {fold / 'study'}" in said
        taken = tmp_path / "fewer" / f"fold-{number}" / "model" / "isdm.json"
        assert taken.read_bytes() == models[number].read_bytes()


@pytest.mark.slow
def test_folds_run_apart_and_come_home(experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = yaml.safe_load(experiment.read_text())
    values["folds"] = 2
    values["train"]["steps"], values["finetune"]["steps"] = 4, 2
    values["evaluate"] |= {"repeats": 2}
    del values["audit"]
    experiment.write_text(yaml.safe_dump(values))
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "run"
    fold("0", experiment, elsewhere)
    assert f"Fold 0 is finished, 1 of 2 in {elsewhere}." in capsys.readouterr().out
    assert not (elsewhere / "fold-1").exists()
    for name in ("experiment.yaml", "study"):
        target = out / "fold-0" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / "fold-0" / name).rename(target)
    values["data"]["source"] = str(tmp_path / "source")  # where the data lie is a machine's own affair
    config = build_experiment(experiment, values)
    before = (out / "fold-0" / "study" / "provenance.json").read_bytes()
    fold("1", experiment, out)
    assert f"isdm run {experiment} --out {out} pools them." in capsys.readouterr().out
    page = run_experiment(config, out)
    assert not (out / "fold-0" / "model").exists(), "what came from elsewhere is taken as it is"
    assert (out / "fold-0" / "study" / "provenance.json").read_bytes() == before
    counts = pl.read_parquet(out / "study" / "counts.parquet")
    assert counts["group"].n_unique() == 8
    assert "1 fold<" in page.read_text("utf-8"), "only one fold tells what its stages took"
    values["train"]["steps"] = 5
    with pytest.raises(OutputError, match=r"fold-0 comes from another experiment .*remove it"):
        run_experiment(build_experiment(experiment, values), out)


def test_the_study_of_a_fold_without_its_experiment(experiment: Path, tmp_path: Path) -> None:
    experiment.write_text(f"folds: 2\n{experiment.read_text()}")
    study = tmp_path / "run" / "fold-1" / "study"
    study.mkdir(parents=True)
    (study / "provenance.json").write_text('{"stage": "evaluate", "config": {}, "inputs": {}, "finished": true}')
    with pytest.raises(OutputError, match=r"fold-1 has a finished study but no experiment\.yaml"):
        fold("1", experiment, tmp_path / "run")


def test_a_plan_counts_the_pairs_that_an_import_keeps(experiment: Path, tmp_path: Path) -> None:
    values = yaml.safe_load(experiment.read_text())
    source = experiment.parent / "source"
    masks = sorted((source / "masks").iterdir())
    for number, path in enumerate(masks):  # 4 of 16 views show a defect
        Image.fromarray(np.full((32, 32), number < 4, np.uint8)).save(path)
    values["data"] |= {"max_defect_free": 1.0, "group_by": None}
    # Of 8 pairs; validation is a part of what is no test.
    for given, kept in (({}, 4), ({"folds": 2}, 3), ({"train": 2}, 2)):
        values["data"] |= given
        experiment.write_text(yaml.safe_dump(values))
        assert _shape(read_experiment(experiment).data, tmp_path / "none").num_train_images == kept


def test_a_plan_misses_a_folder_of_good_parts_as_the_import_does(experiment: Path, tmp_path: Path) -> None:
    config = read_experiment(experiment, {"data": {"defect_free": "goood"}})
    with pytest.raises(DataError, match=r"defect_free = .*goood is not a folder"):
        _shape(config.data, tmp_path / "none")


def test_settings_win_over_the_file_and_its_seed(experiment: Path) -> None:
    plain = read_experiment(experiment)
    changed = read_experiment(experiment, {"seed": 5, "data": {"train": 4}, "evaluate": {"architectures": ["unet"]}})
    assert (changed.seed, changed.sample.seed, changed.evaluate.seed) == (5, 5, 5)
    assert changed.data == plain.data.model_copy(update={"seed": 5, "train": 4})
    assert changed.evaluate.architectures == ("unet",)
    assert changed.evaluate.repeats == plain.evaluate.repeats


@pytest.mark.parametrize("setting", ["data.trian=3", "seeed=1", "sample.steps=0", "nonsense"])
def test_wrong_settings_are_wrong_usage(experiment: Path, tmp_path: Path, setting: str) -> None:
    arguments = ["run", str(experiment), "--out", str(tmp_path / "run"), "--dry-run", "--set", setting]
    with pytest.raises(UsageError, match="--set"):
        app(arguments, standalone_mode=False)


def fold(number: str, experiment: Path, out: Path) -> None:
    app(["run", str(experiment), "--out", str(out), "--fold", number], standalone_mode=False)


@pytest.mark.parametrize(
    ("folds", "number", "message"),
    [
        (None, "0", "needs folds in the experiment file"),
        (2, "2", "must be from 0 to 1"),
        (2, "-1", "must be from 0 to 1"),
    ],
)
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_fold_that_is_not_there(
    experiment: Path, tmp_path: Path, folds: int | None, number: str, message: str, more: tuple[str, ...]
) -> None:
    values = yaml.safe_load(experiment.read_text())
    experiment.write_text(yaml.safe_dump(values | ({} if folds is None else {"folds": folds})))
    command = ["run", str(experiment), "--out", str(tmp_path / "run"), "--fold", number, *more]
    with pytest.raises(UsageError, match=message):
        app(command, standalone_mode=False)
    assert not (tmp_path / "run").exists()


def build_experiment(path: Path, values: dict[str, Any]) -> ExperimentConfig:
    path.write_text(yaml.safe_dump(values))
    return read_experiment(path)


def test_finetuning_inherits_the_training(experiment: Path) -> None:
    config = read_experiment(experiment)
    assert config.finetune is not None
    assert config.finetune.unet == config.train.unet
    assert config.finetune.learning_rate == config.train.learning_rate
    assert config.finetune.drop_rate == 0.2


def test_misspelt_key_names_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text("data: {source: x}\ntrain: {learning_rte: 0.1}\n")
    with pytest.raises(ConfigError, match="learning_rate"):
        read_experiment(path)


@pytest.mark.parametrize(
    "example", sorted((Path(__file__).parents[2] / "examples").glob("*.yaml")), ids=lambda p: p.name
)
def test_examples_are_valid(example: Path) -> None:
    read_experiment(example)
