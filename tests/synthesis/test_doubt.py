"""Doubted pixels: the rule by hand, and masks whose one half was never painted."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from isdm.config import SelectConfig, build
from isdm.data.checking import check_dataset
from isdm.data.dataset import (
    IGNORE_INDEX,
    DatasetInfo,
    SegmentationClass,
    SegmentationDataset,
    write_metadata,
    write_pair,
)
from isdm.data.judgements import KEPT, append_judgement
from isdm.synthesis import select as stage
from isdm.synthesis.decisions import Decision
from isdm.synthesis.doubt import ClassLosses, label_losses, without_doubted
from isdm.synthesis.judges import Judge
from isdm.synthesis.select import select

SIDE = 32
CLASSES = tuple(SegmentationClass(k, name, (k, k, k)) for k, name in enumerate(("good", "scratch", "hole")))
INFO = DatasetInfo("parts", CLASSES)
BRIGHTNESS = (40, 120, 200)
"""How each class is painted."""


class Reader(torch.nn.Module):
    """A segmenter that knows each class by its brightness, and doubts what is painted as another."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = torch.nn.Parameter(torch.tensor(BRIGHTNESS) / 255)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return -40 * (images[:, :1] - self.levels[:, None, None]).abs()


def painted_as(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    values = np.take(BRIGHTNESS, np.where(mask == IGNORE_INDEX, 0, mask)) + rng.normal(0, 6, mask.shape)
    return values.clip(0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)


def write_dataset(folder: Path, masks: list[np.ndarray], shown: list[np.ndarray], source: dict[str, Any]) -> None:
    rng, lines = np.random.default_rng(0), []
    info = DatasetInfo(folder.name, CLASSES, source=source)
    for number, (mask, seen) in enumerate(zip(masks, shown, strict=True)):
        names = {"image_file_name": f"images/{number}.png", "mask_file_name": f"masks/{number}.png"}
        write_pair(folder / "train", names, painted_as(seen, rng), mask, info)
        lines.append(names | {"group": f"g{number}", "source_groups": [f"g{number}"], "mask_index": number})
    write_metadata(folder / "train", lines)
    info.write(folder)


def mask_with(left: int, class_id: int = 1) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[8:24, left : left + 16] = class_id
    mask[0] = IGNORE_INDEX
    return mask


@pytest.fixture
def sets(tmp_path: Path) -> tuple[SegmentationDataset, SegmentationDataset]:
    """Real pairs, and synthetic ones: of the scratches the upper quarter is not painted, holes are whole."""
    masks = [mask_with(4 + k, 1 + k % 2) for k in range(8)]
    write_dataset(tmp_path / "real", masks, masks, {})
    shown = [mask.copy() for mask in masks]
    for mask in shown[::2]:
        mask[8:12] = 0
    write_dataset(tmp_path / "painted", masks, shown, {"synthetic": True})
    return SegmentationDataset(tmp_path / "real"), SegmentationDataset(tmp_path / "painted")


@pytest.fixture(autouse=True)
def _trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judges that need no training, and features that tell nothing."""
    judge = Judge(Reader(), frozenset(), torch.float32)  # type: ignore[arg-type]

    def judges(*arguments: Any) -> tuple[list[Judge], list[float]]:
        arguments[-1].mkdir(parents=True)  # the folder where trained ones are kept
        return [judge], [1.0]

    monkeypatch.setattr(stage, "_judges", judges)
    features = SimpleNamespace(name="none", compute=lambda images: np.ones((len(images), 2), np.float32))
    monkeypatch.setattr(stage, "_extractor", lambda *_: features)


def config(**values: Any) -> SelectConfig:
    return build(SelectConfig, {"criteria": [], "device": "cpu", "doubt": 1.25} | values)


def test_a_loss_is_the_cross_entropy_of_the_label() -> None:
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(3, 4, 5, 6)).astype(np.float32))
    masks = rng.integers(0, 4, (3, 5, 6)).astype(np.uint8)
    masks[0, 0, 0] = IGNORE_INDEX
    expected = torch.nn.functional.cross_entropy(
        logits, torch.from_numpy(masks.astype(np.int64)), ignore_index=IGNORE_INDEX, reduction="none"
    )
    np.testing.assert_allclose(label_losses(logits.softmax(1).numpy(), masks), expected, atol=1e-5)


def test_a_limit_is_so_many_times_the_mean_of_its_class() -> None:
    losses, totals = np.array([[[1.0, 3.0, 10.0, 99.0]]], np.float32), ClassLosses.none(3)
    totals.add(losses, np.array([[[0, 0, 1, IGNORE_INDEX]]], np.uint8))
    totals.add(losses[..., :1] * 5, np.array([[[0]]], np.uint8))
    assert totals.limits(1.5).tolist() == [1.5 * 3, 1.5 * 10, math.inf]


def test_what_lies_above_its_limit_is_ignored() -> None:
    masks = np.array([[[0, 0, 1, IGNORE_INDEX]]], np.uint8)
    sure, unsure = 0.9, 0.2
    probabilities = np.array([[[sure, unsure, sure, sure]], [[1 - sure, 1 - unsure, 1 - sure, 0]]], np.float32)[None]
    limits = np.array([-math.log(0.5), -math.log(0.01)])
    assert without_doubted(probabilities, masks, limits).tolist() == [[[0, IGNORE_INDEX, 1, IGNORE_INDEX]]]
    assert masks.tolist() == [[[0, 0, 1, IGNORE_INDEX]]]


def test_what_was_not_painted_is_ignored_and_the_rest_is_kept(
    sets: tuple[SegmentationDataset, SegmentationDataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real, painted = sets
    chosen = select(config(), painted, real, tmp_path / "selected")
    assert "Kept 8 of 8 pairs. Doubted and ignored:" in capsys.readouterr().err
    assert check_dataset(chosen) == 8
    for number, (pair, before) in enumerate(zip(chosen.pairs("train"), painted.pairs("train"), strict=True)):
        mask, was = chosen.load_mask(pair), painted.load_mask(before)
        unpainted = (was == 1) & (np.arange(SIDE)[:, None] < 12)
        assert unpainted.any() == (number % 2 == 0)
        assert (mask[unpainted] == IGNORE_INDEX).all()
        rest = (was > 0) & (was != IGNORE_INDEX) & ~unpainted
        assert (mask[rest] == was[rest]).mean() > (0.95 if number % 2 == 0 else 0.6)
        assert set(np.unique(mask[mask != was])) <= {IGNORE_INDEX}
        assert pair.metadata["scores"]["doubted_px"] == (mask != was).sum()
    summary = json.loads((tmp_path / "selected" / "select.json").read_text())
    assert summary["share_doubted"]["scratch"] == pytest.approx(0.25, abs=0.03)
    assert {json.loads(line)["kept"] for line in (chosen.folder / "train" / "metadata.jsonl").open()} == {True}
    assert painted.load_mask(painted.pairs("train")[0])[9, 9] == 1, "the input is never changed"


def test_what_a_person_kept_is_left_as_it_is(
    sets: tuple[SegmentationDataset, SegmentationDataset], tmp_path: Path
) -> None:
    real, painted = sets
    append_judgement(painted.folder / "train", "images/0.png", "keep")
    chosen = select(config(), painted, real, tmp_path / "selected")
    masks = [chosen.load_mask(pair) for pair in chosen.pairs("train")]
    assert not (masks[0][1:] == IGNORE_INDEX).any()
    assert (masks[2][1:] == IGNORE_INDEX).any()
    assert "doubted_px" not in chosen.pairs("train")[0].metadata["scores"]


def test_masks_of_judges_and_of_people_lose_nothing() -> None:
    assert Decision(True).may_lose_pixels
    assert not Decision(True, "agreement: mask of the judges taken", repaired=True).may_lose_pixels
    assert not Decision(True, KEPT).may_lose_pixels
    assert not Decision(False, "colour").may_lose_pixels


def test_without_doubt_no_mask_changes(sets: tuple[SegmentationDataset, SegmentationDataset], tmp_path: Path) -> None:
    real, painted = sets
    chosen = select(config(doubt=None), painted, real, tmp_path / "selected")
    for pair, before in zip(chosen.pairs("train"), painted.pairs("train"), strict=True):
        np.testing.assert_array_equal(chosen.load_mask(pair), painted.load_mask(before))
    assert "share_doubted" not in json.loads((tmp_path / "selected" / "select.json").read_text())
