"""Geometric changes of training samples, against scipy and against turns and flips that need no interpolation."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from isdm.config import FinetuneConfig, SampleConfig, TrainConfig, build, with_preset
from isdm.data.dataset import SegmentationDataset
from isdm.errors import ModelError
from isdm.pipeline import SemanticDiffusionPipeline
from isdm.synthesis.generate import sample
from isdm.training import checkpoint
from isdm.training.batches import draw_batch, load_training_images
from isdm.training.diffusion import finetune, finetune_config, train
from isdm.training.geometry import NUM_LABELS, Change, changed_ids, changed_images, draw_change
from isdm.training.monitor import make_grid

HEIGHT, WIDTH = 24, 36


def change(matrix: Any, shift: tuple[float, float] = (0.0, 0.0)) -> Change:
    return Change(np.array(matrix, float), np.array(shift), np.ones(NUM_LABELS, np.float32))


def drawn(seed: int) -> Change:
    return draw_change(np.random.default_rng(seed), 1.0)


def ids(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 60_000, (height, width))


def of_scipy(values: np.ndarray, one: Change, order: int) -> np.ndarray:
    middle = (np.array(values.shape) - 1) / 2
    offset = middle - one.matrix @ middle + one.shift * values.shape
    return ndimage.affine_transform(values, one.matrix, offset, order=order, mode="reflect")


@pytest.mark.parametrize("seed", range(6))
def test_ids_are_those_of_scipys_nearest_pixels(seed: int) -> None:
    values = ids(seed)
    found = changed_ids(torch.from_numpy(values)[None], [drawn(seed)])[0].numpy()
    assert (found == of_scipy(values, drawn(seed), 0)).mean() > 0.995  # places halfway may be rounded either way


@pytest.mark.parametrize("seed", range(6))
def test_images_are_scipys_but_for_the_kind_of_cubic(seed: int) -> None:
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(HEIGHT, WIDTH)), 3, mode="reflect")
    smooth /= 2 * np.abs(smooth).max()
    image = torch.from_numpy(smooth.astype(np.float32))[None, None]
    found = changed_images(image, [drawn(seed)])[0, 0].numpy()
    assert np.abs(found - of_scipy(smooth, drawn(seed), 3)).max() < 0.02


def test_quarter_turns_and_flips_are_exact() -> None:
    square = torch.from_numpy(ids(1, 20, 20))[None]
    quarter = [[0, -1], [1, 0]]
    assert torch.equal(changed_ids(square, [change(quarter)]), torch.rot90(square, 1, (2, 1)))
    wide = torch.from_numpy(ids(2))[None]
    assert torch.equal(changed_ids(wide, [change([[-1, 0], [0, 1]])]), wide.flip(1))
    image = torch.rand(1, 3, HEIGHT, WIDTH) * 2 - 1
    torch.testing.assert_close(changed_images(image, [change([[-1, 0], [0, 1]])]), image.flip(2), atol=1e-5, rtol=0)


def test_a_shift_is_a_share_of_each_side() -> None:
    wide = torch.from_numpy(ids(3))[None]
    moved = changed_ids(wide, [change(np.eye(2), (2 / HEIGHT, 3 / WIDTH))])
    assert torch.equal(moved[:, :-2, :-3], wide[:, 2:, 3:])
    assert torch.equal(moved[:, -1, :-3], wide[:, -2, 3:])  # mirrored at the border


def test_what_is_not_changed_is_left_as_it_is() -> None:
    image, values = torch.rand(2, 1, HEIGHT, WIDTH), torch.from_numpy(np.stack([ids(4), ids(5)]))
    none = draw_change(np.random.default_rng(0), 0.0)
    assert not none.labels.any()
    np.testing.assert_allclose(none.matrix, np.eye(2), atol=1e-15)
    changed = changed_images(image, [none, drawn(0)])
    assert torch.equal(changed[0], image[0])
    assert not torch.equal(changed[1], image[1])
    assert torch.equal(changed_ids(values, [none, drawn(0)])[0], values[0])


def test_values_stay_in_range() -> None:
    edges = torch.from_numpy(np.where(ids() % 2, 1.0, -1.0).astype(np.float32))[None, None]
    assert changed_images(edges, [drawn(1)]).abs().max() <= 1


def test_labels_tell_the_change_whole() -> None:
    """From the labels alone the matrix can be put together again, as a polar decomposition tells it."""
    for seed in range(50):
        one = drawn(seed)
        flipped, scale, cos, sin, along, across, *shift = one.labels.astype(float)
        without_flip = np.diag([1 - 2 * flipped, 1]) @ one.matrix
        left, values, right = np.linalg.svd(without_flip)
        turn, stretched = left @ right, right.T @ np.diag(values) @ right
        np.testing.assert_allclose(turn, [[cos + 1, -sin], [sin, cos + 1]], atol=1e-5)
        assert math.sqrt(values.prod()) == pytest.approx(2 ** (0.2 * scale), rel=1e-5)
        strength = math.hypot(along, across)
        assert math.sqrt(values[0] / values[1]) == pytest.approx(2 ** (0.2 * strength), rel=1e-5)
        direction = math.atan2(across, along) / 2
        axis = np.array([math.cos(direction), math.sin(direction)])
        np.testing.assert_allclose(stretched @ axis, values[0] * axis, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(one.shift, 0.125 * np.array(shift), rtol=1e-5)


def test_each_kind_comes_with_its_probability() -> None:
    labels = np.stack([draw_change(np.random.default_rng(seed), 0.3).labels for seed in range(4000)])
    kinds = [labels[:, 0], labels[:, 1], labels[:, 2], labels[:, 4], labels[:, 6]]
    shares = [float((kind != 0).mean()) for kind in kinds]
    assert shares == pytest.approx([0.15, 0.3, 0.3, 0.3, 0.3], abs=0.03)
    together = (labels[:, 1] != 0) & (labels[:, 6] != 0)
    assert together.mean() == pytest.approx(0.09, abs=0.02)


def config(small: dict[str, Any], **values: Any) -> TrainConfig:
    return build(TrainConfig, with_preset(small | values))


def test_image_and_mask_are_changed_alike(fruit: SegmentationDataset, small: dict[str, Any]) -> None:
    changed, plain = config(small, augment=1.0, drop_rate=0.0), config(small, drop_rate=0.0)
    images, _ = load_training_images(fruit, plain)
    painted = np.where((images.masks > 0)[..., None], 255, 0).astype(np.uint8).repeat(3, axis=3)
    object.__setattr__(images, "images", painted)
    batch = draw_batch(images, changed, range(8))
    is_object = batch.semantic_map[:, 1:].sum(dim=1) > 0
    assert ((batch.x_start[:, 0] > 0) == is_object).float().mean() > 0.97
    assert batch.changes.any(dim=1).all()
    same = draw_batch(images, plain, range(8))
    assert not same.changes.any()
    assert torch.equal(same.noise, batch.noise)
    assert torch.equal(same.steps, batch.steps)
    assert not torch.equal(same.x_start, batch.x_start)


def test_the_fixed_grid_knows_no_change(fruit: SegmentationDataset, small: dict[str, Any]) -> None:
    changed = config(small, augment=1.0)
    images, _ = load_training_images(fruit, changed)
    grid = make_grid(images, changed)
    assert grid is not None
    batch = grid.batch(0, 3)
    assert not batch.changes.any()
    assert torch.equal(batch.x_start, make_grid(images, config(small)).batch(0, 3).x_start)  # type: ignore[union-attr]


def test_a_resumed_run_equals_an_undisturbed_one_and_paints(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path
) -> None:
    small = small | {"augment": 0.5, "learning_rate": 1e-2}
    train(config(small, steps=6), fruit, tmp_path / "whole")
    train(config(small, steps=2), fruit, tmp_path / "parts")
    train(config(small, steps=6), fruit, tmp_path / "parts")
    whole, parts = (checkpoint.read_state(tmp_path / name) for name in ("whole", "parts"))
    assert whole is not None
    assert parts is not None
    assert all(torch.equal(whole["weights"][name], parts["weights"][name]) for name in whole["weights"])
    pipeline = SemanticDiffusionPipeline.from_pretrained(tmp_path / "whole")
    assert pipeline.unet.config.augmentation_labels == NUM_LABELS
    quick = {"num_samples": 2, "steps": 2, "sampler": "ddim", "device": "cpu"}
    painted = sample(build(SampleConfig, quick), tmp_path / "whole", fruit, tmp_path / "painted")
    assert len(painted.pairs("train")) == 2


def test_the_labels_are_learnt_from(fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path) -> None:
    pipeline = train(config(small, steps=4, augment=0.9, learning_rate=1e-2), fruit, tmp_path / "model")
    x_t, t = torch.randn(1, 3, 32, 32), torch.tensor([500.0])
    unet, semantic_map = pipeline.unet, torch.zeros(1, fruit.info.num_classes, 32, 32)
    with torch.no_grad():
        plain = unet(x_t, t, semantic_map)
        assert torch.equal(plain, unet(x_t, t, semantic_map, torch.zeros(1, NUM_LABELS)))
        assert not torch.allclose(plain, unet(x_t, t, semantic_map, torch.ones(1, NUM_LABELS)), atol=1e-4)


def test_finetuning_goes_on_with_changes_and_refuses_them_where_nobody_told_of_any(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path
) -> None:
    train(config(small, steps=2, augment=0.5), fruit, tmp_path / "told")
    inherited = finetune_config(tmp_path / "told", {"steps": 1})
    assert inherited.augment == 0.5
    finetune(inherited, tmp_path / "told", fruit, tmp_path / "tuned")
    without = finetune_config(tmp_path / "told", {"steps": 1, "augment": 0.0})
    finetune(without, tmp_path / "told", fruit, tmp_path / "tuned-without")
    train(config(small, steps=2), fruit, tmp_path / "untold")
    asked = finetune_config(tmp_path / "untold", {"steps": 1, "augment": 0.2})
    assert isinstance(asked, FinetuneConfig)
    with pytest.raises(ModelError, match="trained without augment"):
        finetune(asked, tmp_path / "untold", fruit, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_init_takes_over_all_but_the_labels(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(config(small, steps=1), fruit, tmp_path / "first")
    train(config(small, steps=1, augment=0.2), fruit, tmp_path / "second", init=tmp_path / "first")
    assert "1 others start anew" in capsys.readouterr().err


def test_the_other_first_weights_are_the_same(
    fruit: SegmentationDataset, small: dict[str, Any], tmp_path: Path
) -> None:
    plain, told = (
        train(config(small, steps=1, learning_rate=1e-12, augment=augment), fruit, tmp_path / f"{augment}").unet
        for augment in (0.0, 0.2)
    )
    own = told.state_dict()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(own[name], value, atol=1e-6, rtol=0)
