"""People's verdicts: the last counts, a cut line does no harm, and the fingerprint stays."""

from pathlib import Path

import pytest

from isdm.data.dataset import SegmentationDataset
from isdm.data.judgements import append_judgement, read_judgements
from isdm.errors import DataError
from isdm.files import read_json_lines, write_json_lines
from synthetic_sets import make_synthetic


@pytest.fixture
def synthetic(fruit: SegmentationDataset, tmp_path: Path) -> SegmentationDataset:
    make_synthetic(fruit, tmp_path / "synthetic", "some fingerprint")
    return SegmentationDataset(tmp_path / "synthetic")


def test_the_last_verdict_counts(tmp_path: Path) -> None:
    for name, verdict in (("a", "keep"), ("b", "drop"), ("a", "drop"), ("b", "none"), ("c", "keep")):
        append_judgement(tmp_path, name, verdict)  # type: ignore[arg-type]
    assert read_judgements(tmp_path) == {"a": False, "c": True}


def test_a_line_cut_by_a_kill_is_left_out_and_harms_no_later_one(tmp_path: Path) -> None:
    append_judgement(tmp_path, "a", "keep")
    with (tmp_path / "judgements.jsonl").open("a") as file:
        file.write('{"image_file_name": "b", "verd')
    assert read_judgements(tmp_path) == {"a": True}
    append_judgement(tmp_path, "c", "drop")
    assert read_judgements(tmp_path) == {"a": True, "c": False}


def test_what_is_no_judgement_is_refused(tmp_path: Path) -> None:
    (tmp_path / "judgements.jsonl").write_text('{"image_file_name": "a", "verdict": "maybe"}\n')
    with pytest.raises(DataError, match="line 1"):
        read_judgements(tmp_path)


def test_a_dataset_leaves_out_what_people_dropped_and_takes_what_they_kept(synthetic: SegmentationDataset) -> None:
    split = synthetic.folder / "train"
    lines = read_json_lines(split / "metadata.jsonl")
    lines[0] |= {"kept": False, "reason": "agreement"}
    write_json_lines(split / "metadata.jsonl", lines)
    before, fingerprint = len(synthetic.pairs("train")), synthetic.fingerprint("train")
    assert synthetic.judged_fingerprint("train") == fingerprint
    append_judgement(split, lines[0]["image_file_name"], "keep")
    append_judgement(split, lines[1]["image_file_name"], "drop")
    append_judgement(split, lines[2]["image_file_name"], "drop")
    names = [pair.metadata["image_file_name"] for pair in synthetic.pairs("train")]
    assert len(names) == before - 1
    assert lines[0]["image_file_name"] in names
    assert not {lines[1]["image_file_name"], lines[2]["image_file_name"]} & set(names)
    assert len(synthetic.all_pairs("train")) == len(lines)
    assert synthetic.fingerprint("train") == fingerprint, "verdicts are no part of it"
    assert synthetic.judged_fingerprint("train") != fingerprint, "but stages that take pairs see them"


def test_verdicts_beside_real_pairs_change_nothing(fruit: SegmentationDataset, tmp_path: Path) -> None:
    make_synthetic(fruit, tmp_path / "real", "x")
    description = (tmp_path / "real" / "dataset.json").read_text().replace('"synthetic": true', '"synthetic": false')
    (tmp_path / "real" / "dataset.json").write_text(description)
    real = SegmentationDataset(tmp_path / "real")
    append_judgement(real.folder / "train", real.pairs("train")[0].metadata["image_file_name"], "drop")
    assert len(real.pairs("train")) == len(fruit.pairs("train"))
