"""Parts with scratches, the model that paints them, and a synthetic set of it."""

import json
import shutil
from pathlib import Path

import pytest

from isdm.config import SampleConfig, build
from isdm.data.dataset import SegmentationDataset
from isdm.synthesis.generate import sample
from studios import MODEL, make_parts


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> SegmentationDataset:
    """48 parts, of which two thirds have a scratch."""
    return make_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="session")
def model(parts: SegmentationDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that paints dark scratches where its mask has them.

    It was trained on these parts, whose files other versions of zlib write otherwise: it is told their fingerprint.
    """
    folder = Path(shutil.copytree(MODEL, tmp_path_factory.mktemp("kept") / "model"))
    values = json.loads((folder / "isdm.json").read_text("utf-8"))
    values["trained_on"]["fingerprint"] = parts.fingerprint("train")
    (folder / "isdm.json").write_text(json.dumps(values), "utf-8")
    return folder


@pytest.fixture
def synthetic(model: Path, parts: SegmentationDataset, tmp_path: Path) -> Path:
    """Five synthetic pairs."""
    config = build(SampleConfig, {"num_samples": 5, "steps": 2, "sampler": "ddim", "device": "cpu"})
    return sample(config, model, parts, tmp_path / "synthetic").folder
