"""Other processes and a Ray cluster train the same cells; a worker that dies costs the cell it was at."""

import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from isdm.config import EvaluateConfig, build
from isdm.data.dataset import SegmentationDataset
from isdm.errors import ConfigError
from isdm.evaluation import executors
from isdm.evaluation.cells import Cell
from isdm.evaluation.executors import Execution
from isdm.evaluation.study import evaluate
from quick_networks import QUICK

GRID: dict[str, Any] = {
    **QUICK,
    "architectures": ["fpn"],
    "real_counts": ["all"],
    "synthetic_counts": [0, 3],
    "arms": ["plain", "duplicated", "pasted"],
    "repeats": 2,
}
NUM_CELLS = 6


def study(fruit: SegmentationDataset, out: Path, execution: Execution | None = None) -> dict[str, Any]:
    """Counts of every cell of a study."""
    evaluate(build(EvaluateConfig, GRID), fruit, {}, out, execution=execution)
    cells = {
        path.relative_to(out).as_posix(): json.loads(path.read_text()) for path in out.glob("cells/*/[!.]*.json")
    }
    assert len(cells) == NUM_CELLS
    return {name: cell["counts"] for name, cell in cells.items()}


@pytest.fixture(scope="module")
def expected(fruit: SegmentationDataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return study(fruit, tmp_path_factory.mktemp("here") / "study")


@pytest.mark.slow
def test_processes_train_the_same_cells_though_one_is_killed(
    fruit: SegmentationDataset, expected: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killed: list[int] = []

    def kill_one() -> None:
        while not list((tmp_path / "study").glob("cells/*/[!.]*.json")):
            time.sleep(0.01)
        victim = multiprocessing.active_children()[0].pid
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        killed.append(victim)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    found = study(fruit, tmp_path / "study", Execution(jobs=2))
    killer.join(10)
    assert killed
    assert "A worker was lost" in capsys.readouterr().err
    assert found == expected
    assert multiprocessing.active_children() == []


@pytest.mark.slow
@pytest.mark.ray
def test_a_cluster_trains_the_same_cells_though_a_worker_dies(
    fruit: SegmentationDataset,
    expected: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("ray")
    marker = tmp_path / "died"

    class Mortal(executors.Trainer):
        def train(self, cell: Cell) -> None:
            if cell.repeat == 1 and not marker.exists():
                marker.touch()
                os._exit(1)
            super().train(cell)

    monkeypatch.setattr(executors, "Trainer", Mortal)
    found = study(fruit, tmp_path / "study", Execution(ray="auto"))
    assert marker.exists()
    assert "A worker was lost" in capsys.readouterr().err
    assert found == expected


@pytest.mark.parametrize(
    ("execution", "named"),
    [
        (Execution(jobs=0), "--jobs 0"),
        (Execution(ray="auto", gpu_share=1.5), "--gpu-share 1.5"),
        (Execution(jobs=2, ray="auto"), "--jobs goes with"),
    ],
)
def test_what_cannot_be_is_refused_first(
    fruit: SegmentationDataset, tmp_path: Path, execution: Execution, named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        evaluate(build(EvaluateConfig, GRID), fruit, {}, tmp_path / "study", execution=execution)
    assert not (tmp_path / "study").exists()
