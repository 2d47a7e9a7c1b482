"""Leaks planted in the data: each is refused by name, or said on request."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from isdm.data.dataset import SegmentationDataset, write_metadata, write_pair
from isdm.errors import DataError
from isdm.evaluation.cells import load_study_data
from isdm.evaluation.leaks import find_leaks, refuse_or_warn
from isdm.evaluation.study import _names_and_groups


def leaks_of(dataset: SegmentationDataset, **synthetic: SegmentationDataset) -> list[str]:
    names, groups = _names_and_groups(dataset, synthetic)
    return find_leaks(load_study_data(dataset, synthetic), groups, names)


def copied(dataset: SegmentationDataset, folder: Path) -> Path:
    shutil.copytree(dataset.folder, folder)
    return folder


def plant(folder: Path, split: str, picture: str, noise: float, group: str) -> SegmentationDataset:
    """Put a picture of a split into the training split under another name, perhaps with some noise."""
    dataset = SegmentationDataset(folder)
    pair = next(pair for pair in dataset.pairs(split) if pair.stem == picture)
    image, mask = dataset.load(pair)
    noisy = np.clip(image + np.random.default_rng(0).normal(0, noise, image.shape), 0, 255).astype(np.uint8)
    metadata = dict(pair.metadata) | {
        "image_file_name": "images/planted.png",
        "mask_file_name": "masks/planted.png",
        "group": group,
    }
    write_pair(folder / "train", metadata, noisy if noise else image, mask, dataset.info)
    write_metadata(folder / "train", [*(pair.metadata for pair in dataset.pairs("train")), metadata])
    return SegmentationDataset(folder)


def test_honest_data_have_no_leak(fruit: SegmentationDataset) -> None:
    assert leaks_of(fruit) == []


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_a_held_out_picture_among_the_training_pictures(
    fruit: SegmentationDataset, tmp_path: Path, split: str, noise: float
) -> None:
    folder = copied(fruit, tmp_path / "leaky")
    picture = fruit.require("test" if split == "test" else "validation")[0].stem
    (leak,) = leaks_of(plant(folder, split, picture, noise, "a group of its own"))
    assert f"planted as {picture}" in leak
    assert split in leak


def test_a_group_on_both_sides(fruit: SegmentationDataset, tmp_path: Path) -> None:
    folder = copied(fruit, tmp_path / "leaky")
    test = fruit.require("test")[0]
    other = fruit.require("train")[0].stem
    leaks = leaks_of(plant(folder, "train", other, 0.0, test.group))
    assert any(repr(test.group) in leak and "group" in leak for leak in leaks)


def test_a_test_picture_in_a_synthetic_set(fruit: SegmentationDataset, tmp_path: Path) -> None:
    picture = fruit.require("test")[0].stem
    painted = plant(copied(fruit, tmp_path / "painted"), "test", picture, 0.0, "new")
    (leak,) = leaks_of(fruit, painted=painted)
    assert "'painted'" in leak


def test_leaks_are_refused_or_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="one leak"):
        refuse_or_warn(["one leak"], allowed=False)
    refuse_or_warn(["one leak"], allowed=True)
    assert "Warning: one leak" in capsys.readouterr().err
    refuse_or_warn([], allowed=False)
