"""A dry run says of every stage what `isdm run` would do with it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from isdm import provenance
from isdm.cli import cost
from isdm.cli.app import app
from isdm.cli.experiment import read_experiment
from isdm.cli.recorded import wanted_stages

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
    monkeypatch.setattr(cost, "_shape", lambda *_: cost.Shape((8, 8), 3, 2, 10))
    monkeypatch.setattr(cost, "_train_step_seconds", lambda *_: 1.0)
    monkeypatch.setattr(cost, "_segmenter_step_seconds", lambda *_: 1.0)
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
