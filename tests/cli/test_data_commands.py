"""`isdm data import` and `describe`, and what an experiment file says of its data."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from isdm.cli import main
from isdm.cli.cost import _shape
from isdm.cli.experiment import read_experiment
from isdm.data.dataset import SegmentationDataset


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Five grey pairs of 12 bits with instance maps, and two pictures without any defect."""
    for index in range(5):
        image = np.random.default_rng(index).integers(0, 4096, (8, 8), np.uint16)
        image[0, 0] = 4095
        save(tmp_path / "source" / "images" / f"{index}.png", image)
        save(tmp_path / "source" / "masks" / f"{index}.png", np.eye(8, dtype=np.uint8) * 255)
        save(tmp_path / "source" / "instances" / f"{index}.png", np.eye(8, dtype=np.uint16) * 300)
    for index in range(2):
        save(tmp_path / "clean" / f"clean{index}.png", np.full((8, 8), 1000 + index, np.uint16))
    return tmp_path / "source"


@pytest.fixture
def isdm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must succeed; gives its standard output."""

    def run(*arguments: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", ["isdm", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        assert not caught.value.code
        return capsys.readouterr().out

    return run


def test_import_and_describe(isdm: Callable[..., str], source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    printed = isdm("data", "import", source, out, "--defect-free", tmp_path / "clean", "--test", "1")
    assert printed.startswith("out: grey of 16 bits, 2 classes, instance maps\n")
    assert isdm("data", "describe", out) == printed
    dataset = SegmentationDataset(out)
    assert {"clean0", "clean1"} <= {pair.stem for pair in dataset.pairs("train")}
    assert len(dataset.pairs("test")) == 1


def test_folders_of_an_experiment_are_relative_to_its_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "experiment.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump({"data": {"source": "../source", "defect_free": "../clean"}}))
    data = read_experiment(path).data
    assert (data.source, data.defect_free) == (tmp_path / "source", tmp_path / "clean")
    path.write_text(yaml.safe_dump({"data": {"source": "../source"}}))
    assert read_experiment(path).data.defect_free is None


def test_a_plan_counts_pictures_without_defects(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    data = {"source": "source", "defect_free": "clean", "test": 1, "validation": 1}
    path.write_text(yaml.safe_dump({"data": data}))
    shape = _shape(read_experiment(path).data, tmp_path / "not-there-yet")
    assert (shape.num_train_images, shape.channels, shape.size) == (5 - 2 + 2, 1, (8, 8))
