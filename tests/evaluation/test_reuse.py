"""Cells of another study: taken where they would come out the same, and only there."""

from pathlib import Path
from typing import Any

import pytest

from isdm.config import EvaluateConfig, build, read_yaml
from isdm.data.dataset import SegmentationDataset
from isdm.data.judgements import append_judgement
from isdm.errors import DataError
from isdm.evaluation import executors
from isdm.evaluation.study import evaluate
from isdm.report import report
from quick_networks import QUICK
from synthetic_sets import make_synthetic

FAST: dict[str, Any] = {
    **QUICK,
    "architectures": ["fpn"],
    "real_counts": ["all"],
    "synthetic_counts": [0, 4],
    "repeats": 1,
    "trackers": [],
}


def config(**values: Any) -> EvaluateConfig:
    return build(EvaluateConfig, FAST | values)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the cells that are trained."""
    real, names = executors.run_cell, list[str]()

    def counted(settings: Any, cell: Any, *others: Any) -> None:
        names.append(f"{cell.row.synthetic_set}{cell.row.num_synthetic_images}")
        real(settings, cell, *others)

    monkeypatch.setattr(executors, "run_cell", counted)
    return names


def cells(study: Path) -> dict[str, bytes]:
    return {str(path.relative_to(study)): path.read_bytes() for path in (study / "cells").rglob("*.*")}


def test_what_would_come_out_the_same_is_taken_and_the_rest_trained(
    fruit: SegmentationDataset,
    synthetic: SegmentationDataset,
    tmp_path: Path,
    trained: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = tmp_path / "first"
    evaluate(config(), fruit, {"s": synthetic}, first)
    before = cells(first)
    assert sorted(trained) == ["0", "s4"]

    trained.clear()
    evaluate(config(), fruit, {"s": synthetic}, tmp_path / "same", reuse=first)
    assert trained == []
    assert cells(tmp_path / "same") == before
    assert f"2 of 2 cells to train are those of {first}, and are taken from there." in capsys.readouterr().err
    tables = [(folder / "results.parquet").read_bytes() for folder in (first, tmp_path / "same")]
    assert tables[0] == tables[1]

    make_synthetic(fruit, tmp_path / "other", fruit.fingerprint("train"))
    other = SegmentationDataset(tmp_path / "other")
    append_judgement(other.folder / "train", other.pairs("train")[0].metadata["image_file_name"], "drop")
    evaluate(config(), fruit, {"s": other, "t": synthetic}, tmp_path / "more", reuse=first)
    assert sorted(trained) == ["s4", "t4"], "a set of the same name is another set, and so is one of another name"

    trained.clear()
    evaluate(config(seed=1), fruit, {"s": synthetic}, tmp_path / "seed", reuse=first)
    assert sorted(trained) == ["0", "s4"]
    assert cells(first) == before


def test_a_comparison_named_after_its_scores_were_read_is_said_to_be_one(
    fruit: SegmentationDataset, synthetic: SegmentationDataset, tmp_path: Path, trained: list[str]
) -> None:
    named: dict[str, Any] = {"primary": {"synthetic": 4}}
    sets = {"s": synthetic}

    def is_late(study: Path) -> bool:
        return bool(read_yaml(study / "study.yaml")["named_late"])

    evaluate(config(), fruit, sets, tmp_path / "first")
    evaluate(config(**named), fruit, sets, tmp_path / "late", reuse=tmp_path / "first")
    assert is_late(tmp_path / "late")
    evaluate(config(**named, repeats=2), fruit, sets, tmp_path / "late")
    assert is_late(tmp_path / "late"), "for good"
    evaluate(config(**named), fruit, sets, tmp_path / "later", reuse=tmp_path / "late")
    assert is_late(tmp_path / "later"), "a study between them makes it no earlier"
    page = report(tmp_path / "late").read_text("utf-8")
    assert "named after another study had read its test scores" in page

    evaluate(config(**named), fruit, sets, tmp_path / "named")
    evaluate(config(**named), fruit, sets, tmp_path / "again", reuse=tmp_path / "named")
    evaluate(config(synthetic_counts=[0]), fruit, {}, tmp_path / "alone")
    evaluate(config(**named), fruit, sets, tmp_path / "baseline", reuse=tmp_path / "alone")
    assert not any(is_late(tmp_path / study) for study in ("first", "named", "again", "baseline"))


def test_a_study_of_other_images_or_precision_or_none_is_refused_before_anything_is_trained(
    fruit: SegmentationDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(executors, "run_cell", stop)
    grid: dict[str, Any] = {"synthetic_counts": [0]}
    with pytest.raises(KeyboardInterrupt):
        evaluate(config(**grid), fruit, {}, tmp_path / "first")

    def refused(wrong: Path, why: str, **values: Any) -> None:
        with pytest.raises(DataError, match=why):
            evaluate(config(**grid, **values), fruit, {}, tmp_path / "second", reuse=wrong)
        assert not (tmp_path / "second" / "study.yaml").exists()

    refused(tmp_path / "first", "cells of precision float32, this study bfloat16", precision="bfloat16")
    refused(tmp_path / "nothing", "is no folder of a study")
    refused(fruit.folder, "is no folder of a study")
    record = tmp_path / "first" / "provenance.json"
    record.write_text(record.read_text().replace(fruit.fingerprint("test"), "0" * 64))
    refused(tmp_path / "first", r"is a study of other real images \(test\)")


def test_a_damaged_cell_is_told_and_not_taken(fruit: SegmentationDataset, tmp_path: Path, trained: list[str]) -> None:
    evaluate(config(synthetic_counts=[0]), fruit, {}, tmp_path / "first")
    (cell,) = (tmp_path / "first" / "cells").rglob("*.json")
    cell.write_text("{}")
    with pytest.raises(DataError, match="is no finished cell"):
        evaluate(config(synthetic_counts=[0]), fruit, {}, tmp_path / "second", reuse=tmp_path / "first")
    assert trained == ["0"]
    assert not list((tmp_path / "second" / "cells").rglob("*.json"))
