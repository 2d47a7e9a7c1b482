"""Pictures from a run: there to be looked at, and without any effect on the training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from isdm.config import TrainConfig, build, with_preset
from isdm.data.dataset import SegmentationClass, SegmentationDataset
from isdm.errors import ModelError
from isdm.pipeline import SemanticDiffusionPipeline
from isdm.training import checkpoint, pictures
from isdm.training.batches import TrainingImages
from isdm.training.diffusion import train
from isdm.training.pictures import GAP_PX, NUM_PICTURES, averaged, chosen_rows, contact_sheet


@pytest.fixture
def quick(small: dict[str, Any]) -> dict[str, Any]:
    return small | {"unet": small["unet"] | {"patch_size": 4}, "trackers": [], "learning_rate": 2e-3}


def config(options: dict[str, Any], **values: Any) -> TrainConfig:
    return build(TrainConfig, with_preset(options | values))


def sheets(folder: Path) -> dict[str, NDArray[np.uint8]]:
    return {path.name: np.asarray(Image.open(path)) for path in sorted((folder / "samples").glob("*"))}


def assert_same_state(one: Path, other: Path) -> None:
    a, b = checkpoint.read_state(one), checkpoint.read_state(other)
    assert a is not None
    assert b is not None
    for part in ("weights", "ema"):
        assert all(torch.equal(a[part][name], b[part][name]) for name in a[part]), part
    for key, values in a["optimizer"]["state"].items():
        assert all(torch.equal(values[name], b["optimizer"]["state"][key][name]) for name in values)
    for name in ("step", "samples", "epoch_losses", "best_loss", "best_step"):
        assert a["counters"][name] == b["counters"][name], name


@pytest.mark.parametrize("options", [{}, {"precision": "bfloat16"}])
def test_drawing_changes_nothing_in_the_training(
    fruit: SegmentationDataset, quick: dict[str, Any], tmp_path: Path, options: dict[str, Any]
) -> None:
    quick = quick | {"unet": quick["unet"] | {"dropout": 0.2}, "prediction": "v"} | options
    train(config(quick, steps=6, sample_interval_steps=0), fruit, tmp_path / "plain")
    train(config(quick, steps=6, sample_interval_steps=2), fruit, tmp_path / "drawn")
    assert_same_state(tmp_path / "plain", tmp_path / "drawn")
    train(config(quick, steps=3, sample_interval_steps=2), fruit, tmp_path / "parts")
    train(config(quick, steps=6, sample_interval_steps=2), fruit, tmp_path / "parts")
    assert_same_state(tmp_path / "plain", tmp_path / "parts")
    assert not (tmp_path / "plain" / "samples").exists()
    drawn, parts = sheets(tmp_path / "drawn"), sheets(tmp_path / "parts")
    assert list(drawn) == [f"step_{step:08d}.png" for step in (2, 4, 6)]
    assert list(parts) == [f"step_{step:08d}.png" for step in (2, 3, 4, 6)], "at the end of each part too"
    assert all(np.array_equal(drawn[name], parts[name]) for name in drawn)
    assert all(sheet.shape == (2 * 32 + GAP_PX, NUM_PICTURES * (32 + GAP_PX) - GAP_PX, 3) for sheet in drawn.values())


def test_the_sheet_shows_what_the_pipeline_paints(
    fruit: SegmentationDataset, quick: dict[str, Any], tmp_path: Path
) -> None:
    """The last sheet, of the averaged weights that a run too short to compare epochs keeps."""
    pipeline = train(config(quick, steps=2, sample_interval_steps=1), fruit, tmp_path / "model")
    pairs = [fruit.load(pair) for pair in fruit.pairs("train")]
    masks = np.stack([mask for _, mask in pairs])
    images = TrainingImages(np.stack([image for image, _ in pairs]), masks, None, 4, 8, np.arange(len(masks)))
    masks = masks[chosen_rows(images, seed=3)]
    painted = pipeline(masks, seed=3, sampler="dpmsolver++", num_sampling_steps=10, guidance_scale=1.5)
    shown = sheets(tmp_path / "model")["step_00000002.png"][32 + GAP_PX :]
    for number, picture in enumerate(painted):
        place = number * (32 + GAP_PX)
        assert np.abs(shown[:, place : place + 32].astype(int) - picture).max() <= 1


def test_masks_lie_in_their_colours_above_the_pictures() -> None:
    classes = (SegmentationClass(0, "ground", (0, 0, 0)), SegmentationClass(1, "spot", (9, 8, 7)))
    masks = np.array([[[0, 1]], [[255, 0]]], np.uint8)
    painted = np.array([[[[256], [512]]], [[[1024], [65535]]]], np.uint16)
    sheet = contact_sheet(masks, painted, classes)
    assert sheet.shape == (1 + GAP_PX + 1, 2 + GAP_PX + 2, 3)
    assert sheet[0, [0, 1, 4, 5]].tolist() == [[0, 0, 0], [9, 8, 7], [127, 127, 127], [0, 0, 0]]
    assert sheet[-1, [0, 1, 4, 5]].tolist() == [[1, 1, 1], [2, 2, 2], [4, 4, 4], [255, 255, 255]]
    assert (sheet[1:-1] == 255).all()


def test_masks_with_something_on_them_are_shown_first() -> None:
    masks = np.zeros((9, 2, 2), np.uint8)
    masks[[1, 6]] = 1
    masks[3] = 255
    images = TrainingImages(np.zeros((9, 2, 2, 1), np.uint8), masks, None, 2, 8, np.array([0, 1, 2, 3, 5, 6]))
    rows = chosen_rows(images, seed=0)
    assert set(rows[:2]) == {1, 6}
    assert len(rows) == len(set(rows)) == 4
    assert set(rows) <= set(images.chosen)


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_by_default_they_cost_little(batch_size: int) -> None:
    options = config({"preset": "tiny"}, batch_size=batch_size)
    step_passes, sheet_passes = 3 * batch_size, pictures.NUM_PICTURES * pictures.NUM_STEPS * 2
    due = [step for step in range(1, 5001) if pictures._is_due(options, step, at_end=False)]
    assert len(due) >= 3
    assert len(due) * sheet_passes <= 0.021 * 5000 * step_passes
    ends = [step for step in range(1, 5001) if pictures._is_due(options, step, at_end=True)]
    assert sheet_passes <= 0.021 * ends[0] * step_passes


def test_a_picture_that_fails_ends_no_training(
    fruit: SegmentationDataset,
    quick: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise ModelError("Sample 0 holds values that are no numbers.")

    monkeypatch.setattr(pictures, "SemanticDiffusionPipeline", fails)
    train(config(quick, steps=1, sample_interval_steps=1), fruit, tmp_path / "model")
    assert "No pictures of step 1: Sample 0 holds" in capsys.readouterr().err
    assert not (tmp_path / "model" / "samples").exists()


def test_the_raw_weights_come_back_whatever_happens(model: Path) -> None:
    unet = SemanticDiffusionPipeline.from_pretrained(model).unet.train()
    raw = {name: value.data_ptr() for name, value in unet.named_parameters()}
    ema = {name: torch.zeros_like(value) for name, value in unet.named_parameters()}
    with averaged(unet, ema):
        assert not unet.training
        assert not any(value.any() for value in unet.parameters())

    def breaks() -> None:
        with averaged(unet, ema):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        breaks()
    assert unet.training
    assert raw == {name: value.data_ptr() for name, value in unet.named_parameters()}
