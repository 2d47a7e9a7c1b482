"""The search: it reads no test image, goes on where it stopped, and what it finds is tested once."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from isdm.config import TuneConfig, build, read_yaml
from isdm.data.dataset import SegmentationDataset
from isdm.errors import ConfigError
from isdm.evaluation import tuning
from isdm.evaluation.tuning import Mix, tune

pytest.importorskip("optuna")

FAST: dict[str, Any] = {
    "trials": 4,
    "synthetic_counts": [0, 4, "all"],
    "epochs": 1,
    "repeats": 2,
    "encoder": "resnet18",
    "encoder_weights": "none",
    "batch_size": 8,
    "precision": "float32",
    "device": "cpu",
}


def config(**values: Any) -> TuneConfig:
    return build(TuneConfig, FAST | values)


@pytest.mark.slow
def test_the_best_mix_is_tested_once(
    fruit: SegmentationDataset, scored: SegmentationDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The validation IoU is replaced by one that likes the best half with augmentation."""
    tried: list[Mix] = []

    def liked(config: TuneConfig, data: Any, trial: Any) -> float:
        assert len(data.validation) == len(fruit.pairs("validation"))
        assert not hasattr(data, "test")
        mix = tuning._suggested(config, data, trial)
        if mix is None:
            raise pytest.importorskip("optuna").TrialPruned
        tried.append(mix)
        trial.set_user_attr("mix", vars(mix))
        return mix.num_synthetic_images * (1 + (mix.arm == "augmented")) / 100 / mix.keep_share

    monkeypatch.setattr(tuning, "_try", liked)
    results = tune(config(trials=25), fruit, {"s": scored}, tmp_path / "tuned")
    best = json.loads((tmp_path / "tuned" / "best.json").read_text())
    assert best["arm"] == "augmented"
    assert best["num_synthetic_images"] / best["keep_share"] >= max(
        mix.num_synthetic_images / mix.keep_share for mix in tried if mix.arm == "augmented"
    )
    table = pl.read_parquet(results)
    assert set(table["num_synthetic_images"]) == {0, best["num_synthetic_images"]}
    assert set(table["arm"]) == {"augmented"}
    assert table["repeat"].n_unique() == 2
    count = len(tried)
    tune(config(trials=25), fruit, {"s": scored}, tmp_path / "tuned")
    assert len(tried) == count


@pytest.mark.slow
def test_a_search_goes_on(fruit: SegmentationDataset, scored: SegmentationDataset, tmp_path: Path) -> None:
    tune(config(synthetic_counts=[4], trials=2), fruit, {"s": scored}, tmp_path / "tuned")
    tune(config(synthetic_counts=[4], trials=3), fruit, {"s": scored}, tmp_path / "tuned")
    assert json.loads((tmp_path / "tuned" / "best.json").read_text())["trials"] == 3


@pytest.mark.slow
def test_a_killed_trial_is_tried_again(
    fruit: SegmentationDataset, scored: SegmentationDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def tried(config: TuneConfig, data: Any, trial: Any) -> float:
        mix = tuning._suggested(config, data, trial)
        assert mix is not None
        if trial.number in killed_at:
            trial.study._storage.set_trial_state_values = None  # Optuna gets to write nothing more, as in a kill
            raise Killed
        trial.set_user_attr("mix", vars(mix))
        mixes.append(mix)
        return float(mix.num_synthetic_images)

    monkeypatch.setattr(tuning, "_try", tried)
    monkeypatch.setattr(tuning, "_study_of", lambda config, mix, dataset, synthetic, data, out: out)
    options = config(synthetic_counts=[4, 5, 6, 7, 8], keep_shares=[1.0], trials=4)
    mixes: list[Mix] = []
    killed_at: set[int] = set()
    tune(options, fruit, {"s": scored}, tmp_path / "whole")
    whole, mixes = mixes, []
    for number in (0, 2):
        killed_at.add(number)
        with pytest.raises((Killed, TypeError)):
            tune(options, fruit, {"s": scored}, tmp_path / "tuned")
    tune(options, fruit, {"s": scored}, tmp_path / "tuned")
    assert mixes == whole
    best = [json.loads((tmp_path / name / "best.json").read_text()) for name in ("whole", "tuned")]
    assert best[0] == best[1]
    assert best[0]["trials"] == 4


def test_the_threshold_keeps_the_best_pairs(fruit: SegmentationDataset, scored: SegmentationDataset) -> None:
    data = tuning._load(fruit, {"s": scored})
    kept = tuning._kept(data, Mix("s", 14, 2, "plain", 0.5))
    scores = [pair.metadata["scores"]["agreement"] for pair in scored.pairs("train")]
    assert len(kept) == len(scores) // 2
    assert min(scores[k] for k in kept) >= max(score for k, score in enumerate(scores) if k not in set(kept.tolist()))


@pytest.mark.slow
def test_a_later_winner_is_no_first_look(
    fruit: SegmentationDataset,
    scored: SegmentationDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def liked(config: TuneConfig, data: Any, trial: Any) -> float:
        mix = tuning._suggested(config, data, trial)
        assert mix is not None
        trial.set_user_attr("mix", vars(mix))
        return float(trial.number)

    monkeypatch.setattr(tuning, "_try", liked)
    options = {"synthetic_counts": [2, 3, 4, 5], "keep_shares": [1.0], "arms": ["plain"]}
    tune(config(trials=1, **options), fruit, {"s": scored}, tmp_path / "tuned")
    assert "promise too much" not in capsys.readouterr().err
    for trials in range(2, 12):
        tune(config(trials=trials, **options), fruit, {"s": scored}, tmp_path / "tuned")
        told = capsys.readouterr().err
        late = {path.parent.name: read_yaml(path)["named_late"] for path in tmp_path.glob("tuned/study-*/study.yaml")}
        if len(late) == 2:
            break
    assert sorted(late.values()) == [False, True]
    assert "promise too much" in told
    tune(config(trials=trials, **options), fruit, {"s": scored}, tmp_path / "tuned")
    again = {path.parent.name: read_yaml(path)["named_late"] for path in tmp_path.glob("tuned/study-*/study.yaml")}
    assert again == late


def test_a_mix_is_told_in_words() -> None:
    assert str(Mix("s", 14, 2, "plain", 1.0)) == "14 real images and 2 synthetic ones of 's', plain"
    assert "(of the 50 % that agree best with their masks)" in str(Mix("s", 14, 2, "plain", 0.5))


def test_without_a_set_there_is_nothing_to_search(fruit: SegmentationDataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--synthetic"):
        tune(config(), fruit, {}, tmp_path / "tuned")
    assert not (tmp_path / "tuned").exists()


def test_without_optuna_the_extra_is_named(
    fruit: SegmentationDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"isdm\[tune\]"):
        tune(config(), fruit, {}, tmp_path / "tuned")
