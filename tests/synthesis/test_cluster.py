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
from isdm.errors import ConfigError, OutputError
from isdm.synthesis import cluster
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
    real = cluster.Painter.paint

    class Dies(cluster.Painter):
        def paint(self, indices: Any) -> int:
            if 4 in indices and not (tmp_path / "died").exists():
                (tmp_path / "died").touch()
                real(self, indices[:1])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, indices)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "Painter", Dies)
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
    class Blind(cluster.Painter):
        def sees(self, token: str) -> bool:
            return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "Painter", Blind)
        with pytest.raises(OutputError, match="all machines share"):
            sample(config(), model, fruit, tmp_path / "shared", ray=running)


def test_without_ray_the_extra_is_named(
    fruit: SegmentationDataset, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"isdm\[cluster\]"):
        sample(config(), model, fruit, tmp_path / "shared", ray="auto")


@pytest.mark.parametrize(("address", "rule"), [("127.0.0.1:1", "nothing answers"), ("somewhere", "neither auto")])
def test_an_address_without_a_cluster_is_refused_at_once(
    fruit: SegmentationDataset, model: Path, tmp_path: Path, address: str, rule: str
) -> None:
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match=rule):
        sample(config(), model, fruit, tmp_path / "shared", ray=address)
