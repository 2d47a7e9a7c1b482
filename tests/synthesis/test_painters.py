"""Workers through Ray, on a cluster of two cores started here."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isdm.config import SampleConfig, build
from isdm.data.dataset import SegmentationDataset
from isdm.errors import OutputError
from isdm.synthesis import painters
from isdm.synthesis.generate import sample
from ray_head import running_head

pytestmark = pytest.mark.ray


def config(**values: Any) -> SampleConfig:
    defaults = {
        "num_samples": 10,
        "sampler": "dpmsolver++-sde",
        "steps": 3,
        "batch_size": 2,
        "precision": "float32",
        "device": "cpu",
    }
    return build(SampleConfig, defaults | values)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "train" / "metadata.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def running() -> Iterator[str]:
    """The address of a cluster that was started before."""
    pytest.importorskip("ray")
    with running_head(num_cpus=2) as address:
        yield address


@pytest.fixture(params=["auto", "a running cluster"])
def address(request: pytest.FixtureRequest) -> str:
    pytest.importorskip("ray")
    return "auto" if request.param == "auto" else str(request.getfixturevalue("running"))


@pytest.mark.slow
def test_workers_paint_the_same_pictures(
    fruit: SegmentationDataset, model: Path, tmp_path: Path, address: str
) -> None:
    """Also when one of them is killed on the way."""
    alone = sample(config(), model, fruit, tmp_path / "alone")
    shared = tmp_path / "shared"
    real = painters.Painter.paint

    class Dies(painters.Painter):
        def paint(self, indices: Any) -> None:
            if 4 in indices and not (tmp_path / "died").exists():
                (tmp_path / "died").touch()
                real(self, indices[:1])
                os.kill(os.getpid(), signal.SIGKILL)
            real(self, indices)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(painters, "Painter", Dies)
        painted = sample(config(), model, fruit, shared, ray=address)
    assert (tmp_path / "died").exists()
    assert lines(shared) == lines(tmp_path / "alone")
    for one, other in zip(alone.pairs("train"), painted.pairs("train"), strict=True):
        difference = alone.load(one)[0].astype(int) - painted.load(other)[0]
        assert abs(difference).max() <= 1
    assert not (shared / "train" / "metadata.parts").exists()


@pytest.mark.slow
def test_an_error_of_a_worker_is_the_users(
    fruit: SegmentationDataset, model: Path, tmp_path: Path, running: str
) -> None:
    class Blind(painters.Painter):
        def sees(self, folder: Path, token: str) -> bool:
            return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(painters, "Painter", Blind)
        with pytest.raises(OutputError, match="all machines share"):
            sample(config(), model, fruit, tmp_path / "shared", ray=running)


def node(cpu: float | None, gpu: float | None = None, *, alive: bool = True) -> dict[str, Any]:
    given = {"CPU": cpu, "GPU": gpu}
    return {"Alive": alive, "Resources": {name: count for name, count in given.items() if count is not None}}


@pytest.mark.parametrize(
    ("nodes", "num_workers", "share"),
    [
        ([node(2.0)], 2, {"num_cpus": 1}),
        ([node(2.0), node(8.0), node(16.0, alive=False)], 10, {"num_cpus": 1}),
        ([node(None)], 1, {"num_cpus": 1}),
        ([node(16.0, 4.0)], 4, {"num_gpus": 1, "num_cpus": 1}),
        ([node(2.0, 8.0)], 8, {"num_gpus": 1, "num_cpus": 0.25}),
        ([node(64.0), node(3.0, 7.0), node(16.0, 1.0)], 8, {"num_gpus": 1, "num_cpus": 0.4285}),
        ([node(4.0), node(None, 2.0)], 2, {"num_gpus": 1, "num_cpus": 0.0}),
    ],
)
def test_no_worker_waits_for_a_core_that_its_machine_lacks(
    nodes: list[dict[str, Any]], num_workers: int, share: dict[str, float]
) -> None:
    assert painters.shares_of(nodes) == (num_workers, share)


def test_the_number_of_workers_and_their_share_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    class Ray:
        asked: dict[str, Any]

        def nodes(self) -> list[dict[str, Any]]:
            return [node(2.0, 8.0)]

        def remote(self, *_: object) -> Any:
            return self

        def options(self, **asked: Any) -> Any:
            self.asked = asked
            return self

    ray = Ray()
    assert len(painters._start(ray, ())) == 8
    assert ray.asked == {"max_restarts": -1, "num_gpus": 1, "num_cpus": 0.25}
    assert "8 workers paint, one on each GPU with 0.25 of a core." in capsys.readouterr().err
