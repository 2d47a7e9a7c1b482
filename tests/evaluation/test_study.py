import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import polars as pl
import pytest

from isdm.config import EvaluateConfig, build
from isdm.data.dataset import SegmentationDataset
from isdm.data.decoding import load_arrays
from isdm.data.judgements import append_judgement
from isdm.errors import ConfigError, DataError, OutputError, UsageError
from isdm.evaluation import cells, executors, study
from isdm.evaluation.cells import Cell, StudyData, load_study_data, read_cell, run_cell, training_images
from isdm.evaluation.leaks import check_origin, warn_of_empty_splits
from isdm.evaluation.rows import Row, make_rows, primary_row, subset, training_steps
from isdm.evaluation.study import cells_of, evaluate
from isdm.metrics.segmentation import pooled_iou
from isdm.training.segmentation import LabelledImages
from quick_networks import QUICK
from synthetic_sets import make_synthetic

FAST: dict[str, Any] = {
    **QUICK,
    "architectures": ["fpn"],
    "real_counts": [0, "all"],
    "synthetic_counts": [0, 4],
    "repeats": 2,
}


def config(**values: Any) -> EvaluateConfig:
    return build(EvaluateConfig, FAST | values)


class TestRows:
    def test_grid_of_the_paper(self) -> None:
        rows = make_rows(config(synthetic_counts=[0, 100, "equal"]), 128, {"s": 200})
        assert [(row.num_real_images, row.num_synthetic_images) for row in rows] == [
            (0, 100),
            (0, 128),
            (128, 0),
            (128, 100),
            (128, 128),
        ]

    def test_two_wishes_for_the_same_row_are_both_known(self) -> None:
        grid = config(real_counts=["all"], synthetic_counts=[0, 128, "equal"], primary={"synthetic": "equal"})
        rows = make_rows(grid, 128, {"s": 200})
        assert [row.key for row in rows] == ["real-all_plain", "real-all_s-128_plain|real-all_s-equal_plain"]
        assert primary_row(grid, rows, 128) == rows[1]
        asked = config(real_counts=["all"], synthetic_counts=["equal"], primary={"synthetic": 128})
        assert primary_row(asked, make_rows(asked, 128, {"s": 200}), 128) is not None

    def test_more_than_there_is_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="300 images but there are 200"):
            make_rows(config(synthetic_counts=[300]), 128, {"s": 200})
        with pytest.raises(ConfigError, match="synthetic_counts of 'few' asks for 300 images but there are 200"):
            make_rows(config(synthetic_counts=[300]), 128, {"many": 400, "few": 200})

    def test_synthetic_images_go_with_all_real_ones_or_none(self) -> None:
        with pytest.raises(ConfigError, match=r"16 of the 128 real images cannot take 's'.*--train 16"):
            make_rows(config(real_counts=[16], synthetic_counts=[10]), 128, {"s": 200})
        rows = make_rows(config(real_counts=[0, "all"], synthetic_counts=[10]), 128, {"s": 200})
        assert [row.num_real_images for row in rows] == [0, 128]

    def test_the_learning_curve_is_of_real_images_alone(self) -> None:
        grid = config(real_counts=["all"], synthetic_counts=[10], learning_curve=[16, 64], baseline="augmented")
        rows = make_rows(grid, 128, {"s": 200})
        assert [(row.num_real_images, row.num_synthetic_images, row.arm) for row in rows] == [
            (16, 0, "augmented"),
            (64, 0, "augmented"),
            (128, 0, "augmented"),
            (128, 10, "plain"),
        ]
        with pytest.raises(ConfigError, match="learning_curve asks for 200"):
            make_rows(config(learning_curve=[200]), 128, {"s": 200})

    def test_the_primary_row_is_in_the_grid(self) -> None:
        named = {"real_counts": ["all"], "synthetic_counts": [10, "equal"], "arms": ["plain", "augmented"]}
        grid = config(**named, baseline="augmented", primary={"synthetic": "equal"})
        rows = make_rows(grid, 128, {"s": 200})
        assert primary_row(grid, rows, 128) == Row(128, 128, "augmented", "s")
        assert Row(128, 0, "augmented") in rows
        for wrong, rule in (({"synthetic": 11}, "0 rows have"), ({"synthetic": 10, "real": 5}, "0 rows have")):
            other = config(**named, primary=wrong)
            with pytest.raises(ConfigError, match=rule):
                primary_row(other, make_rows(other, 128, {"s": 200}), 128)
        several = make_rows(grid, 128, {"s": 200, "t": 200})
        with pytest.raises(ConfigError, match=r"name its synthetic_set \(s, t\)"):
            primary_row(grid, several, 128)

    def test_subsets_are_nested_and_redrawn(self) -> None:
        small, large = (subset(50, count, "real", 0, repeat=1) for count in (10, 30))
        assert small.tolist() == large[:10].tolist()
        assert small.tolist() != subset(50, 10, "real", 0, repeat=2).tolist()
        assert small.tolist() != subset(50, 10, "synthetic", 0, repeat=1).tolist()

    def test_steps_of_both_protocols(self) -> None:
        rows = [Row(100, 0), Row(100, 900, synthetic_set="s")]
        paper, equal = (config(protocol=name, epochs=5, batch_size=10) for name in ("paper", "equal-steps"))
        assert [training_steps(paper, row, rows) for row in rows] == [50, 500]
        assert [training_steps(equal, row, rows) for row in rows] == [500, 500]


