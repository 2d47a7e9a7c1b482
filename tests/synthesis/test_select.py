import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from isdm.config import SelectConfig, build
from isdm.data.checking import check_dataset
from isdm.data.dataset import DatasetInfo, SegmentationClass, SegmentationDataset, write_metadata, write_pair
from isdm.errors import DataError
from isdm.synthesis import select as stage
from isdm.synthesis.decisions import Judged, decide
from isdm.synthesis.judges import Judge, folds_of, read_images
from isdm.synthesis.scores import (
    Agreement,
    Colours,
    Measures,
    References,
    Result,
    Yardstick,
    agreement,
    colour_statistics,
    compare,
    far_out,
    measure,
    tail_probabilities,
    tail_probabilities_like_area,
)
from isdm.synthesis.select import select

INFO = DatasetInfo(
    "test", tuple(SegmentationClass(k, name, (k, k, k)) for k, name in enumerate(("background", "a", "b")))
)


def config(**values: Any) -> SelectConfig:
    defaults = {"encoder_weights": "none", "epochs": 10, "precision": "float32", "device": "cpu", "folds": 2}
    return build(SelectConfig, defaults | {"extractor": "segmenter"} | values)


class Constant(torch.nn.Module):
    """A segmenter that is sure of one class."""

    def __init__(self, class_id: int) -> None:
        super().__init__()
        self.class_id = torch.nn.Parameter(torch.tensor(float(class_id)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = torch.full((len(images), 3, *images.shape[2:]), -50.0)
        logits[:, int(self.class_id)] = 50.0
        return logits


def test_folds_keep_groups_together_and_are_even() -> None:
    rng = np.random.default_rng(0)
    groups = [f"g{k}" for k in rng.integers(0, 25, 200)]
    sizes = rng.integers(1, 6, 200).tolist()
    fold = folds_of(groups, sizes, 3, seed=0)
    assert set(fold) == set(groups)
    totals = [sum(size for group, size in zip(groups, sizes, strict=True) if fold[group] == k) for k in range(3)]
    assert max(totals) - min(totals) < 0.1 * sum(totals)
    assert fold != folds_of(groups, [1] * 200, 3, seed=1)


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        (
            {"features": [1, 1, 0], "colour": [0, 0, 1]},
            r"\(failing: features 2, colour 1\).* another folder with fewer",
        ),
        (
            {"agreement": [1, 1, 1], "colour": [0, 0, 0]},
            r"\(failing: agreement 3\).* with a smaller --set reject=… or",
        ),
    ],
)
def test_where_no_pair_passes_it_is_told_by_what(
    fails: dict[Any, list[int]], said: str, fruit: SegmentationDataset
) -> None:
    text = stage._none_passes(fruit, 3, {name: np.array(values, bool) for name, values in fails.items()})
    assert re.search(said, text)


def test_nobody_judges_what_stems_from_its_own_images() -> None:
    seen = (frozenset({"x", "y"}), frozenset({"y", "z"}), frozenset({"z", "x"}))
    judges = [Judge(Constant(k), own, torch.float32) for k, own in enumerate(seen)]  # type: ignore[arg-type]
    images = np.zeros((4, 32, 32, 3), np.uint8)
    reading = read_images(judges, images, [["x"], ["z"], ["new"], ["x", "y"]])
    mean = reading.probabilities.mean(axis=(2, 3))
    assert np.allclose(mean, [[0, 1, 0], [1, 0, 0], [1 / 3] * 3, [0, 0.5, 0.5]], atol=1e-6)
    assert reading.num_unseen.tolist() == [1, 1, 3, 0]


def test_agreement_of_sure_judges_is_the_iou() -> None:
    rng = np.random.default_rng(0)
    masks = rng.choice(np.array([0, 1, 2, 255], np.uint8), (6, 8, 8))
    masks[5] = 0
    masks[4][masks[4] == 2] = 0
    seen = rng.integers(0, 3, masks.shape)
    probabilities = np.stack([seen == k for k in range(3)], axis=1).astype(np.float32)
    found = agreement(probabilities, masks, INFO)
    for row in range(6):
        valid = masks[row] != 255
        alarm = 0.0
        for k in (1, 2):
            truth, guess = (masks[row] == k) & valid, (seen[row] == k) & valid
            if truth.any():
                assert found.overlap[row, k] == pytest.approx((truth & guess).sum() / (truth | guess).sum())
                assert found.area[row, k] == pytest.approx(truth.sum() / valid.sum())
            else:
                assert np.isnan(found.overlap[row, k])
                alarm += guess.sum() / valid.sum()
        assert found.false_alarm[row] == pytest.approx(alarm)
    assert np.isnan(found.overlap[:, 0]).all()


