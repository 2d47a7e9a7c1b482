"""What segmenters see of the decoded pairs, and what they do where numbers or memory run out."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from isdm.config import SegmenterConfig, build
from isdm.errors import ModelError
from isdm.training import segmentation
from isdm.training.segmentation import LabelledImages, MixedImages, _batch, predict_masks, train_segmenter


class Bright(nn.Module):
    """Class 1 where the first channel is above a half; remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(0.5))
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        return torch.stack([self.threshold.expand_as(images[:, 0]), images[:, 0]], dim=1)


def test_images_of_16_bits_look_like_those_of_8() -> None:
    narrow = np.random.default_rng(0).integers(0, 256, (40, 4, 5, 1), np.uint8)  # more than one batch
    wide = narrow.astype(np.uint16) * 257
    network = Bright()
    masks = [predict_masks(network, images) for images in (narrow, wide)]
    np.testing.assert_array_equal(masks[0], narrow[:, :, :, 0] > 127)
    np.testing.assert_array_equal(masks[1], masks[0])
    seen = torch.cat(network.seen)
    assert torch.allclose(seen[:40], seen[40:], atol=1e-6)
    assert 0 <= seen.min() < 0.05
    assert 0.95 < seen.max() <= 1


def test_a_mix_gives_the_pairs_of_its_parts_one_after_another() -> None:
    first, second = (
        LabelledImages(np.arange(start, start + 6, dtype=np.uint8).reshape(6, 1, 1, 1), np.full((6, 1, 1), mask))
        for start, mask in ((10, 1), (20, 2))
    )
    chosen, added, again = np.array([5, 0]), np.array([3]), np.array([0, 0])
    mix = MixedImages(((first, chosen), (second, added), (first, again)))
    assert len(mix) == 5
    taken = mix.take(np.array([4, 2, 0, 0, 1, 3]))
    assert taken.images.ravel().tolist() == [10, 23, 15, 15, 10, 10]
    assert taken.masks.ravel().tolist() == [1, 2, 1, 1, 1, 1]
    assert taken.images.dtype == np.uint8


def test_a_batch_of_a_mix_is_that_of_the_joined_arrays() -> None:
    rng = np.random.default_rng(0)
    parts = [
        LabelledImages(rng.integers(0, 65536, (7, 4, 5, 1), np.uint16), rng.integers(0, 3, (7, 4, 5), np.uint8))
        for _ in range(2)
    ]
    rows = [rng.permutation(7)[:4], rng.permutation(7)[:5]]
    mix = MixedImages(tuple(zip(parts, rows, strict=True)))
    joined = LabelledImages(
        np.concatenate([part.images[row] for part, row in zip(parts, rows, strict=True)]),
        np.concatenate([part.masks[row] for part, row in zip(parts, rows, strict=True)]),
    )
    indices = rng.permutation(9)
    for mine, expected in zip(*(_batch(pairs, indices, torch.device("cpu")) for pairs in (mix, joined)), strict=True):
        assert torch.equal(mine, expected)


def test_training_scales_16_bits_too() -> None:
    images = np.array([[[[65535]]], [[[0]]]], np.uint16)
    pairs = LabelledImages(images, np.zeros((2, 1, 1), np.uint8))
    batch, masks = _batch(pairs, np.array([0, 1, 0]), torch.device("cpu"))
    assert batch.ravel().tolist() == [1, 0, 1]
    assert masks.dtype == torch.int64


