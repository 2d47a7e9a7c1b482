"""Cityscapes: compared with the table of labels that torchvision carries."""

from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import Cityscapes

from imported import NO_SPLIT, Noise, Put, imported, loaded, names
from isdm.config import DataConfig
from isdm.data.layouts import read_source
from isdm.data.layouts.source import Source
from isdm.errors import DataError

LABELS = [label for label in Cityscapes.classes if label.id >= 0]
TRAINED = sorted((label for label in LABELS if 0 <= label.train_id < 255), key=lambda label: label.train_id)
FRAMES = {
    "train": ("aachen_000000_000019", "aachen_000001_000019", "aachen_000001_000045"),
    "val": ("frankfurt_000000_000294", "frankfurt_000000_000576"),
}
TEST = ("berlin_000000_000019", "berlin_000001_000019")
EVERY_LABEL = np.arange(34).reshape(2, 17)
DUMMY = np.resize([0, 1, 2, 3], (2, 17))


@pytest.fixture
def root(put: Put, noise: Noise, tmp_path: Path) -> Path:
    """Train and val with all the files that gtFine has for an image, and test with its dummies."""
    for split, frames in {**FRAMES, "test": TEST}.items():
        for seed, name in enumerate(frames):
            city = name.split("_")[0]
            put(f"city/leftImg8bit/{split}/{city}/{name}_leftImg8bit.png", noise(seed, 2, 17, 3))
            truth = f"city/gtFine/{split}/{city}/{name}_gtFine"
            put(f"{truth}_labelIds.png", DUMMY if split == "test" else EVERY_LABEL)
            put(f"{truth}_color.png", noise(seed, 2, 17, 4))
            put(f"{truth}_instanceIds.png", EVERY_LABEL)
            (tmp_path / f"{truth}_polygons.json").write_text("{}")
    (tmp_path / "city" / "license.txt").write_text("…")
    return tmp_path / "city"


def read(root: Path) -> Source:
    layout, source = read_source(DataConfig(source=root))
    assert layout == "cityscapes"
    return source


def test_classes_are_the_19_train_ids(root: Path) -> None:
    source = read(root)
    assert source.class_names == tuple(label.name for label in TRAINED)
    assert source.colours == tuple(label.color for label in TRAINED)
    assert len(source.class_names) == 19
    assert not source.has_background


def test_label_ids_become_train_ids_and_all_others_are_ignored(root: Path) -> None:
    expected = np.array([label.train_id if 0 <= label.train_id < 255 else 255 for label in LABELS])
    source = read(root)
    assert source.problems == []
    for pair in source.pairs:
        mask = pair.load_mask()
        np.testing.assert_array_equal(mask.ravel(), expected)
        assert mask.dtype == np.uint8
        assert pair.mask.name == f"{pair.stem}_gtFine_labelIds.png"
    assert source.notes[0].startswith("5 masks are read from gtFine_labelIds.png: label ids become the 19 train ids")


def test_it_is_imported_pixel_by_pixel(root: Path) -> None:
    expected = {pair.stem: pair.load_mask() for pair in read(root).pairs}
    dataset = imported(root, **NO_SPLIT)
    assert names(dataset) == [label.name for label in TRAINED]
    np.testing.assert_equal({stem: mask for stem, (_, mask) in loaded(dataset).items()}, expected)


def test_splits_are_the_folders_and_groups_the_sequences(root: Path) -> None:
    pairs = read(root).pairs
    assert {pair.stem: pair.split for pair in pairs} == {
        **dict.fromkeys(FRAMES["train"], "train"),
        **dict.fromkeys(FRAMES["val"], "validation"),
    }
    assert {pair.stem: pair.group for pair in pairs} == {pair.stem: pair.stem.rpartition("_")[0] for pair in pairs}
    assert len({pair.group for pair in pairs}) == 3


def test_the_test_split_is_left_out_with_its_dummies_and_without_them(root: Path) -> None:
    assert any("the 2 test images were left out: their masks are dummies" in note for note in read(root).notes)
    for path in (root / "gtFine" / "test").rglob("*.png"):
        path.unlink()
    source = read(root)
    assert source.problems == []
    assert any("the 2 test images were left out: they have no masks" in note for note in source.notes)


def test_a_test_split_that_shows_something_is_kept(root: Path, put: Put) -> None:
    put(f"city/gtFine/test/berlin/{TEST[1]}_gtFine_labelIds.png", EVERY_LABEL)
    source = read(root)
    assert {pair.stem for pair in source.pairs if pair.split == "test"} == set(TEST)
    (root / "gtFine" / "test" / "berlin" / f"{TEST[0]}_gtFine_labelIds.png").unlink()
    (problem,) = read(root).problems
    assert f"{TEST[0]}_leftImg8bit.png has no mask; expected " in problem