def test_tails_are_shares_of_real_values() -> None:
    rng = np.random.default_rng(0)
    real, values = rng.normal(size=40).round(1), rng.normal(size=15).round(1)
    values[3] = np.nan
    low = tail_probabilities(values, np.append(real, np.nan), low_is_bad=True)
    high = tail_probabilities(values, real, low_is_bad=False)
    for place, value in enumerate(values):
        expected = (1, 1) if place == 3 else ((1 + (real <= value).sum()) / 41, (1 + (real >= value).sum()) / 41)
        assert (low[place], high[place]) == pytest.approx(expected)
    assert tail_probabilities(values, np.array([]), low_is_bad=True).tolist() == [1] * 15


def test_small_objects_are_compared_with_small_ones() -> None:
    areas = np.concatenate([np.full(50, 0.001), np.full(50, 0.1)])
    overlap = np.concatenate([np.linspace(0.1, 0.3, 50), np.linspace(0.7, 0.9, 50)])
    found = tail_probabilities_like_area(
        np.array([0.2, 0.2, 0.8, np.nan]), np.array([0.001, 0.1, 0.1, 0.1]), overlap, areas
    )
    assert found[0] > 0.2
    assert found[1] < 0.05
    assert found[2] > 0.2
    assert found[3] == 1


def test_far_out_is_beyond_the_outer_fence() -> None:
    real = np.arange(101.0)
    assert far_out(np.array([224.9, 225.1]), real).tolist() == [False, True]


def test_colours_are_told_by_mean_and_spread() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(120, 20, (60, 16, 16, 3)).clip(0, 255).astype(np.uint8)
    colours = Colours.of(colour_statistics(real))
    tinted = real[:3].copy()
    tinted[..., 0] = tinted[..., 0] // 2 + 120
    own = colours.distances(colour_statistics(real))
    assert colours.distances(colour_statistics(tinted)).min() > 2 * own.max()
    statistics = colour_statistics(real[:1])[0]
    assert statistics[:3] == pytest.approx(real[0].mean(axis=(0, 1)) / 255, abs=1e-6)
    assert statistics[3:6] == pytest.approx(real[0].std(axis=(0, 1)) / 255, abs=1e-6)
    wide = (real.astype(np.uint16) * 257)[:1]
    assert np.allclose(colour_statistics(wide), colour_statistics(real[:1]), atol=1e-6)


def judged(tails: Sequence[float], mask_index: Sequence[int], **failing: Sequence[int]) -> Judged:
    count = len(tails)

    def flags(name: str) -> NDArray[np.bool_]:
        return np.isin(np.arange(count), failing.get(name, ()))

    nothing = np.zeros(count)
    measures = Measures(
        Agreement(np.full((count, 3), 0.5), np.full((count, 3), 0.1), nothing),
        np.arange(count, dtype=float),
        nothing,
        np.ones((count, 2)),
    )
    copies = np.where(flags("copies"), 0.01, 1.0)
    result = Result(np.array(tails), copies, flags("features"), flags("colour"))
    return Judged(measures, result, flags("background"), ~flags("unclear"), list(mask_index))


