"""Curves: what TensorBoard reads back is what metrics.jsonl says."""

import json
from pathlib import Path
from typing import Any

import pytest

from isdm.config import TrainConfig, build
from isdm.data.dataset import SegmentationDataset
from isdm.errors import ConfigError
from isdm.training.diffusion import train
from isdm.training.trackers import FOLDER, Trackers, check_trackers

events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def read_back(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for file in folder.rglob("events.out.*"):
        reader = events.EventAccumulator(str(file)).Reload()
        for tag in reader.Tags()["scalars"]:
            found.setdefault(tag, []).extend((one.step, one.value) for one in reader.Scalars(tag))
    return found


def test_tensorboard_gets_the_numbers(tmp_path: Path) -> None:
    trackers = Trackers(["tensorboard"], "run", tmp_path)
    trackers.log({"loss": 0.5, "note": "no number"}, step=3)
    trackers.log({"loss": 0.25}, step=6)
    trackers.close()
    assert read_back(tmp_path / FOLDER) == {"loss": [(3, 0.5), (6, 0.25)]}


def test_a_training_that_goes_on_shows_its_curve_once(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path
) -> None:
    trained = tmp_path / "model"
    for epochs in (2, 4):
        config = build(TrainConfig, small | {"epochs": epochs, "monitor_samples": 1})
        train(config, fruit, trained)
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    shown = read_back(trained / FOLDER)
    assert [step for step, _ in sorted(shown["loss"])] == [line["step"] for line in lines]
    assert [value for _, value in sorted(shown["loss"])] == pytest.approx([line["loss"] for line in lines], rel=1e-5)


@pytest.mark.parametrize(("name", "rule"), [("tensorbord", "is unknown"), ("comet_ml", "is not installed")])
def test_trackers_that_are_not_there(name: str, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        check_trackers([name])