def test_train_ids_are_read_where_there_are_no_label_ids(root: Path, put: Put) -> None:
    ids = np.resize([*range(19), 255], (2, 17))
    for name in FRAMES["train"]:
        (root / "gtFine" / "train" / "aachen" / f"{name}_gtFine_labelIds.png").unlink()
        put(f"city/gtFine/train/aachen/{name}_gtFine_labelTrainIds.png", ids)
    put(f"city/gtFine/val/frankfurt/{FRAMES['val'][0]}_gtFine_labelTrainIds.png", ids)
    source = read(root)
    for pair in source.pairs:
        assert (pair.load_mask() == ids).all() == (pair.split == "train")
    text = " ".join(source.notes)
    assert "3 masks are read from gtFine_labelTrainIds.png: train ids are taken as they are" in text
    assert "2 masks are read from gtFine_labelIds.png" in text


def test_without_fine_masks_the_coarse_ones_are_read(root: Path, put: Put, noise: Noise) -> None:
    put("city/leftImg8bit/train_extra/augsburg/augsburg_000000_000000_leftImg8bit.png", noise(9, 2, 17, 3))
    put("city/gtCoarse/train_extra/augsburg/augsburg_000000_000000_gtCoarse_labelIds.png", EVERY_LABEL)
    assert any("leftImg8bit/train_extra was left out" in note for note in read(root).notes)
    for path in sorted((root / "gtFine").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (root / "gtFine").rmdir()
    for split, frames in FRAMES.items():
        for name in frames:
            put(f"city/gtCoarse/{split}/{name.split('_')[0]}/{name}_gtCoarse_labelIds.png", EVERY_LABEL)
    source = read(root)
    assert source.problems == []
    assert {pair.stem for pair in source.pairs if pair.split == "train"} == {
        *FRAMES["train"],
        "augsburg_000000_000000",
    }
    assert source.notes[0].startswith("6 masks are read from gtCoarse_labelIds.png")


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("labelIds", 34, "holds the label id 34; Cityscapes has 0 to 33: make the mask again"),
        ("labelIds", 255, "holds the label id 255"),
        ("labelTrainIds", 19, r"holds the train id 19; Cityscapes has 0 to 18 and 255 \(ignored\)"),
    ],
)
def test_an_unknown_id_is_refused_when_decoded(root: Path, put: Put, kind: str, value: int, message: str) -> None:
    name = FRAMES["train"][0]
    (root / "gtFine" / "train" / "aachen" / f"{name}_gtFine_labelIds.png").unlink()
    put(f"city/gtFine/train/aachen/{name}_gtFine_{kind}.png", np.full((2, 17), value))
    source = read(root)
    assert source.problems == []
    pairs = {pair.stem: pair for pair in source.pairs}
    with pytest.raises(DataError, match=rf"{name}_gtFine_{kind}\.png {message}"):
        pairs[name].load_mask()
    pairs[FRAMES["train"][1]].load_mask()


def test_images_without_masks_and_of_other_names_are_named(root: Path, put: Put, noise: Noise) -> None:
    (root / "gtFine" / "val" / "frankfurt" / f"{FRAMES['val'][0]}_gtFine_labelIds.png").unlink()
    put("city/leftImg8bit/train/aachen/holiday.png", noise(0))
    put("city/leftImg8bit/train/aachen/._aachen.png", noise(0))
    source = read(root)
    assert len(source.pairs) == 4
    assert len(source.problems) == 2
    assert "holiday.png must be named like aachen_000000_000019_leftImg8bit.png" in source.problems[0]
    assert f"{FRAMES['val'][0]}_leftImg8bit.png has no mask; expected " in source.problems[1]


def test_the_same_name_in_two_cities_gets_two_stems(root: Path, put: Put, noise: Noise) -> None:
    name = FRAMES["train"][0]
    put(f"city/leftImg8bit/train/bochum/{name}_leftImg8bit.png", noise(0, 2, 17, 3))
    put(f"city/gtFine/train/bochum/{name}_gtFine_labelIds.png", EVERY_LABEL)
    stems = [pair.stem for pair in read(root).pairs]
    assert len(stems) == len(set(stems)) == 6
    assert f"{name}_2" in stems


def test_images_alone_are_not_recognised(root: Path) -> None:
    (root / "gtFine").rename(root / "truth")
    with pytest.raises(DataError, match="has none of the known layouts"):
        read(root)
    with pytest.raises(DataError, match="needs leftImg8bit/ and gtFine/"):
        read_source(DataConfig(source=root, layout="cityscapes"))
