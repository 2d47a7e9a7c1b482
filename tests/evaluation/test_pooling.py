"""A cross-validation of two folds against one table made by hand."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from isdm.config import DataConfig, EvaluateConfig, build
from isdm.data.builtin import write_fruit_source
from isdm.data.dataset import SegmentationDataset
from isdm.data.importing import import_dataset
from isdm.errors import DataError
from isdm.evaluation.pooling import _common_keys, _pooled_facts, _pooled_results, pool_studies
from isdm.evaluation.study import evaluate
from isdm.report import report
from quick_networks import QUICK

GRID: dict[str, Any] = {
    **QUICK,
    "architectures": ["fpn"],
    "real_counts": ["all"],
    "synthetic_counts": [0, "equal"],
    "arms": ["plain", "duplicated"],
    "repeats": 2,
}


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Studies of two folds of 14 pictures of 7 fruit, which cannot be of one size."""
    folder = tmp_path_factory.mktemp("folds")
    write_fruit_source(folder / "source", num_fruits=7, num_views=2, size_px=32, seed=0)
    studies = []
    for fold in range(2):
        options = {"source": folder / "source", "group_by": r"(fruit\d+)", "folds": 2, "fold": fold, "validation": 2}
        dataset: SegmentationDataset = import_dataset(build(DataConfig, options), folder / f"data-{fold}")
        studies.append(folder / f"study-{fold}")
        evaluate(build(EvaluateConfig, GRID), dataset, {}, studies[-1])
    return studies


def test_pixels_are_pooled_over_all_folds(folds: list[Path], tmp_path: Path) -> None:
    table = pl.read_parquet(pool_studies(folds, tmp_path / "pooled", "both"))
    parts = [pl.read_parquet(study / "results.parquet") for study in folds]
    assert parts[0]["num_real_images"].max() != parts[1]["num_real_images"].max()
    assert table.height == parts[0].height == parts[1].height
    line = (
        table.filter(pl.col("key") == "real-all_more-equal_duplicated").sort("repeat", "class_id").row(0, named=True)
    )
    summed = [
        part.filter(pl.col("key") == line["key"]).sort("repeat", "class_id").row(0, named=True) for part in parts
    ]
    assert line["tp"] == sum(one["tp"] for one in summed)
    union = sum(one[name] for one in summed for name in ("tp", "fp", "fn"))
    assert line["iou"] == pytest.approx(line["tp"] / union)
    counts = pl.read_parquet(tmp_path / "pooled" / "counts.parquet")
    assert counts["group"].n_unique() == 7
    iou = (
        (pl.col("measure") == "class_iou")
        & (pl.col("place") == line["class_id"])
        & (pl.col("repeat") == line["repeat"])
    )
    of_line = counts.filter(iou & (pl.col("row") == line["key"]))
    assert of_line["hits"].sum() / of_line["total"].sum() == pytest.approx(line["iou"])
    page = report(tmp_path / "pooled").read_text("utf-8")
    assert "cross-validation of 2 folds" in page
    assert "7 groups of test images" in page or "nothing can be compared" not in page


def test_what_cannot_be_pooled(folds: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="tested in folds 0 and 1"):
        pool_studies([folds[0], folds[0]], tmp_path / "twice", "twice")
    shutil.copytree(folds[1], tmp_path / "half")
    (tmp_path / "half" / "results.parquet").unlink()
    with pytest.raises(DataError, match="not finished"):
        pool_studies([folds[0], tmp_path / "half"], tmp_path / "pooled", "half")


def test_rows_that_come_to_the_same_in_one_fold_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Fold 0 has as many real images as its 400 synthetic ones, fold 1 has not; one row only fold 1 has."""
    keys = (["real-all", "all+400|all+equal"], ["real-all", "all+400", "all+equal", "all+7"])
    folds = [pl.DataFrame({"row": [f"row{i}" for i in range(len(fold))], "key": fold}) for fold in keys]
    first, second = _common_keys(folds)
    assert sorted(first.iter_rows()) == [("row0", "real-all"), ("row1", "all+400"), ("row1", "all+equal")]
    assert sorted(second.iter_rows()) == [("row0", "real-all"), ("row1", "all+400"), ("row2", "all+equal")]
    assert "Fold 1: all+7 are not in all folds" in capsys.readouterr().err
    same = _common_keys([folds[0], folds[0]])
    assert [sorted(fold.iter_rows()) for fold in same] == [[("row0", "real-all"), ("row1", "all+400")]] * 2


@pytest.mark.parametrize(("named", "key"), [("row1", "all+400"), ("row2", "all+equal"), (None, None)])
def test_the_comparison_named_is_that_of_all_folds(named: str | None, key: str | None) -> None:
    """Not of the first alone, in which it has come to the same as another."""
    keys = (["real-all", "all+400|all+equal"], ["real-all", "all+400", "all+equal"])
    folds = [pl.DataFrame({"row": [f"row{i}" for i in range(len(fold))], "key": fold}) for fold in keys]
    first = {"primary_row": named and "row1", "num_train_images": 400}
    facts = [first, first | {"primary_row": named}]
    assert _pooled_facts(facts, _common_keys(folds), "both")["primary_row"] == key


def test_numbers_of_images_are_means_and_a_leak_is_told_once() -> None:
    keys = [pl.DataFrame({"row": ["a"], "key": ["real-all"]})] * 2
    facts = [
        {"num_train_images": 40 + n, "num_validation_images": 9 + n, "num_test_images": 5, "leaks": ["x", f"in {n}"]}
        for n in (0, 2)
    ]
    pooled = _pooled_facts(facts, keys, "both")
    numbers = [pooled[f"num_{split}_images"] for split in ("train", "validation", "test")]
    assert numbers == [41, 10, 10]
    assert pooled["leaks"] == ["x", "in 0", "in 2"]


def test_means_of_images_are_weighted_by_the_images_behind_them() -> None:
    """Two images of 1.0 and fifty of 0.2, in folds of a hundred each."""
    line = {"key": "k", "architecture": "fpn", "repeat": 0, "class_id": 1, "arm": "plain", "synthetic_set": ""}
    line |= {"class_name": "crack", "is_foreground": True, "num_real_images": 9, "num_synthetic_images": 0}
    line |= {"tp": 5, "fp": 1, "fn": 2, "num_steps": 9, "train_seconds": 1.0, "validation_iou": 0.5}
    means = ((1.0, 2), (0.2, 50))
    parts = [pl.DataFrame([line | {"mean_image_iou": mean, "num_defined_images": num}]) for mean, num in means]
    (pooled,) = _pooled_results(parts, [100, 100]).iter_rows(named=True)
    assert pooled["mean_image_iou"] == pytest.approx((2 * 1.0 + 50 * 0.2) / 52)
    assert pooled["iou"] == pytest.approx(10 / 16)
    unseen = [part.with_columns(pl.lit(0).alias("tp"), pl.lit(0).alias("fn")) for part in parts]
    assert _pooled_results(unseen, [100, 100])["iou"].to_list() == [None]
