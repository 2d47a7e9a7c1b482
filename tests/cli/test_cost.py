"""A dry run says of every stage what `isdm run` would do with it."""

import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from isdm import provenance
from isdm.cli import cost, main, measuring
from isdm.cli.app import app
from isdm.cli.experiment import read_experiment
from isdm.cli.measuring import Shape
from isdm.cli.recorded import wanted_stages
from isdm.config import TrainConfig, build
from isdm.signals import StopRequestedError, handlers_kept

VALUES: dict[str, Any] = {
    "data": {"source": "source"},
    "train": {"steps": 60},
    "sample": {"num_samples": 4},
    "audit": {},
    "evaluate": {"architectures": ["fpn", "unet"], "synthetic_counts": [0, 4], "real_counts": ["all"]},
}


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment's file, beside the records of its finished run in `run`; nothing is measured."""
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump(VALUES))
    for stage in wanted_stages(read_experiment(file)):
        provenance.begin(tmp_path / "run" / stage.folder, stage.key, stage.options, {})
        provenance.finish(tmp_path / "run" / stage.folder, stage.options, 1.0)
    monkeypatch.setattr(cost, "_shape", lambda *_: Shape((8, 8), 3, 2, 10))
    monkeypatch.setattr(cost, "train_step_seconds", lambda *_: pytest.fail("nothing is left to do"))
    monkeypatch.setattr(cost, "segmenter_step_seconds", lambda *_: pytest.fail("nothing is left to do"))
    monkeypatch.setattr("isdm.evaluation.cells.Cell.is_finished", lambda *_: True)
    monkeypatch.setenv("COLUMNS", "200")
    return file


def plan(file: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    app(["run", str(file), "--out", str(file.parent / "run"), "--dry-run", *more], standalone_mode=False)
    return capsys.readouterr().out


def test_of_a_finished_run_all_is_done(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = plan(finished, capsys)
    assert "refuse" not in told
    assert told.count(" done ") == 8
    assert "About 0 s on this machine; nothing was written." in told


def test_what_a_run_would_refuse_is_not_called_done(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ("--set", "sample.guidance=2", "--set", "evaluate.epochs=9")
    lines = plan(finished, capsys, *settings).splitlines()
    stages = {line.split("\u2502")[1].strip(): line for line in reversed(lines) if line.count("\u2502") > 2}
    assert "refused: sample.guidance was 1.5, now 2" in stages["sample"]
    assert "refused: evaluate.epochs was 50, now 9" in stages["evaluate"]
    assert sum("evaluate.epochs was" in line for line in lines) == 2, "in its first line, and in the summary"
    assert " done " in stages["train"]
    whole = " ".join(lines)
    assert "isdm run refuses this; nothing was written." in whole
    assert "give another --out" in whole
    assert "About" not in whole


def test_costs_follow_from_the_steps_that_are_left(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(finished.parent / "run")
    monkeypatch.setattr(cost, "train_step_seconds", lambda *_: 6.0)
    monkeypatch.setattr(cost, "segmenter_step_seconds", lambda *_: 0.0)
    lines = plan(finished, capsys).splitlines()
    assert any("at most 60 steps" in line and "6 min" in line for line in lines)
    # 4 images of 300 steps with two passes each, of which a step of 16 images is worth 48
    assert any("300 ddpm steps" in line and "5 min" in line for line in lines)


def test_a_processor_measures_two_images_and_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def one_second(step: Callable[[], object]) -> float:
        step()
        seen.append(step)
        return 1.0

    monkeypatch.setattr(measuring, "median_seconds", one_second)
    unet = {"base_channels": 8, "norm_groups": 2, "channel_multipliers": [1], "spade_channels": 8}
    config = build(TrainConfig, {"unet": unet, "batch_size": 16, "device": "cpu", "steps": 1})
    shape = Shape((8, 8), 1, 2, 10)
    assert measuring.train_step_seconds(config, shape) == 8.0
    assert measuring.train_step_seconds(config, shape) == 8.0
    assert len(seen) == 1
    assert "Measuring one training step…" in capsys.readouterr().err


def test_a_long_first_pass_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    for first, passes in ((measuring.LONG_SECONDS + 1, 1), (1.0, 1 + measuring.SAMPLED_PASSES)):
        times = iter([first, *[0.5] * measuring.SAMPLED_PASSES])
        done: list[float] = []
        monkeypatch.setattr(measuring, "_seconds", lambda _, times=times, done=done: done.append(1) or next(times))
        assert measuring.median_seconds(lambda: None) == (first if passes == 1 else 0.5)
        assert len(done) == passes


def test_an_interrupted_dry_run_does_not_say_that_something_is_saved(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise StopRequestedError(signal.SIGINT)

    monkeypatch.setattr(cost, "print_plan", interrupted)
    for more, told in ((["--dry-run"], "Nothing was written."), ([], "What is finished is saved")):
        monkeypatch.setattr("isdm.cli.run._run", interrupted)
        monkeypatch.setattr(sys, "argv", ["isdm", "run", str(finished), "--out", "run", *more])
        with handlers_kept(), pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code == 130
        assert f"Interrupted: {told}" in capsys.readouterr().err
