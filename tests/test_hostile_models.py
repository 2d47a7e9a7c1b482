"""A stranger's model folder: no code of its is run, nothing absurd is built, no link leads out, damage is named."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hostile_files import pickle_bomb, torch_bomb
from isdm.data.dataset import SegmentationClass
from isdm.errors import IsdmError, ModelError
from isdm.model_info import ModelInfo, training_scheduler
from isdm.models.unet import SemanticUNet
from isdm.pipeline import SemanticDiffusionPipeline
from isdm.training import checkpoint
from isdm.training.conversion import convert_checkpoint

WEIGHTS = Path("unet") / "diffusion_pytorch_model.safetensors"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    unet = SemanticUNet(base_channels=8, norm_groups=4, channel_multipliers=(1,), num_res_blocks=1, spade_channels=8)
    pipeline = SemanticDiffusionPipeline(unet, training_scheduler(1000))
    classes = (SegmentationClass(0, "background", (0, 0, 0)), SegmentationClass(1, "spot", (255, 0, 0)))
    pipeline.info = ModelInfo(classes, channels=3, image_size=(8, 8), drop_rate=0.1)
    pipeline.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def changed(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("make", [pickle_bomb, torch_bomb])
@pytest.mark.parametrize("name", [WEIGHTS, WEIGHTS.with_suffix(".bin"), WEIGHTS.with_suffix(".pt")])
def test_a_pickle_in_place_of_the_weights(model: Path, tmp_path: Path, make: Any, name: Path) -> None:
    (model / WEIGHTS).unlink()
    make(model / name, tmp_path / "sentinel")
    with pytest.raises(ModelError, match=r"cannot be loaded|is missing"):
        SemanticDiffusionPipeline.from_pretrained(model)
    with pytest.raises(ModelError, match=r"cannot be loaded|holds no weights"):
        checkpoint.read_raw_weights(model)
    assert not (tmp_path / "sentinel").exists()


@pytest.mark.parametrize("make", [pickle_bomb, torch_bomb])
def test_a_pickle_in_place_of_a_runs_state_or_a_published_checkpoint(model: Path, tmp_path: Path, make: Any) -> None:
    make(model / checkpoint.STATE, tmp_path / "sentinel")
    with pytest.raises(ModelError, match=r"state\.pt cannot be read"):
        checkpoint.read_state(model)
    with pytest.raises(ModelError, match="cannot be read as a checkpoint of plain tensors"):
        convert_checkpoint(model / checkpoint.STATE, tmp_path / "converted", None)
    assert not (tmp_path / "sentinel").exists()


def test_code_that_comes_with_a_model_is_never_looked_at(model: Path, tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel"
    for name in ("pipeline.py", "unet/modeling.py", "unet/isdm.py", "isdm.py"):
        (model / name).write_text(f"import pathlib; pathlib.Path({str(sentinel)!r}).touch()\n")
    changed(model / "model_index.json", _class_name=["pipeline", "Evil"], unet=["modeling", "Evil"])
    SemanticDiffusionPipeline.from_pretrained(model)
    assert not sentinel.exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"auto_map": {"AutoModel": "modeling.Evil"}},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
        {"trust_remote_code": True},
    ],
)
def test_settings_that_ask_a_loader_for_more_are_refused(model: Path, settings: dict[str, Any]) -> None:
    changed(model / "unet" / "config.json", **settings)
    with pytest.raises(ModelError, match=f"unknown setting '{next(iter(settings))}'"):
        SemanticDiffusionPipeline.from_pretrained(model)


@pytest.mark.parametrize(
    "settings",
    [
        {"base_channels": 10**9},
        {"base_channels": 10**30},
        {"num_classes": 10**9},
        {"in_channels": 10**9},
        {"spade_channels": 10**9},
        {"num_res_blocks": 10**9},
        {"channel_multipliers": [10**9]},
        {"channel_multipliers": [1] * 10**5},
        {"channel_multipliers": []},
        {"channel_multipliers": "1,2"},
        {"channel_multipliers": [1e-9]},
        {"base_channels": -8},
        {"base_channels": 8.5},
        {"base_channels": True},
        {"base_channels": None},
        {"norm_groups": 3},
        {"norm_groups": 0},
        {"attention_head_channels": 0},
        {"attention_downsamplings": [1]},
        {"dropout": 2},
        {"dropout": "much"},
        {"spade_resize": "bicubic"},
        {"base_channels": 16},
        {"patch_size": 2},
        {"augmentation_labels": 8},
        {"augmentation_labels": 10**6},
        {"augmentation_labels": -1},
        {"patch_size": 10**6},
        {"patch_size": 0},
    ],
)
def test_a_network_that_the_tensors_do_not_bear_out(model: Path, settings: dict[str, Any]) -> None:
    changed(model / "unet" / "config.json", **settings)
    with pytest.raises(ModelError, match=r"config\.json"):
        SemanticDiffusionPipeline.from_pretrained(model)


@pytest.mark.parametrize("steps", [10**12, 0, -1, 1.5, "1000", None, True])
def test_a_scheduler_of_another_length(model: Path, steps: object) -> None:
    changed(model / "scheduler" / "scheduler_config.json", num_train_timesteps=steps)
    with pytest.raises(ModelError, match="num_train_timesteps"):
        SemanticDiffusionPipeline.from_pretrained(model)


def test_betas_of_a_strangers_own(model: Path) -> None:
    changed(model / "scheduler" / "scheduler_config.json", trained_betas=[0.1] * 100)
    with pytest.raises(ModelError, match="trained_betas"):
        SemanticDiffusionPipeline.from_pretrained(model)


@pytest.mark.parametrize(
    "values",
    [
        {"format_version": 2},
        {"format_version": "1"},
        {"channels": 1},
        {"channels": 10**9},
        {"bit_depth": 16},
        {"image_size": [0, 8]},
        {"image_size": 8},
        {"drop_rate": 2},
        {"classes": []},
        {"classes": [{"id": 0, "name": "a", "colour": [0, 0, 999]}] * 2},
        {"classes": [{"id": i, "name": "a", "colour": [0, 0, 0]} for i in range(300)]},
        {"trained_on": "x"},
    ],
)
def test_a_wrong_isdm_json(model: Path, values: dict[str, Any]) -> None:
    changed(model / "isdm.json", **values)
    with pytest.raises(ModelError, match=r"isdm\.json"):
        SemanticDiffusionPipeline.from_pretrained(model)


@pytest.mark.parametrize("content", ["", "[]", "7", "{", "[" * 10**5, '{"a": NaN}', '{"a": 1e999}', "\ud800"])
@pytest.mark.parametrize("name", ["isdm.json", "unet/config.json", "scheduler/scheduler_config.json"])
def test_damaged_settings(model: Path, name: str, content: str) -> None:
    (model / name).write_text(content, "utf-8", "surrogatepass")
    with pytest.raises(ModelError, match=Path(name).name):
        SemanticDiffusionPipeline.from_pretrained(model)


def link(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


def pipe(path: Path, _: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("replace", [link, pipe])
@pytest.mark.parametrize("name", ["isdm.json", "unet/config.json", str(WEIGHTS), "scheduler/scheduler_config.json"])
def test_a_link_out_of_the_model_or_a_pipe_in_it(
    model: Path, tmp_path: Path, name: str, replace: Callable[[Path, Path], None]
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes((model / name).read_bytes())
    replace(model / name, outside)
    with pytest.raises(ModelError, match=r"out of the model; put the file itself there|is no file|is not a model"):
        SemanticDiffusionPipeline.from_pretrained(model)


def test_links_within_and_those_of_the_hugging_face_cache_are_followed(model: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models--someone--model"
    for file in [path for path in model.rglob("*") if path.is_file()]:
        blob = repository / "blobs" / file.relative_to(model).as_posix().replace("/", "-")
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(file.read_bytes())
        placed = repository / "snapshots" / "abc" / file.relative_to(model)
        placed.parent.mkdir(parents=True, exist_ok=True)
        placed.symlink_to(os.path.relpath(blob, placed.parent))
    SemanticDiffusionPipeline.from_pretrained(repository / "snapshots" / "abc")
    (model / WEIGHTS).rename(model / "kept.safetensors")
    (model / WEIGHTS).symlink_to(model / "kept.safetensors")
    SemanticDiffusionPipeline.from_pretrained(model)


def test_weights_in_other_files_are_not_followed(model: Path) -> None:
    (model / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": {"a": "../../../outside"}}))
    with pytest.raises(ModelError, match=r"index\.json names other files"):
        SemanticDiffusionPipeline.from_pretrained(model)


def published(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    state = {"time_embed.0.weight": torch.zeros(32, 8), "input_blocks.0.0.weight": torch.zeros(8, 3, 3, 3)}
    return state | changes


@pytest.mark.parametrize(
    "state",
    [
        published(),
        published(**{"input_blocks.999999999.0.out_layers.3.weight": torch.zeros(1)}),
        published(**{"input_blocks.x": torch.zeros(1)}),
        {**published(), 1: torch.zeros(2)},
        published(**{"out.7.weight": torch.zeros(1)}),
        published(**{"time_embed.0.weight": torch.zeros(1, 10**6)}),
        {"time_embed.0.weight": torch.zeros(1).expand(4, 10**9), "input_blocks.0.0.weight": torch.zeros(1)},
        {"time_embed.0.weight": torch.zeros(()), "input_blocks.0.0.weight": torch.zeros(())},
        {1: torch.zeros(2)},
        [],
        7,
    ],
)
def test_a_checkpoint_that_only_looks_published(tmp_path: Path, state: Any) -> None:
    torch.save(state, tmp_path / "ema.pt")
    with pytest.raises(IsdmError, match=r"ema\.pt"):
        convert_checkpoint(tmp_path / "ema.pt", tmp_path / "out", None)
    assert not (tmp_path / "out").exists()
