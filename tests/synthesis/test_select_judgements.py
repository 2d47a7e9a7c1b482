"""What a person says of a pair goes through `select` to whatever takes pairs."""

import json
import shutil
from pathlib import Path

import pytest

from isdm.config import SelectConfig, build
from isdm.data.dataset import SegmentationDataset
from isdm.data.judgements import append_judgement
from isdm.errors import OutputError
from isdm.synthesis.select import select

OPTIONS = {"encoder_weights": "none", "encoder": "mobilenet_v2", "epochs": 1, "folds": 2, "device": "cpu"}
OPTIONS |= {"precision": "float32", "extractor": "segmenter", "criteria": ["copies"], "best_of": 1}


@pytest.mark.slow
def test_a_persons_word_goes_through_selection(
    many_fruit: SegmentationDataset, painted: SegmentationDataset, tmp_path: Path
) -> None:
    synthetic = Path(shutil.copytree(painted.folder, tmp_path / "synthetic"))
    names = [pair.metadata["image_file_name"] for pair in painted.pairs("train")]
    append_judgement(synthetic / "train", names[0], "drop")
    append_judgement(synthetic / "train", names[1], "keep")
    options = build(SelectConfig, OPTIONS)
    chosen = select(options, SegmentationDataset(synthetic), many_fruit, tmp_path / "selected")
    lines = {
        line["image_file_name"]: line for line in map(json.loads, (chosen.folder / "train" / "metadata.jsonl").open())
    }
    assert (lines[names[0]]["kept"], lines[names[0]]["reason"]) == (False, "dropped by a person")
    assert "scores" not in lines[names[0]], "nobody judges what is dropped already"
    assert lines[names[1]]["kept"]
    assert lines[names[1]]["reason"] == "kept by a person in spite of copies", "all pairs are copies of real ones"
    assert [pair.metadata["image_file_name"] for pair in chosen.pairs("train")] == [
        name for name in names if lines[name]["kept"]
    ]
    summary = json.loads((chosen.folder / "select.json").read_text())
    assert summary["num_judged_by_people"] == 2
    assert summary["dropped"]["dropped by a person"] == 1
    assert summary["num_pairs"] == len(names)

    append_judgement(synthetic / "train", names[2], "keep")
    with pytest.raises(OutputError):
        select(options, SegmentationDataset(synthetic), many_fruit, tmp_path / "selected")