def test_pretraining_takes_its_share_of_the_steps_and_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 pairs before 16: a third of 9 steps, and batch normalisation is measured on what is being learnt."""
    first, later = pairs_of(8), pairs_of(16)
    learnt, measured = [], []
    true_batch, true_measure = segmentation._batch, segmentation._measure_batch_norm

    def batch(pairs: LabelledImages, *rest: Any) -> tuple[Tensor, Tensor]:
        learnt.append((pairs is first, rest[0]))
        return true_batch(pairs, *rest)

    def measure(network: Any, pairs: LabelledImages, *rest: Any) -> None:
        measured.append(pairs is first)
        true_measure(network, pairs, *rest)

    monkeypatch.setattr(segmentation, "_batch", batch)
    monkeypatch.setattr(segmentation, "_measure_batch_norm", measure)
    config = build(SegmenterConfig, OPTIONS | {"batch_norm": "precise"})
    train_segmenter(config, "fpn", later, pairs_of(2), 2, num_steps=9, num_validations=3, seed=0, pretraining=first)
    assert [is_first for is_first, _ in learnt] == [True] * 3 + [False] * 6
    assert measured == [True, False, False]
    assert sorted(np.concatenate([indices for is_first, indices in learnt[:2]])) == list(range(8)), "a pass over all"
    assert sorted(np.concatenate([indices for is_first, indices in learnt[3:7]])) == list(range(16))


OPTIONS = {"encoder": "resnet18", "encoder_weights": "none", "batch_size": 4, "precision": "float32", "device": "cpu"}


def pairs_of(count: int) -> LabelledImages:
    rng = np.random.default_rng(1)
    return LabelledImages(
        rng.integers(0, 256, (count, 32, 32, 3), np.uint8), rng.integers(0, 2, (count, 32, 32), np.uint8)
    )


def trained_with(monkeypatch: pytest.MonkeyPatch, spoilt: set[int], num_steps: int) -> dict[str, Tensor]:
    """Weights and running means after a training in which the images of some steps are infinite."""
    calls = [0]
    true_batch = segmentation._batch

    def batch(*arguments: object) -> tuple[Tensor, Tensor]:
        calls[0] += 1
        images, masks = true_batch(*arguments)  # type: ignore[arg-type]
        return (images + torch.inf if calls[0] in spoilt else images), masks

    with monkeypatch.context() as patch:
        patch.setattr(segmentation, "_batch", batch)
        config = build(SegmenterConfig, OPTIONS)
        pairs = pairs_of(4)
        trained = train_segmenter(config, "fpn", pairs, pairs, 2, num_steps=num_steps, num_validations=1, seed=0)
    return trained.network.state_dict()


@pytest.mark.parametrize("architecture", ["fpn", "deeplabv3plus"])
def test_precise_batch_norm_averages_over_training_images(architecture: str) -> None:
    pairs, validation = pairs_of(13), pairs_of(2)
    networks = {}
    for way in ("running", "precise"):
        config = build(SegmenterConfig, OPTIONS | {"batch_norm": way, "learning_rate": 1e-2})
        networks[way] = train_segmenter(
            config, architecture, pairs, validation, 2, num_steps=6, num_validations=3, seed=0, keep="last"
        ).network
    running, precise = (dict(network.named_parameters()) for network in networks.values())
    for name, weights in running.items():
        assert torch.equal(weights, precise[name]), "training itself goes on as it would have"
    seen: list[Tensor] = []
    first = next(m for m in networks["precise"].modules() if isinstance(m, nn.BatchNorm2d))
    first.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    images = torch.from_numpy(pairs.images).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        networks["precise"](images)
    mean = seen[0].mean(dim=(0, 2, 3))
    spread = seen[0].mean(dim=(2, 3)).std(dim=0)  # 13 images in two batches of 8: three count twice
    assert ((first.running_mean - mean).abs() <= spread).all()
    other = next(m for m in networks["running"].modules() if isinstance(m, nn.BatchNorm2d))
    assert (first.running_mean - mean).norm() < 0.5 * (other.running_mean - mean).norm()


def test_without_anything_to_find_in_validation_the_last_checkpoint_is_kept() -> None:
    pairs, validation = pairs_of(8), pairs_of(2)
    clear = LabelledImages(validation.images, np.zeros_like(validation.masks))
    config = build(SegmenterConfig, OPTIONS)
    steps = {"num_steps": 6, "num_validations": 3, "seed": 0}
    best = train_segmenter(config, "fpn", pairs, clear, 2, **steps)
    last = train_segmenter(config, "fpn", pairs, validation, 2, keep="last", **steps)
    assert np.isnan(best.validation_iou)
    for one, other in zip(best.network.state_dict().values(), last.network.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("architecture", ["fpn", "deeplabv3plus"])
def test_a_batch_too_small_for_its_normalisation_is_told(architecture: str) -> None:
    config = build(SegmenterConfig, OPTIONS | {"batch_size": 1})
    with pytest.raises(ModelError, match=r"batch_size = 1 is too few for 32x32 pixels.*batch_size=2 or more"):
        train_segmenter(config, architecture, pairs_of(3), pairs_of(2), 2, num_steps=1, num_validations=1, seed=0)


def test_augmentation_takes_the_largest_seed() -> None:
    images, masks = torch.rand(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.int64)
    changed = [segmentation._augmented(images, masks, 2**63 - 1, step)[0] for step in (1, 1, 2)]
    assert torch.equal(changed[0], changed[1])
    assert not torch.equal(changed[1], changed[2])


def test_precise_batch_norm_of_a_single_image() -> None:
    config = build(SegmenterConfig, OPTIONS | {"batch_norm": "precise"})
    trained = train_segmenter(
        config, "deeplabv3plus", pairs_of(1), pairs_of(1), 2, num_steps=1, num_validations=1, seed=0
    )
    assert predict_masks(trained.network, pairs_of(2).images).shape == (2, 32, 32)


def test_a_step_without_numbers_leaves_nothing_in_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in its weights nor in the running means, where an infinite value would stay for good."""
    weights = trained_with(monkeypatch, {2}, 3)
    assert all(bool(value.isfinite().all()) for value in weights.values())
    counted = [value for name, value in weights.items() if name.endswith("num_batches_tracked")]
    assert {int(value) for value in counted} == {2}


def test_steps_without_numbers_end_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="no numbers"):
        trained_with(monkeypatch, set(range(2, 20)), 19)


def test_predictions_without_numbers_are_no_result() -> None:
    network = Bright()
    with torch.no_grad():
        network.threshold.fill_(torch.nan)
    with pytest.raises(ModelError, match="no numbers"):
        predict_masks(network, np.zeros((2, 4, 5, 1), np.uint8))


class Narrow(Bright):
    """Memory suffices for a few images."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return super().forward(images)


def test_predicting_backs_off_where_memory_is_short() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 5, 1), np.uint8)
    np.testing.assert_array_equal(predict_masks(Narrow(5), images), predict_masks(Bright(), images))
    with pytest.raises(ModelError, match="Memory does not suffice"):
        predict_masks(Narrow(0), images)


def test_training_says_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation, "build_segmenter", lambda *_: OrderedNarrow(2))
    with pytest.raises(ModelError, match="batch_size than 4"):
        trained_with(monkeypatch, set(), 1)


class OrderedNarrow(Narrow):
    def ordered(self, _: torch.memory_format) -> "OrderedNarrow":
        return self
