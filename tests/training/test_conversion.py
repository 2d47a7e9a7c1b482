import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from isdm.data.semantic_map import semantic_map
from isdm.errors import ModelError
from isdm.pipeline import SemanticDiffusionPipeline
from isdm.training.conversion import convert_checkpoint


def test_published_checkpoint_becomes_a_model(sdm_reference: Path, tmp_path: Path) -> None:
    convert_checkpoint(sdm_reference / "checkpoint.pt", tmp_path / "model", sdm_reference / "config.json")
    pipeline = SemanticDiffusionPipeline.from_pretrained(tmp_path / "model")
    vectors = load_file(sdm_reference / "reference.safetensors")
    with torch.no_grad():
        output = pipeline.unet(vectors["x_t"], vectors["t"].float(), semantic_map(vectors["mask"], 3))
    assert (output - vectors["model_output"]).abs().max() < 1e-5
    pictures = pipeline(vectors["mask"].numpy().astype(np.uint8), sampler="ddim", num_sampling_steps=2)
    assert pictures.shape == (2, 32, 32, 3)


def test_defaults_are_said_aloud(sdm_reference: Path, tmp_path: Path) -> None:
    lines = convert_checkpoint(sdm_reference / "checkpoint.pt", tmp_path / "model", None)
    assert any("num_head_channels = 64" in line and "default" in line for line in lines)


def test_contradicting_options_are_refused(sdm_reference: Path, tmp_path: Path) -> None:
    options = json.loads((sdm_reference / "config.json").read_text()) | {"image_size": 64}
    (tmp_path / "config.json").write_text(json.dumps(options))
    with pytest.raises(ModelError, match="attention"):
        convert_checkpoint(sdm_reference / "checkpoint.pt", tmp_path / "model", tmp_path / "config.json")
    assert not (tmp_path / "model").exists()


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("evil-ran"),))


def test_pickled_code_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    torch.save({"time_embed.0.weight": Evil()}, tmp_path / "evil2.pt")
    for name in ("evil.pt", "evil2.pt"):
        with pytest.raises(ModelError, match="cannot be read"):
            convert_checkpoint(tmp_path / name, tmp_path / "model", None)
    assert not (tmp_path / "evil-ran").exists()


def test_other_networks_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match="no published SDM"):
        convert_checkpoint(tmp_path / "other.pt", tmp_path / "model", None)
