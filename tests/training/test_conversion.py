import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from isdm.data.semantic_map import semantic_map
from isdm.errors import ModelError, OutputError
from isdm.model_info import ModelInfo
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


def with_no_instance(reference: Path, folder: Path, value: object) -> Path:
    options = json.loads((reference / "config.json").read_text()) | {"no_instance": value}
    (folder / "config.json").write_text(json.dumps(options))
    return folder / "config.json"


def test_the_edge_channel_is_no_class(sdm_reference: Path, tmp_path: Path) -> None:
    """The reference network reads three channels: two classes and the borders, if its options say so."""
    config = with_no_instance(sdm_reference, tmp_path, False)
    convert_checkpoint(sdm_reference / "checkpoint.pt", tmp_path / "model", config)
    pipeline = SemanticDiffusionPipeline.from_pretrained(tmp_path / "model")
    assert pipeline.info is not None
    assert (len(pipeline.info.classes), pipeline.info.instances) == (2, True)
    masks = np.zeros((1, 32, 32), np.uint8)
    masks[:, 8:24] = 1
    one, two = np.zeros((1, 32, 32), np.uint16), np.zeros((1, 32, 32), np.uint16)
    two[:, :, 16:] = 1
    pictures = [pipeline(masks, instances=ids, sampler="ddim", num_sampling_steps=2) for ids in (one, two)]
    assert (pictures[0] != pictures[1]).any()
    with pytest.raises(ModelError, match="was trained with instance maps; give those of the masks"):
        pipeline(masks)


def test_without_the_option_all_channels_are_classes_and_that_is_said(sdm_reference: Path, tmp_path: Path) -> None:
    lines = convert_checkpoint(sdm_reference / "checkpoint.pt", tmp_path / "model", None)
    assert any("Assumed: no_instance = True" in line for line in lines)
    info = ModelInfo.read(tmp_path / "model")
    assert (len(info.classes), info.instances) == (3, False)
    config = with_no_instance(sdm_reference, tmp_path, True)
    told = convert_checkpoint(sdm_reference / "checkpoint.pt", tmp_path / "told", config)
    assert not any("no_instance" in line for line in told)


def test_the_same_output_is_not_converted_otherwise(sdm_reference: Path, tmp_path: Path) -> None:
    config = with_no_instance(sdm_reference, tmp_path, True)
    convert_checkpoint(sdm_reference / "checkpoint.pt", tmp_path / "model", config)
    config = with_no_instance(sdm_reference, tmp_path, False)
    with pytest.raises(OutputError, match="no_instance"):
        convert_checkpoint(sdm_reference / "checkpoint.pt", tmp_path / "model", config)


def test_a_map_that_leaves_one_class_beside_the_borders_is_refused(sdm_reference: Path, tmp_path: Path) -> None:
    state = torch.load(sdm_reference / "checkpoint.pt", weights_only=True)
    narrow = {key: value[:, :2] if key.endswith("mlp_shared.0.weight") else value for key, value in state.items()}
    torch.save(narrow, tmp_path / "narrow.pt")
    config = with_no_instance(sdm_reference, tmp_path, False)
    with pytest.raises(ModelError, match=r"maps of 2 channels; .* which leaves 1 class: give no_instance = true"):
        convert_checkpoint(tmp_path / "narrow.pt", tmp_path / "model", config)


def test_an_option_that_is_neither_true_nor_false_is_refused(sdm_reference: Path, tmp_path: Path) -> None:
    config = with_no_instance(sdm_reference, tmp_path, "no")
    with pytest.raises(ModelError, match="no_instance = 'no' in the published options must be true or false"):
        convert_checkpoint(sdm_reference / "checkpoint.pt", tmp_path / "model", config)


def test_contradicting_options_are_refused(sdm_reference: Path, tmp_path: Path) -> None:
    options = json.loads((sdm_reference / "config.json").read_text()) | {"image_size": 64}
    (tmp_path / "config.json").write_text(json.dumps(options))
    with pytest.raises(ModelError, match="attention"):
        convert_checkpoint(sdm_reference / "checkpoint.pt", tmp_path / "model", tmp_path / "config.json")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("name", "value"), [("noise_schedule", "cosine"), ("predict_xstart", True), ("use_new_attention_order", "True")]
)
def test_options_that_no_tensor_shows_are_not_ignored(
    sdm_reference: Path, tmp_path: Path, name: str, value: object
) -> None:
    options = json.loads((sdm_reference / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(options | {name: value}))
    with pytest.raises(ModelError, match=rf"{name} = {value} in the published options; isdm converts"):
        convert_checkpoint(sdm_reference / "checkpoint.pt", tmp_path / "model", tmp_path / "config.json")
    usual = {"noise_schedule": "linear", "predict_xstart": False, "use_new_attention_order": "False"}
    (tmp_path / "config.json").write_text(json.dumps(options | usual))
    convert_checkpoint(sdm_reference / "checkpoint.pt", tmp_path / "model", tmp_path / "config.json")


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


def test_a_network_of_other_options_is_told_by_them(sdm_reference: Path, tmp_path: Path) -> None:
    state = torch.load(sdm_reference / "checkpoint.pt", weights_only=True)
    torch.save(state | {key: state[key][:3] for key in ("out.2.weight", "out.2.bias")}, tmp_path / "fixed.pt")
    told = r"another network than the published one \(out_conv\.bias is \(3,\) and should be \(6,\).* learn_sigma"
    with pytest.raises(ModelError, match=told):
        convert_checkpoint(tmp_path / "fixed.pt", tmp_path / "model", sdm_reference / "config.json")
    assert not (tmp_path / "model").exists()