def test_two_groups_do_not_tell_copies_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Without its own group a real picture has a single other one, and no ratio."""
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3)).astype(np.uint8)
    features = images.reshape(6, -1)[:, :5].astype(np.float32)
    groups = ["a", "a", "a", "b", "b", "b"]
    references = References(images, groups, features, Colours.of(colour_statistics(images)))
    seen = Agreement(np.full((6, 3), 0.5), np.full((6, 3), 0.1), np.zeros(6))
    sources = [[name] for name in groups]
    real = measure(seen, images, features, sources, references, are_references=True)
    assert np.isnan(real.copy_ratio).all()
    copies = measure(seen, images, features, sources, references, are_references=False)
    assert (compare(copies, Yardstick.of(real, INFO)).copies == 1).all()
    lines = Judged(real, compare(real, Yardstick.of(real, INFO)), np.zeros(6, bool), np.ones(6, bool), range(6))
    assert lines.scores(0)["copy_ratio_features"] is lines.scores(0)["copy_ratio_pixels"] is None
    stage._warn_of_few_groups(config(), groups)
    assert "has 2 groups; it takes three" in capsys.readouterr().err
    stage._warn_of_few_groups(config(), [*groups, "c"])
    stage._warn_of_few_groups(config(criteria=["agreement"]), groups)
    assert not capsys.readouterr().err


def test_what_fails_is_dropped_with_its_reasons() -> None:
    found = decide(config(), judged([0.5, 0.04, 0.5, 0.02, 0.5], range(5), copies=[2, 4], colour=[3], background=[4]))
    assert [decision.kept for decision in found] == [True, False, False, False, True]
    assert [decision.reason for decision in found] == ["", "agreement", "copies", "agreement, colour", ""]
    only = decide(config(criteria=["colour"]), judged([0.5, 0.04], range(2), colour=[0]))
    assert [decision.kept for decision in only] == [False, True]


def test_of_each_mask_the_best_is_kept() -> None:
    tails = [0.5, 0.9, 0.9, 0.01, 0.3, 0.2, 0.8]
    found = decide(config(best_of=2), judged(tails, [0, 0, 1, 1, 2, 2, 2]))
    assert [decision.kept for decision in found] == [False, True, True, False, True, False, True]
    ties = decide(config(best_of=2), judged([0.5, 0.5], [0, 0]))
    assert [decision.kept for decision in ties] == [True, False]  # the nearer one in features


def test_at_most_so_many_are_kept() -> None:
    found = decide(config(keep=2), judged([0.2, 0.9, 0.5, 0.8], range(4)))
    assert [decision.kept for decision in found] == [False, True, False, True]
    assert found[0].reason == "not among the best 2"


def test_a_persons_keep_goes_before_all_criteria() -> None:
    tails, masks = [0.01, 0.9, 0.5, 0.8], [0, 0, 1, 1]
    found = decide(config(best_of=2), judged(tails, masks, copies=[2]), [True, False, True, False])
    assert [decision.kept for decision in found] == [True, False, True, False]
    assert found[0].reason == "kept by a person in spite of agreement"
    assert found[2].reason == "kept by a person in spite of copies"
    assert found[1].reason == "another picture of its mask is better"
    few = decide(config(keep=1), judged([0.2, 0.9], range(2)), [True, False])
    assert [decision.kept for decision in few] == [True, False]
    repaired = decide(config(repair=True), judged([0.01], [0]), [True])
    assert not repaired[0].repaired, "a person has seen the mask as it is"


def test_only_a_clear_disagreement_is_repaired() -> None:
    options = config(repair=True)
    found = decide(options, judged([0.01, 0.01, 0.01, 0.5], range(4), unclear=[1], colour=[2]))
    assert [decision.repaired for decision in found] == [True, False, False, False]
    assert [decision.kept for decision in found] == [True, False, False, True]
    assert found[0].as_metadata()["repaired"]


def contents(folder: Path) -> dict[str, bytes]:
    names = ("provenance.json", "select.json")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in names
    }


@pytest.mark.slow
def test_wrong_masks_are_dropped_or_repaired(
    many_fruit: SegmentationDataset, painted: SegmentationDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(painted.folder)
    options = config(criteria=["agreement"], reject=0.15, repair=True)
    copied, real_copy = [], stage.copy_file

    def dies(source: Path, path: Path) -> None:
        copied.append(path)
        if len(copied) == 5:
            raise KeyboardInterrupt
        real_copy(source, path)

    monkeypatch.setattr(stage, "copy_file", dies)
    with pytest.raises(KeyboardInterrupt):
        select(options, painted, many_fruit, tmp_path / "selected")
    monkeypatch.undo()
    with monkeypatch.context() as patch:  # the judges were kept: none is trained again
        patch.setattr("isdm.synthesis.judges.train_segmenter", None)
        chosen = select(options, painted, many_fruit, tmp_path / "selected")
    assert contents(painted.folder) == before
    lines = [json.loads(x) for x in (chosen.folder / "train" / "metadata.jsonl").read_text().splitlines()]
    as_they_were = [line["kept"] and "repaired" not in line for line in lines]
    wrong, right = (as_they_were[start::2] for start in (1, 0))
    assert np.mean(wrong) < 0.35
    assert np.mean(right) > 0.6
    assert all(line["reason"] == "agreement" for line in lines if not line["kept"])
    assert all({"agreement", "copies", "iou_of_class"} <= line["scores"].keys() for line in lines)
    assert len(chosen.pairs("train")) == sum(line["kept"] for line in lines) == check_dataset(chosen)
    assert not (chosen.folder / "judges").exists()
    summary = json.loads((chosen.folder / "select.json").read_text())
    assert summary["num_kept"] == len(chosen.pairs("train"))
    (chosen.folder / "judges").mkdir()  # as if it had been ended right behind its last file
    assert select(options, painted, many_fruit, tmp_path / "selected").info.split == {"train": summary["num_kept"]}
    assert not (chosen.folder / "judges").exists()

    flagged = [pair for pair in chosen.pairs("train") if pair.metadata.get("repaired")]
    assert flagged
    originals = {pair.image.name: pair for pair in painted.pairs("train")}
    assert all(not np.array_equal(chosen.load_mask(p), painted.load_mask(originals[p.image.name])) for p in flagged)


def test_other_data_are_refused(fruit: SegmentationDataset, tmp_path: Path) -> None:
    write_pair(
        tmp_path / "other" / "train",
        {"image_file_name": "images/0.png", "mask_file_name": "masks/0.png"},
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((32, 32), np.uint8),
        INFO,
    )
    write_metadata(
        tmp_path / "other" / "train", [{"image_file_name": "images/0.png", "mask_file_name": "masks/0.png"}]
    )
    INFO.write(tmp_path / "other")
    with pytest.raises(DataError, match="different classes"):
        select(config(), SegmentationDataset(tmp_path / "other"), fruit, tmp_path / "out")
