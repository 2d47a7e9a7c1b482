"""Sampling with instance maps: moved with their masks, shown to the network, written beside the pairs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from isdm import pipeline as pipeline_module
from isdm.config import FinetuneConfig, SampleConfig, TrainConfig, build, with_preset
from isdm.data.checking import check_dataset
from isdm.data.dataset import DatasetInfo, SegmentationClass, SegmentationDataset, write_metadata, write_pair
from isdm.data.instances import load_instances
from isdm.errors import ModelError
from isdm.model_info import ModelInfo
from isdm.pipeline import SemanticDiffusionPipeline
from isdm.synthesis.generate import sample
from isdm.synthesis.masks import DrawnMask, TrainingMasks, mask_source
from isdm.training.diffusion import finetune, train

CLASSES = (SegmentationClass(0, "belt", (0, 0, 0)), SegmentationClass(1, "cell", (230, 159, 0)))
QUICK = {"num_samples": 4, "sampler": "ddim", "steps": 2, "guidance": 1.5, "precision": "float32"}
TINY = {
    "preset": "tiny",
    "unet": {"base_channels": 16, "norm_groups": 4, "channel_multipliers": [1, 2], "spade_channels": 8},
    "batch_size": 2,
    "steps": 40,
    "learning_rate": 2e-3,
    "precision": "float32",
    "device": "cpu",
}


def config(**values: Any) -> SampleConfig:
    return build(SampleConfig, QUICK | values)


def write_cells(folder: Path, *, with_maps: bool) -> SegmentationDataset:
    """Three images of two touching cells, which the mask does not tell apart."""
    info, lines = DatasetInfo("cells", CLASSES), []
    for index in range(3):
        names = {"image_file_name": f"images/{index}.png", "mask_file_name": f"masks/{index}.png"}
        ids = np.full((16, 16), 5, np.uint16)
        ids[4:12, 2:8], ids[4:12, 8 : 12 + index] = 60_000, 700
        if with_maps:
            names["instance_file_name"] = f"instances/{index}.png"
        image = np.random.default_rng(index).integers(0, 256, (16, 16, 3), np.uint8)
        mask = (ids != 5).astype(np.uint8)
        write_pair(folder / "train", names, image, mask, info, ids if with_maps else None)
        lines.append(names)
    write_metadata(folder / "train", lines)
    info.write(folder)
    return SegmentationDataset(folder)


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> SegmentationDataset:
    return write_cells(tmp_path_factory.mktemp("with") / "cells", with_maps=True)


@pytest.fixture(scope="module")
def plain_cells(tmp_path_factory: pytest.TempPathFactory) -> SegmentationDataset:
    return write_cells(tmp_path_factory.mktemp("without") / "cells", with_maps=False)


@pytest.fixture(scope="module")
def border_model(cells: SegmentationDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has seen borders for a moment."""
    folder = tmp_path_factory.mktemp("trained") / "model"
    train(build(TrainConfig, with_preset(TINY | {"instances": True})), cells, folder)
    return folder


