"""Photographs of held-out pictures and of defects are found, at whatever size the dataset has them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isdm.config import DataConfig, build
from isdm.data.dataset import SegmentationDataset
from isdm.data.importing import import_dataset
from isdm.errors import DataError
from isdm.synthesis.held_out import faults_of, without_held_out

COUNT = 30


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grainy metal sheets of 200x150 pixels, two in three with a bright dent."""
    folder = tmp_path_factory.mktemp("sheets")
    rng = np.random.default_rng(3)
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for k in range(COUNT):
        values = 110 + rng.normal(0, 8, (150, 1)) + rng.normal(0, 4, (150, 200)) + np.linspace(-12, 12, 200)
        mask = np.zeros((150, 200), np.uint8)
        if k % 3:
            top, left = rng.integers(10, 90), rng.integers(10, 150)
            mask[top : top + 30, left : left + 30] = 1
        picture = (values + 50 * mask).clip(0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / "images" / f"sheet{k:02d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"sheet{k:02d}.png")
    return folder


def imported(source: Path, out: Path, **values: object) -> SegmentationDataset:
    return import_dataset(build(DataConfig, {"source": source, "near_duplicates": False} | values), out)


def stems(dataset: SegmentationDataset, *splits: str) -> set[str]:
    return {pair.stem for split in splits for pair in dataset.pairs(split)}


@pytest.mark.parametrize("size", [32, 64, 128, None])
@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_photographs_of_held_out_pictures_are_found_by_what_they_show(
    source: Path, tmp_path: Path, size: int | None, fit: str
) -> None:
    dataset = imported(source, tmp_path / "data", **({} if size is None else {"size": size, "fit": fit}))
    files = sorted((source / "images").iterdir())
    found = faults_of(files, [f"other{k}" for k in range(COUNT)], dataset, [1])
    shown = {path.stem for path, fault in zip(files, found, strict=True) if fault == "shown"}
    assert shown == stems(dataset, "validation", "test")
    assert set(found) == {"shown", None}


def test_another_photograph_of_what_a_held_out_picture_shows_is_found(source: Path, tmp_path: Path) -> None:
    """Saved again as a JPEG file in another light: no pixel is the same."""
    dataset = imported(source, tmp_path / "data", size=64)
    held_out = sorted(stems(dataset, "validation", "test"))
    for stem in held_out:
        values = np.asarray(Image.open(source / "images" / f"{stem}.png")).astype(float)
        Image.fromarray((0.9 * values + 10).astype(np.uint8)).save(tmp_path / f"new{stem}.jpg", quality=90)
    files = sorted(tmp_path.glob("*.jpg"))
    known = sorted((source / "images").iterdir())
    found = faults_of([*files, *known], [str(k) for k in range(len(files) + COUNT)], dataset, [1])
    assert found[: len(files)] == ["shown"] * len(files)


def test_names_tell_what_pictures_do_not(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = imported(source, tmp_path / "data", size=32)
    rng = np.random.default_rng(0)
    for path in (source / "images").iterdir():
        Image.fromarray(rng.integers(0, 256, (90, 90)).astype(np.uint8)).save(tmp_path / path.name)
    kept = without_held_out(sorted(tmp_path.glob("*.png")), dataset, [1])
    free = {pair.stem for pair in dataset.pairs("train") if not dataset.load_mask(pair).any()}
    assert {path.stem for path in kept} == free
    said = capsys.readouterr().err
    held_out = len(stems(dataset, "validation", "test"))
    assert f"{held_out} of {COUNT} photographs have the name of a validation or test image" in said
    assert f"{COUNT - held_out - len(free)} of {COUNT} photographs have the name of a training pair with a" in said
    assert "only from 64 on" in said
    with pytest.raises(DataError, match="pair with a defect"):
        without_held_out([path for path in tmp_path.glob("*.png") if path.stem not in free], dataset, [1])


def test_large_pictures_are_not_called_small(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = imported(source, tmp_path / "data", size=64)
    without_held_out(sorted((source / "images").iterdir()), dataset, [1])
    assert "only from 64 on" not in capsys.readouterr().err


def test_windows_have_the_name_of_their_picture(source: Path, tmp_path: Path) -> None:
    dataset = imported(source, tmp_path / "data", size=64, fit="tile", window=100)
    files = sorted((source / "images").iterdir())
    found = faults_of(files, [path.stem for path in files], dataset, [1])
    held_out = {stem.partition("_y")[0] for stem in stems(dataset, "validation", "test")}
    assert {path.stem for path, fault in zip(files, found, strict=True) if fault == "named"} == held_out
    assert found.count("defect") == COUNT - len(held_out) - found.count(None) > 0
