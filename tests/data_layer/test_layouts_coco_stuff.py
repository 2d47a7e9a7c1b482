"""COCO-Stuff's trees, made by hand in the published forms; the published list of labels tells the names."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imported import NO_SPLIT, imported, loaded
from isdm.config import DataConfig
from isdm.data.layouts import read_source
from isdm.data.layouts.coco_stuff import CLASS_NAMES, recognises
from isdm.data.layouts.source import Source
from isdm.errors import DataError

LABELS_SHA256 = "53c59b920927b215690b4ba5aef4ed4794e5e4b278f9e67d7e633ddbfad9b830"
"""Of the published labels.txt: lines "0: unlabeled", "1: person" to "182: wood", each ended."""
TRAIN, VAL = ("000000000009", "000000000025"), ("000000000139",)


def put_map(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


def put_photograph(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (7, 5), (40, 90, 160)).save(path)


def a_map(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice([0, 11, 91, 156, 181, 255], (5, 7))


def tree(root: Path, maps: str, images: str) -> Path:
    for split, stems in {"train2017": TRAIN, "val2017": VAL}.items():
        for stem in stems:
            put_map(root / maps / split / f"{stem}.png", a_map(int(stem)))
            put_photograph(root / images / split / f"{stem}.jpg")
    return root


def read_auto(root: Path) -> Source:
    layout, source = read_source(DataConfig(source=root))
    assert layout == "coco-stuff"
    return source


def test_the_names_are_the_published_labels() -> None:
    lines = ["0: unlabeled", *(f"{number}: {name}" for number, name in enumerate(CLASS_NAMES, start=1))]
    text = "".join(f"{line}\n" for line in lines)
    assert hashlib.sha256(text.encode()).hexdigest() == LABELS_SHA256
    assert len(CLASS_NAMES) == 182
    assert [CLASS_NAMES[index] for index in (0, 11, 90, 91, 156, 181)] == [
        "person",
        "street sign",
        "hair brush",
        "banner",
        "sky-other",
        "wood",
    ]


@pytest.mark.parametrize("images", ["images", "."])
@pytest.mark.parametrize("maps", ["stuffthingmaps", "stuffthingmaps_trainval2017", "annotations", "."])
def test_the_published_trees_are_read(tmp_path: Path, maps: str, images: str) -> None:
    source = read_auto(tree(tmp_path / "coco", maps, images))
    assert source.class_names == CLASS_NAMES
    assert not source.has_background
    assert source.problems == []
    assert [(pair.stem, pair.split) for pair in source.pairs] == [
        (TRAIN[0], "train"),
        (TRAIN[1], "train"),
        (VAL[0], "validation"),
    ]
    for pair in source.pairs:
        mask = pair.load_mask()
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, a_map(int(pair.stem)))
        assert pair.image.name == f"{pair.stem}.jpg"


def test_the_tree_is_imported(tmp_path: Path) -> None:
    dataset = imported(tree(tmp_path / "coco", "stuffthingmaps", "images"), **NO_SPLIT)
    pairs = loaded(dataset)
    for stem in (*TRAIN, *VAL):
        np.testing.assert_array_equal(pairs[stem][1], a_map(int(stem)))


def test_maps_that_mmsegmentation_derived_are_passed_over(tmp_path: Path) -> None:
    root = tree(tmp_path / "coco", "annotations", "images")
    for stem in TRAIN:
        put_map(root / "annotations" / "train2017" / f"{stem}_labelTrainIds.png", a_map(1) // 2)
    source = read_auto(root)
    assert (len(source.pairs), source.problems) == (3, [])


def test_missing_partners_are_named(tmp_path: Path) -> None:
    root = tree(tmp_path / "coco", "stuffthingmaps", "images")
    (root / "stuffthingmaps" / "train2017" / f"{TRAIN[0]}.png").unlink()
    (root / "images" / "train2017" / f"{TRAIN[1]}.jpg").unlink()
    source = read_auto(root)
    first, second = source.problems
    assert first.endswith(f"{TRAIN[0]}.jpg has no map; expected {root}/stuffthingmaps/train2017/{TRAIN[0]}.png")
    assert second.endswith(f"{TRAIN[1]}.png has no photograph; expected {root}/images/train2017/{TRAIN[1]}.jpg")
    assert [pair.stem for pair in source.pairs] == list(VAL)


def test_a_split_without_photographs_is_left_out_with_a_note(tmp_path: Path) -> None:
    root = tree(tmp_path / "coco", "stuffthingmaps", "images")
    shutil.rmtree(root / "images" / "train2017")
    source = read_auto(root)
    assert [pair.stem for pair in source.pairs] == list(VAL)
    assert "train2017 was left out: its maps have no photographs" in source.notes


@pytest.mark.parametrize("value", [182, 254])
def test_a_value_that_is_no_label_is_named(tmp_path: Path, value: int) -> None:
    root = tree(tmp_path / "coco", "stuffthingmaps", "images")
    put_map(root / "stuffthingmaps" / "val2017" / f"{VAL[0]}.png", np.full((5, 7), value))
    (pair,) = (pair for pair in read_auto(root).pairs if pair.stem == VAL[0])
    with pytest.raises(DataError, match=rf"{VAL[0]}\.png holds the value {value}; COCO-Stuff's maps hold 0 to 181"):
        pair.load_mask()


def test_a_link_out_of_the_source_is_named(tmp_path: Path) -> None:
    root = tree(tmp_path / "coco", "stuffthingmaps", "images")
    path = root / "images" / "val2017" / f"{VAL[0]}.jpg"
    shutil.move(path, tmp_path / "outside.jpg")
    path.symlink_to(tmp_path / "outside.jpg")
    source = read_auto(root)
    assert [pair.stem for pair in source.pairs] == list(TRAIN)
    assert f"{path} leads out of {root}" in source.problems[0]


def test_other_trees_are_not_recognised(tmp_path: Path) -> None:
    put_photograph(tmp_path / "images" / "train2017" / "a.jpg")
    put_map(tmp_path / "annotations" / "train2017" / "a.png", a_map(0))
    assert not recognises(tmp_path), "masks that are not named as COCO's"
    put_map(tmp_path / "annotations" / "train2017" / f"{TRAIN[0]}_labelTrainIds.png", a_map(0))
    assert not recognises(tmp_path), "derived maps alone"
    assert not recognises(tmp_path / "missing")
    with pytest.raises(DataError, match="holds no COCO-Stuff; expected maps in stuffthingmaps/train2017"):
        read_source(DataConfig(source=tmp_path, layout="coco-stuff"))