@pytest.fixture(scope="module")
def plain_model(cells: SegmentationDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "model"
    train(build(TrainConfig, with_preset(TINY | {"steps": 1})), cells, folder)
    return folder


def moved(mask: NDArray[np.uint8], ids: NDArray[np.uint16], count: int) -> list[DrawnMask]:
    info = DatasetInfo("test", tuple(SegmentationClass(k, str(k), (k, k, k)) for k in range(5)))
    training = TrainingMasks(mask[None], ids[None], ["a"], ["a"], info)
    source = mask_source(SampleConfig(masks="augmented", seed=3), training, Path("unused"))
    return [source(index) for index in range(count)]


def test_maps_move_exactly_as_their_masks() -> None:
    mask = np.random.default_rng(0).integers(0, 5, (20, 30), np.uint8)
    for drawn in moved(mask, mask.astype(np.uint16) * 13_000, 12):
        np.testing.assert_array_equal(drawn.instances, drawn.mask.astype(int) * 13_000)


def test_what_comes_in_from_outside_is_background_to_both() -> None:
    """With another id outside than the background's there would be a border across the belt."""
    mask, ids = np.zeros((20, 20), np.uint8), np.full((20, 20), 9, np.uint16)
    mask[8:12, 8:12], ids[8:12, 8:12] = 1, 2
    assert all(set(np.unique(drawn.instances)) == {2, 9} for drawn in moved(mask, ids, 12))


def test_the_network_sees_the_borders(cells: SegmentationDataset, border_model: Path) -> None:
    pipeline = SemanticDiffusionPipeline.from_pretrained(border_model)
    assert pipeline.unet.config.num_classes == 3
    masks = np.stack([cells.load(pair)[1] for pair in cells.pairs("train")])
    maps = load_instances(cells, cells.pairs("train"))
    assert maps is not None
    apart = pipeline(masks, instances=maps, sampler="ddim", num_sampling_steps=2)
    merged = pipeline(masks, instances=masks, sampler="ddim", num_sampling_steps=2)
    renamed = pipeline(masks, instances=65_535 - maps, sampler="ddim", num_sampling_steps=2)
    assert (apart != merged).any()
    np.testing.assert_array_equal(apart, renamed)


@pytest.mark.parametrize("masks", ["real", "augmented"])
def test_synthetic_pairs_carry_the_maps_that_they_were_painted_for(
    cells: SegmentationDataset, border_model: Path, tmp_path: Path, masks: str
) -> None:
    synthetic = sample(config(masks=masks), border_model, cells, tmp_path / "synthetic")
    assert check_dataset(synthetic) == 4
    pairs = synthetic.pairs("train")
    maps = load_instances(synthetic, pairs)
    assert maps is not None
    own = [synthetic.load(pair) for pair in pairs]
    for ids, (_, mask) in zip(maps, own, strict=True):
        assert ((ids != 5) == (mask == 1)).all(), "a map shows objects where its mask does"
        assert {60_000, 700} <= set(np.unique(ids))
    pipeline = SemanticDiffusionPipeline.from_pretrained(border_model)
    again = pipeline(
        np.stack([mask for _, mask in own]), instances=maps, sampler="ddim", num_sampling_steps=2, guidance_scale=1.5
    )
    for image, (written, _) in zip(again, own, strict=True):
        assert np.abs(image.astype(int) - written).max() <= 1


def test_a_model_without_borders_still_leaves_the_maps_beside_its_pairs(
    cells: SegmentationDataset, plain_model: Path, tmp_path: Path
) -> None:
    synthetic = sample(config(), plain_model, cells, tmp_path / "synthetic")
    assert load_instances(synthetic, synthetic.pairs("train")) is not None


def test_a_dataset_without_maps_makes_pairs_without(
    plain_cells: SegmentationDataset, plain_model: Path, tmp_path: Path
) -> None:
    synthetic = sample(config(), plain_model, plain_cells, tmp_path / "synthetic")
    assert all(pair.instances is None for pair in synthetic.pairs("train"))
    assert not (tmp_path / "synthetic" / "train" / "instances").exists()


def test_a_dataset_without_maps_is_refused_for_a_model_with(
    plain_cells: SegmentationDataset, border_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"was trained with instance maps, but .*cells has none; import it with"):
        sample(config(), border_model, plain_cells, tmp_path / "synthetic")
    assert not (tmp_path / "synthetic").exists()


def test_the_pipeline_refuses_maps_that_do_not_fit(border_model: Path, plain_model: Path) -> None:
    masks = np.zeros((1, 16, 16), np.uint8)
    with_borders, without = (SemanticDiffusionPipeline.from_pretrained(path) for path in (border_model, plain_model))
    with pytest.raises(ModelError, match="trained with instance maps; give those of the masks with instances="):
        with_borders(masks)
    with pytest.raises(ModelError, match="trained without instance maps; leave instances out"):
        without(masks, instances=masks)
    with pytest.raises(ModelError, match=r"of shape \(1, 8, 8\) do not fit masks of shape \(1, 16, 16\)"):
        with_borders(masks, instances=masks[:, :8, :8])


def test_a_model_folder_from_before_instance_maps_is_read_as_one_without(plain_model: Path, tmp_path: Path) -> None:
    SemanticDiffusionPipeline.from_pretrained(plain_model).save_pretrained(tmp_path / "old")
    path = tmp_path / "old" / "isdm.json"
    values = json.loads(path.read_text())
    assert values.pop("instances") is False
    path.write_text(json.dumps(values))
    assert not ModelInfo.read(tmp_path / "old").instances
    SemanticDiffusionPipeline.from_pretrained(tmp_path / "old")


def test_an_isdm_json_that_contradicts_the_network_is_refused(border_model: Path, tmp_path: Path) -> None:
    SemanticDiffusionPipeline.from_pretrained(border_model).save_pretrained(tmp_path / "bent")
    path = tmp_path / "bent" / "isdm.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"instances": False}))
    with pytest.raises(ModelError, match=r"reads maps of 3 channels but isdm\.json speaks of 2"):
        SemanticDiffusionPipeline.from_pretrained(tmp_path / "bent")


def test_fine_tuning_goes_on_with_the_borders(cells: SegmentationDataset, border_model: Path, tmp_path: Path) -> None:
    options = with_preset(TINY | {"steps": 1})
    with pytest.raises(ModelError, match="trained with instances=True; fine-tune it so: --set instances=True"):
        finetune(build(FinetuneConfig, options), border_model, cells, tmp_path / "tuned")
    tuned = finetune(build(FinetuneConfig, options | {"instances": True}), border_model, cells, tmp_path / "tuned")
    assert tuned.info is not None
    assert tuned.info.instances


def test_pictures_with_borders_do_not_depend_on_the_batch(
    border_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither on one that is asked for nor on one that memory forces."""
    pipeline = SemanticDiffusionPipeline.from_pretrained(border_model)
    masks = np.random.default_rng(0).integers(0, 2, (3, 16, 16), np.uint8)
    maps = np.random.default_rng(1).integers(0, 9, (3, 16, 16), np.uint16)
    together = pipeline(masks, instances=maps, sampler="ddim", num_sampling_steps=2)
    alone = pipeline(masks[1:2], instances=maps[1:2], sample_indices=[1], sampler="ddim", num_sampling_steps=2)
    assert np.abs(together[1].astype(int) - alone[0]).max() <= 1
    real, batches = pipeline_module.sample_images, []

    def two_at_most(*arguments: Any, **options: Any) -> torch.Tensor:
        batches.append(len(options["x_T"]))
        if batches[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate more than there is.")
        return real(*arguments, **options)

    monkeypatch.setattr(pipeline_module, "sample_images", two_at_most)
    forced = pipeline(masks, instances=maps, sampler="ddim", num_sampling_steps=2)
    assert batches == [3, 2, 1]
    assert np.abs(together.astype(int) - forced).max() <= 1
