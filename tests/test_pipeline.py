import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from isdm.config import NoiseScheduleName, Prediction
from isdm.data.dataset import SegmentationClass
from isdm.diffusion.samplers import sample_images, sampling_schedule
from isdm.diffusion.schedule import training_schedule
from isdm.errors import ConfigError, ModelError
from isdm.model_info import ModelInfo, trained_process, training_scheduler
from isdm.models.unet import SemanticUNet
from isdm.pipeline import SemanticDiffusionPipeline, sample_generator


def untrained(folder: Path, name: NoiseScheduleName, prediction: Prediction) -> Path:
    """A model folder whose network predicts zero everywhere, as its last layer starts."""
    unet = SemanticUNet(base_channels=16, norm_groups=4, channel_multipliers=(1,), num_res_blocks=1, spade_channels=8)
    pipeline = SemanticDiffusionPipeline(unet, training_scheduler(1000, name, prediction))
    classes = (SegmentationClass(0, "background", (0, 0, 0)), SegmentationClass(1, "spot", (255, 0, 0)))
    pipeline.info = ModelInfo(classes, channels=3, image_size=(8, 8), drop_rate=0.1)
    pipeline.save_pretrained(folder)
    return folder


class Zero:
    """The same network in one line."""

    def encode(self, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return x_t

    def decode(self, encoded: torch.Tensor, conditions: Any) -> torch.Tensor:
        return torch.zeros_like(encoded).repeat(1, 2, 1, 1)


@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_a_loaded_model_samples_as_it_was_trained(
    name: NoiseScheduleName, prediction: Prediction, tmp_path: Path
) -> None:
    pipeline = SemanticDiffusionPipeline.from_pretrained(untrained(tmp_path, name, prediction))
    images = pipeline(np.zeros((1, 8, 8), np.int64), sampler="ddim", num_sampling_steps=5)
    expected = sample_images(
        Zero(),
        None,
        None,
        sampling_schedule(1000, 5, "ddim", "respaced", name),
        sampler="ddim",
        guidance_scale=1.0,
        generators=[torch.Generator()],
        x_T=torch.randn((1, 3, 8, 8), generator=sample_generator(0, 0)),
        prediction=prediction,
    )
    pixels = (expected.permute(0, 2, 3, 1).numpy() + 1) * 127.5
    assert np.abs(images - pixels).max() < 1


@pytest.mark.parametrize(("key", "value"), [("beta_schedule", "scaled_linear"), ("prediction_type", "sample")])
def test_a_model_of_another_process_is_refused_when_it_is_loaded(key: str, value: str, tmp_path: Path) -> None:
    file = untrained(tmp_path, "linear", "eps") / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(ModelError, match=f"{key} '{value}'"):
        SemanticDiffusionPipeline.from_pretrained(tmp_path)


@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("num_train_timesteps", [100, 1000])
def test_the_written_scheduler_holds_the_trained_process(
    num_train_timesteps: int, name: NoiseScheduleName, prediction: Prediction, tmp_path: Path
) -> None:
    training_scheduler(num_train_timesteps, name, prediction).save_pretrained(tmp_path)
    read = DDPMScheduler.from_pretrained(tmp_path)
    assert trained_process(read) == (name, prediction)
    ours = training_schedule(num_train_timesteps, name).betas
    assert read.betas.double().numpy() == pytest.approx(ours, rel=1e-5)


def test_a_scheduler_says_its_prediction_in_the_words_of_diffusers() -> None:
    assert training_scheduler(1000).config.beta_schedule == "linear"
    assert training_scheduler(1000).config.prediction_type == "epsilon"
    assert training_scheduler(1000, "cosine", "v").config.beta_schedule == "squaredcos_cap_v2"
    assert training_scheduler(1000, "cosine", "v").config.prediction_type == "v_prediction"


@pytest.mark.parametrize(
    ("masks", "told"),
    [
        (np.zeros((8, 8), np.uint8), r"shape \(8, 8\) are not \(N, H, W\); stack them"),
        (np.zeros((1, 1, 8, 8), np.uint8), r"shape \(1, 1, 8, 8\) are not"),
        ([np.zeros((8, 8), np.uint8)], "as a list are not"),
        (np.zeros((0, 8, 8), np.uint8), r"\(0, 8, 8\) hold no pixel"),
        (np.full((1, 8, 8), 0.7), "float64 numbers are not class ids"),
        (torch.full((1, 8, 8), 0.7), "float32 numbers are not class ids"),
        (np.full((1, 8, 8), -1), "Class id -1 is not one"),
        (np.full((1, 8, 8), 2), "Class id 2 is not one"),
    ],
)
def test_masks_that_no_network_takes(masks: Any, told: str, tmp_path: Path) -> None:
    """Shares of a class would be cut to whole ids, and so paint another mask than the one given."""
    pipeline = SemanticDiffusionPipeline.from_pretrained(untrained(tmp_path, "linear", "eps"))
    with pytest.raises(ModelError, match=told):
        pipeline(masks, sampler="ddim", num_sampling_steps=2)


def test_masks_as_true_and_false_or_as_a_tensor(tmp_path: Path) -> None:
    pipeline = SemanticDiffusionPipeline.from_pretrained(untrained(tmp_path, "linear", "eps"))
    masks = np.zeros((1, 8, 8), np.uint8)
    masks[:, 2:5] = 1
    options: dict[str, Any] = {"sampler": "ddim", "num_sampling_steps": 2}
    expected = pipeline(masks, **options)
    assert (pipeline(masks.astype(bool), **options) == expected).all()
    assert (pipeline(torch.from_numpy(masks), **options) == expected).all()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"sampler": "euler"}, "sampler 'euler' is unknown; choose one of ddpm, ddim, "),
        ({"timesteps": "rescale"}, "timesteps 'rescale' are unknown; choose respaced or rescaled"),
        ({"sampler": "ddim", "num_sampling_steps": 0}, "0 sampling steps; give 1 to 1000"),
        ({"sampler": "ddim", "num_sampling_steps": 0, "timesteps": "rescaled"}, "0 sampling steps; give 1 to 1000"),
    ],
)
def test_a_walk_that_there_is_not(options: dict[str, Any], told: str, tmp_path: Path) -> None:
    pipeline = SemanticDiffusionPipeline.from_pretrained(untrained(tmp_path, "linear", "eps"))
    with pytest.raises(ConfigError, match=told):
        pipeline(np.zeros((1, 8, 8), np.uint8), **({"num_sampling_steps": 2} | options))
