import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isdm.config import SampleConfig, build
from isdm.data.checking import check_dataset
from isdm.data.dataset import SegmentationDataset
from isdm.errors import DataError, ModelError, OutputError
from isdm.pipeline import SemanticDiffusionPipeline
from isdm.synthesis import painting
from isdm.synthesis.generate import sample


def config(**values: Any) -> SampleConfig:
    defaults = {
        "num_samples": 10,
        "sampler": "dpmsolver++-sde",
        "steps": 4,
        "batch_size": 4,
        "precision": "float32",
    }
    return build(SampleConfig, defaults | values)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of the dataset but its provenance, which holds times."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("provenance.json", "dataset.json")
    }


def test_synthetic_dataset_has_the_form_of_a_real_one(
    fruit: SegmentationDataset, model: Path, tmp_path: Path
) -> None:
    synthetic = sample(config(), model, fruit, tmp_path / "synthetic")
    assert check_dataset(synthetic) == 10
    pairs = synthetic.pairs("train")
    masks = {pair.stem: fruit.load(pair)[1] for pair in fruit.pairs("train")}
    for pair in pairs:
        assert pair.metadata["source"] == "synthetic"
        assert (synthetic.load(pair)[1] == masks[pair.metadata["source_mask"]]).all()
    assert len({pair.metadata["source_mask"] for pair in pairs}) == 10
    trained_on = synthetic.info.source["model_trained_on"]["fingerprint"]
    assert trained_on == synthetic.info.source["masks_from"] == fruit.fingerprint("train")


def test_pictures_do_not_depend_on_the_batch(fruit: SegmentationDataset, model: Path) -> None:
    pipeline = SemanticDiffusionPipeline.from_pretrained(model)
    masks = np.stack([fruit.load(pair)[1] for pair in fruit.pairs("train")[:5]])
    for sampler in ("ddpm", "dpmsolver++-sde"):
        together = pipeline(masks, seed=1, sampler=sampler, num_sampling_steps=5)
        alone = pipeline(masks[3:4], sample_indices=[3], seed=1, sampler=sampler, num_sampling_steps=5)
        assert np.abs(together[3].astype(int) - alone[0]).max() <= 1
        other = pipeline(masks[3:4], sample_indices=[3], seed=2, sampler=sampler, num_sampling_steps=5)
        assert np.abs(other[0].astype(int) - alone[0]).max() > 20


def test_killed_run_goes_on_to_the_same_result(
    fruit: SegmentationDataset, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample(config(), model, fruit, tmp_path / "whole")
    real, written = painting.write_pair, []

    def dies_at_the_seventh(*arguments: Any) -> None:
        written.append(1)
        if len(written) == 7:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(painting, "write_pair", dies_at_the_seventh)
    with pytest.raises(KeyboardInterrupt):
        sample(config(), model, fruit, tmp_path / "killed")
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"not a dataset|unfinished"):
        SegmentationDataset(tmp_path / "killed")
    parts = tmp_path / "killed" / "train" / "metadata.parts" / "0.jsonl"
    parts.write_bytes(parts.read_bytes() + b'{"sample_index": 6, "cut')  # as a kill inside an append leaves it
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").rglob("00000[0-5]*.png")}
    assert len(finished) == 12
    sample(config(batch_size=3), model, fruit, tmp_path / "killed")
    assert all(path.stat().st_mtime_ns == time for path, time in finished.items())
    whole, killed = contents(tmp_path / "whole"), contents(tmp_path / "killed")
    assert whole.keys() == killed.keys()
    assert whole["train/metadata.jsonl"] == killed["train/metadata.jsonl"]


def test_finished_set_is_left_alone_and_other_options_refused(
    fruit: SegmentationDataset, model: Path, tmp_path: Path
) -> None:
    sample(config(num_samples=2), model, fruit, tmp_path / "synthetic")
    before = contents(tmp_path / "synthetic")
    left = tmp_path / "synthetic" / "train" / "metadata.parts"  # as if it had been ended right behind its last file
    left.mkdir()
    (left / "0.jsonl").write_text('{"sample_index": 0}\n')
    sample(config(num_samples=2), model, fruit, tmp_path / "synthetic")
    assert contents(tmp_path / "synthetic") == before
    assert not left.exists()
    with pytest.raises(OutputError, match="guidance"):
        sample(config(num_samples=2, guidance=3.0), model, fruit, tmp_path / "synthetic")


def test_a_guidance_interval_reaches_the_pictures_and_their_metadata(
    fruit: SegmentationDataset, model: Path, tmp_path: Path
) -> None:
    options = {"num_samples": 2, "sampler": "ddim", "guidance": 4.0}
    always = sample(config(**options), model, fruit, tmp_path / "always")
    early = sample(config(**options, guidance_interval=[600, 1000]), model, fruit, tmp_path / "early")
    never = sample(config(**options, guidance_interval=[1000, 1000]), model, fruit, tmp_path / "never")
    unguided = sample(config(**options | {"guidance": 1.0}), model, fruit, tmp_path / "unguided")
    pictures = [[x.load(pair)[0] for pair in x.pairs("train")] for x in (always, early, never, unguided)]
    assert np.array_equal(pictures[2], pictures[3])
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[1], pictures[2])
    assert all(pair.metadata["guidance_interval"] == [600, 1000] for pair in early.pairs("train"))
    assert all("guidance_interval" not in pair.metadata for pair in always.pairs("train"))


def test_guidance_without_dropping_is_warned_of(
    fruit: SegmentationDataset, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "model"
    SemanticDiffusionPipeline.from_pretrained(model).save_pretrained(copy)
    info = json.loads((copy / "isdm.json").read_text())
    (copy / "isdm.json").write_text(json.dumps(info | {"drop_rate": 0.0}))
    sample(config(num_samples=1), copy, fruit, tmp_path / "synthetic")
    assert "never learnt" in capsys.readouterr().err


def test_other_classes_are_refused(fruit: SegmentationDataset, model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    SemanticDiffusionPipeline.from_pretrained(model).save_pretrained(copy)
    text = (copy / "isdm.json").read_text().replace("gangrene", "rust")
    (copy / "isdm.json").write_text(text)
    with pytest.raises(ModelError, match="rust"):
        sample(config(), copy, fruit, tmp_path / "synthetic")
    assert not (tmp_path / "synthetic").exists()