def test_duplicated_row_repeats_its_own_images(fruit: SegmentationDataset) -> None:
    train = LabelledImages(*load_arrays(fruit, fruit.pairs("train")))
    data = StudyData(fruit.info, train, train, train, [], [], {})
    mix = training_images(data, Row(5, 12, "duplicated"), seed=0, repeat=0)
    assert len(mix) == 17
    taken = mix.take(np.arange(17))
    assert len({mask.tobytes() + image.tobytes() for image, mask in zip(taken.images, taken.masks, strict=True)}) == 5


def test_synthetic_images_come_first_and_alone(
    fruit: SegmentationDataset, synthetic: SegmentationDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def train(*arguments: Any, **options: Any) -> NoReturn:
        given.update(options, training=arguments[2])
        raise InterruptedError

    monkeypatch.setattr(cells, "train_segmenter", train)
    data = load_study_data(fruit, {"s": synthetic})
    row = Row(5, 7, "synthetic-first+augmented", "s")
    for place, wanted in ((row, (5, 7)), (Row(5, 7, "augmented", "s"), (12, None))):
        with pytest.raises(InterruptedError):
            run_cell(config(), Cell(place, "row", "fpn", 0, 6), data, tmp_path, lambda: None)
        assert given["augment"]
        assert len(given["training"]) == wanted[0]
        assert (None if given["pretraining"] is None else len(given["pretraining"])) == wanted[1]
    with pytest.raises(InterruptedError):
        run_cell(config(), Cell(row, "row", "fpn", 0, 6), data, tmp_path, lambda: None)
    for pairs, source in ((given["training"], data.train), (given["pretraining"], data.synthetic["s"])):
        assert all(part[0] is source for part in pairs.parts)


def test_rows_of_synthetic_images_first_need_both_kinds() -> None:
    options = config(
        real_counts=[0, "all"], synthetic_counts=[0, "equal"], arms=["augmented", "synthetic-first+augmented"]
    )
    rows = make_rows(options, 8, {"s": 8})
    assert [(row.num_real_images, row.num_synthetic_images, row.arm) for row in rows] == [
        (0, 8, "augmented"),
        (8, 0, "augmented"),
        (8, 8, "augmented"),
        (8, 8, "synthetic-first+augmented"),
    ]


@pytest.mark.parametrize("name", ["train", "validation", "test", "real"])
def test_a_set_is_not_called_as_real_images_are(
    fruit: SegmentationDataset, synthetic: SegmentationDataset, tmp_path: Path, name: str
) -> None:
    with pytest.raises(UsageError, match=f"cannot be called '{name}'"):
        evaluate(config(), fruit, {name: synthetic}, tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_a_split_without_anything_to_find_is_said(
    fruit: SegmentationDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    images = LabelledImages(*load_arrays(fruit, fruit.pairs("test")))
    empty = np.where(np.random.default_rng(0).random(images.masks.shape) < 0.5, 0, 255).astype(np.uint8)
    clear = LabelledImages(images.images, empty)
    warn_of_empty_splits(StudyData(fruit.info, images, images, images, [], [], {}))
    warn_of_empty_splits(StudyData(replace(fruit.info, has_background=False), images, clear, clear, [], [], {}))
    assert capsys.readouterr().err == ""
    warn_of_empty_splits(StudyData(fruit.info, images, clear, images, [], [], {}))
    said = capsys.readouterr().err
    assert "validation images shows a class but the background" in said
    assert "the last checkpoint of each training is kept" in said
    warn_of_empty_splits(StudyData(fruit.info, images, images, clear, [], [], {}))
    assert "test images shows a class but the background" in capsys.readouterr().err


@pytest.mark.slow
def test_study_end_to_end(
    fruit: SegmentationDataset,
    synthetic: SegmentationDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Interrupted in its third cell, a study goes on; its table is what the cells' counts give."""
    real, runs = executors.run_cell, []

    def counted(*arguments: Any) -> None:
        runs.append(1)
        if len(runs) == 3:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(executors, "run_cell", counted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(config(), fruit, {"s": synthetic}, tmp_path / "study")
    results = evaluate(config(), fruit, {"s": synthetic}, tmp_path / "study")
    assert len(runs) == 1 + 6  # two cells were kept, the third was started twice
    table = pl.read_parquet(results)
    assert table.height == 6 * 4
    for path in (tmp_path / "study" / "cells").glob("*/*.json"):
        record, counts = read_cell(path)
        assert record["images"] == [pair.stem for pair in fruit.pairs("test")]
        assert record["groups"] == [pair.group for pair in fruit.pairs("test")]
        valid = sum((fruit.load(pair)[1] != 255).sum() for pair in fruit.pairs("test"))
        assert counts[:, :, [0, 2]].sum() == valid  # every pixel is a hit or a miss of its true class
        lines = table.filter((pl.col("row") == path.parent.name) & (pl.col("repeat") == record["repeat"]))
        expected = pooled_iou(counts)
        for line in lines.iter_rows(named=True):
            if line["iou"] is None:
                assert np.isnan(expected[line["class_id"]])
            else:
                assert line["iou"] == pytest.approx(expected[line["class_id"]])
    grouped = pl.read_parquet(tmp_path / "study" / "counts.parquet")
    ious = (
        grouped.filter(pl.col("measure") == "class_iou")
        .group_by("row", "repeat", "place")
        .agg((pl.col("hits").sum() / pl.col("total").sum()).alias("pooled"))
    )
    both = table.join(ious, left_on=["row", "repeat", "class_id"], right_on=["row", "repeat", "place"])
    assert both.height == table["iou"].count()
    assert both["iou"].to_numpy() == pytest.approx(both["pooled"].to_numpy())
    gallery = json.loads((tmp_path / "study" / "gallery" / "gallery.json").read_text())
    assert {pair["kind"] for pair in gallery["pairs"]} == {"real", "synthetic"}
    evaluate(config(), fruit, {"s": synthetic}, tmp_path / "study")
    assert len(runs) == 7


def test_leak_is_refused(fruit: SegmentationDataset, tmp_path: Path) -> None:
    make_synthetic(fruit, tmp_path / "leak", "fingerprint of some other images")
    leak = SegmentationDataset(tmp_path / "leak")
    assert ["saw other images" in line for line in check_origin("leak", leak, fruit)] == [True, True]
    with pytest.raises(DataError, match="saw other images"):
        evaluate(config(), fruit, {"leak": leak}, tmp_path / "study")
    assert not (tmp_path / "study").exists()
    make_synthetic(fruit, tmp_path / "judged", fruit.fingerprint("train"))
    judged = SegmentationDataset(tmp_path / "judged")
    assert check_origin("judged", judged, fruit) == []
    judged.info.source["selected_with"] = "others"
    (leak,) = check_origin("judged", judged, fruit)
    assert "The selection of 'judged'" in leak
    with pytest.raises(DataError, match="not made by"):
        check_origin("real", fruit, fruit)


def test_verdicts_are_said_and_make_it_another_study(
    fruit: SegmentationDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_synthetic(fruit, tmp_path / "set", fruit.fingerprint("train"))
    painted = SegmentationDataset(tmp_path / "set")
    names = [pair.metadata["image_file_name"] for pair in painted.pairs("train")]
    seen: list[int] = []

    def stop(execution: Any, work: Any, data: StudyData, *others: Any) -> None:
        seen.append(len(data.synthetic["s"]))
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "run_cells", stop)
    append_judgement(painted.folder / "train", names[0], "drop")
    append_judgement(painted.folder / "train", names[1], "keep")
    with pytest.raises(KeyboardInterrupt):
        evaluate(config(), fruit, {"s": painted}, tmp_path / "study")
    assert seen == [len(names) - 1]
    assert "'s': 1 pair(s) dropped by a person and left out, 1 kept by a person." in capsys.readouterr().err
    append_judgement(painted.folder / "train", names[2], "drop")
    with pytest.raises(OutputError, match="another synthetic s"):
        evaluate(config(), fruit, {"s": painted}, tmp_path / "study")


def test_first_weights_from_elsewhere_are_said(
    fruit: SegmentationDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_synthetic(fruit, tmp_path / "tuned", fruit.fingerprint("train"))
    tuned = SegmentationDataset(tmp_path / "tuned")
    trained_on = tuned.info.source["model_trained_on"]
    trained_on["initialised_from"] = {"dataset": "own", "fingerprint": fruit.fingerprint("train")}
    check_origin("tuned", tuned, fruit)
    assert capsys.readouterr().err == ""
    trained_on["initialised_from"]["initialised_from"] = {"dataset": "photos", "fingerprint": "others"}
    check_origin("tuned", tuned, fruit)
    assert "began as a model of 'photos'" in capsys.readouterr().err


def test_missing_weights_stop_the_study_before_it_starts(
    fruit: SegmentationDataset, synthetic: SegmentationDataset, tmp_path: Path
) -> None:
    from isdm.errors import WeightsUnavailableError

    with pytest.raises(WeightsUnavailableError):
        evaluate(config(encoder_weights="imagenet"), fruit, {"s": synthetic}, tmp_path / "study")
    assert not (tmp_path / "study").exists()
    make_synthetic(fruit, tmp_path / "judged", fruit.fingerprint("train"))
    judged = SegmentationDataset(tmp_path / "judged")
    assert check_origin("judged", judged, fruit) == []
    judged.info.source["selected_with"] = "others"
    (leak,) = check_origin("judged", judged, fruit)
    assert "The selection of 'judged'" in leak


def test_a_cell_keeps_the_name_that_versions_without_precise_normalisation_gave_it() -> None:
    row = Row(8, 0)
    names = {
        way: cells_of(build(EvaluateConfig, {"batch_norm": way, "repeats": 1}), [row])[0].slug
        for way in ("running", "precise")
    }
    assert names["running"] == "real-8_plain_dc49c686c9", "as before the option was there"
    assert names["precise"] != names["running"]
