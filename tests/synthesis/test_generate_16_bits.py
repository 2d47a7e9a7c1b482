"""Sampling with a model of 16-bit pictures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from isdm.config import SampleConfig, build
from isdm.data.checking import check_dataset
from isdm.data.dataset import DatasetInfo, SegmentationClass, SegmentationDataset, write_metadata, write_pair
from isdm.errors import ModelError
from isdm.model_info import ModelInfo, training_scheduler
from isdm.models.unet import SemanticUNet
from isdm.pipeline import SemanticDiffusionPipeline
from isdm.synthesis.generate import sample
from rawfiles import read_png16

CLASSES = (SegmentationClass(0, "background", (0, 0, 0)), SegmentationClass(1, "crack", (230, 159, 0)))
QUICK = build(SampleConfig, {"num_samples": 3, "sampler": "ddim", "steps": 3, "guidance": 1, "precision": "float32"})


def save_model(folder: Path, bit_depth: int) -> Path:
    """An untrained model of grey pictures."""
    torch.manual_seed(0)
    unet = SemanticUNet(
        in_channels=1, num_classes=2, base_channels=8, channel_multipliers=(1, 2), norm_groups=4, spade_channels=8
    )
    pipeline = SemanticDiffusionPipeline(unet, training_scheduler(1000))
    pipeline.info = ModelInfo(CLASSES, 1, (16, 16), drop_rate=0.1, bit_depth=bit_depth)
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture
def wide(tmp_path: Path) -> SegmentationDataset:
    """Four grey pairs of 16 bits."""
    info, lines = DatasetInfo("wide", CLASSES, channels=1, bit_depth=16), []
    for index in range(4):
        names = {"image_file_name": f"images/{index}.png", "mask_file_name": f"masks/{index}.png"}
        image = np.random.default_rng(index).integers(0, 65536, (16, 16, 1), np.uint16)
        write_pair(tmp_path / "wide" / "train", names, image, np.eye(16, k=index, dtype=np.uint8), info)
        lines.append(names)
    write_metadata(tmp_path / "wide" / "train", lines)
    info.write(tmp_path / "wide")
    return SegmentationDataset(tmp_path / "wide")


def test_a_model_of_16_bits_paints_16_bits(tmp_path: Path, wide: SegmentationDataset) -> None:
    synthetic = sample(QUICK, save_model(tmp_path / "model", 16), wide, tmp_path / "synthetic")
    assert synthetic.info.bit_depth == 16
    assert check_dataset(synthetic) == 3
    pipeline = SemanticDiffusionPipeline.from_pretrained(tmp_path / "model")
    pairs = synthetic.pairs("train")
    masks = np.stack([synthetic.load(pair)[1] for pair in pairs])
    painted = pipeline(masks, sampler="ddim", num_sampling_steps=3, guidance_scale=1)
    assert painted.dtype == np.uint16
    assert len(np.unique(painted % 257)) > 30, "finer than 8 bits"
    for pair, image in zip(pairs, painted, strict=True):
        np.testing.assert_array_equal(read_png16(pair.image), image[:, :, 0])


def test_the_same_model_with_8_bits_paints_the_same_rounded(tmp_path: Path) -> None:
    masks = np.zeros((1, 16, 16), np.uint8)
    wide, narrow = (
        SemanticDiffusionPipeline.from_pretrained(save_model(tmp_path / str(bits), bits))(
            masks, sampler="ddim", num_sampling_steps=3, guidance_scale=1
        )
        for bits in (16, 8)
    )
    assert narrow.dtype == np.uint8
    assert np.abs(wide / 257 - narrow).max() < 0.51


def test_a_model_of_another_depth_is_refused(tmp_path: Path, wide: SegmentationDataset) -> None:
    with pytest.raises(ModelError, match=r"paints 1 channel\(s\) of 8 bits, but .*wide has 1 of 16; sample for"):
        sample(QUICK, save_model(tmp_path / "model", 8), wide, tmp_path / "synthetic")
    assert not (tmp_path / "synthetic").exists()


def test_a_model_of_colour_is_refused_for_grey(fruit: SegmentationDataset, model: Path, tmp_path: Path) -> None:
    grey = tmp_path / "grey"
    for pair in fruit.pairs("train")[:2]:
        image, mask = fruit.load(pair)
        write_pair(grey / "train", dict(pair.metadata), image[:, :, :1], mask, replace(fruit.info, channels=1))
    write_metadata(grey / "train", [pair.metadata for pair in fruit.pairs("train")[:2]])
    replace(fruit.info, channels=1).write(grey)
    with pytest.raises(ModelError, match=r"paints 3 channel\(s\) of 8 bits, but .*grey has 1 of 8"):
        sample(QUICK, model, SegmentationDataset(grey), tmp_path / "synthetic")
