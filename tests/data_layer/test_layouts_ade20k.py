"""ADE20K in the form of the scene parsing challenge."""

from pathlib import Path

import numpy as np
import pytest

from imported import NO_SPLIT, Noise, Put, imported, loaded, names
from isdm.config import DataConfig
from isdm.data.layouts import ade20k, read_source
from isdm.data.layouts.source import Source
from isdm.errors import DataError

TRAINING = ("ADE_train_00000001", "ADE_train_00000002")
VALIDATION = ("ADE_val_00000001",)
EVERY_VALUE = np.resize(np.arange(151), (8, 20))
LINES = "Idx\tRatio\tTrain\tVal\tName\n1\t0.1576\t11664\t1172\twall\n2\t0.1072\t6046\t612\tbuilding, edifice\n"


@pytest.fixture
def root(put: Put, noise: Noise, tmp_path: Path) -> Path:
    base = "ADEChallengeData2016"
    for split, images in {"training": TRAINING, "validation": VALIDATION}.items():
        for seed, name in enumerate(images):
            put(f"{base}/images/{split}/{name}.jpg", noise(seed, 8, 20, 3))
            put(f"{base}/annotations/{split}/{name}.png", EVERY_VALUE)
    (tmp_path / base / "sceneCategories.txt").write_text("ADE_train_00000001 airport_terminal\n")
    return tmp_path / base


def read(root: Path) -> Source:
    layout, source = read_source(DataConfig(source=root))
    assert layout == "ade20k"
    return source


def test_values_are_classes_and_folders_are_splits(root: Path) -> None:
    source = read(root)
    assert source.problems == []
    assert source.has_background
    assert {pair.stem: pair.split for pair in source.pairs} == {
        **dict.fromkeys(TRAINING, "train"),
        **dict.fromkeys(VALIDATION, "validation"),
    }
    for pair in source.pairs:
        mask = pair.load_mask()
        np.testing.assert_array_equal(mask, EVERY_VALUE)
        assert mask.dtype == np.uint8
    assert source.notes == [
        'mask value 0 is "other" and the background, 1 to 150 are the classes named by the published list'
    ]


def test_it_is_imported_pixel_by_pixel(root: Path) -> None:
    dataset = imported(root, **NO_SPLIT)
    assert len(names(dataset)) == 151
    pairs = loaded(dataset)
    assert set(pairs) == {*TRAINING, *VALIDATION}
    for _, mask in pairs.values():
        np.testing.assert_array_equal(mask, EVERY_VALUE)


def test_a_value_of_no_class_is_named_by_the_import(root: Path, put: Put) -> None:
    put(f"ADEChallengeData2016/annotations/training/{TRAINING[0]}.png", np.full((8, 20), 151))
    with pytest.raises(DataError, match=rf"{TRAINING[0]}\.png holds class id 151; declared are 0 to 150"):
        imported(root, **NO_SPLIT)


@pytest.mark.parametrize("up", [0, 1])
def test_the_folder_and_what_holds_it_are_recognised(root: Path, up: int) -> None:
    assert len(read([root, root.parent][up]).pairs) == 3


def test_the_published_names_stand_at_their_numbers(root: Path) -> None:
    names = read(root).class_names
    assert len(names) == len(set(names)) == 151
    for number, name in {
        0: "other",
        1: "wall",
        3: "sky",
        9: "windowpane",
        13: "person",
        21: "car",
        38: "bathtub",
        45: "chest of drawers",
        59: "screen door",
        64: "blind",
        75: "computer",
        81: "bus",
        90: "television",
        100: "buffet",
        106: "conveyer belt",
        116: "bag",
        128: "bicycle",
        131: "screen",
        137: "traffic light",
        142: "crt screen",
        144: "monitor",
        150: "flag",
    }.items():
        assert names[number] == name


@pytest.mark.parametrize(
    "text",
    [
        LINES + "3\t0.0878\t8265\t796\tscreen \n4 \t0.1\t1\t1\tscreen, silver screen\n5\t0\t1\t1\twall\n",
        "Idx,Ratio,Train,Val,Stuff,Name\n1,0.1,1,1,1,wall\n2,0.1,1,1,1,building;edifice\n3,0,1,1,1,screen\n"
        "4,0,1,1,0,screen;silver screen\n5,0,1,1,0,wall\n",
        "Name\tIdx\nother\t6\nwall\t5\nscreen\t3\nscreen,silver screen\t4\nwall\t1\nbuilding\t2\n",
    ],
)
def test_the_file_names_the_classes_and_makes_them_differ(root: Path, text: str) -> None:
    (root / "objectInfo150.txt").write_text(text)
    source = read(root)
    expected = ("other", "wall", "building", "screen", "silver screen", "wall 5", "other 6")
    assert source.class_names == expected[: len(source.class_names)]
    assert len(source.class_names) in (6, 7)
    assert source.notes[0].endswith("are the classes named by objectInfo150.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has the columns ''; Idx and Name must be among them"),
        ("Idx\tLabel\n1\twall\n", "Idx and Name must be among them"),
        (LINES + "4\t0\t1\t1\tsky\n", "has 3 classes; Idx must count them from 1 without a gap, to 254"),
        (LINES + "2\t0\t1\t1\tsky\n", "line 4 is .*; it must have an Idx of its own and a Name"),
        (LINES + "three\t0\t1\t1\tsky\n", "line 4 is "),
        (LINES + "²\t0\t1\t1\tsky\n", "line 4 is "),
        (LINES + "3\t0\t1\t1\t \n", "line 4 is "),
        (LINES + "3\n", "line 4 is "),
        ("Name\tIdx\nwall\n", "line 2 is "),
        ("Idx\tName\n" + "".join(f"{index}\tc{index}\n" for index in range(1, 256)), "has 255 classes"),
        (b"Idx\tName\n1\t\xff\n", "is not UTF-8 text"),
    ],
)
def test_a_malformed_list_of_names_is_refused(root: Path, text: str | bytes, message: str) -> None:
    (root / "objectInfo150.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=rf"objectInfo150\.txt.*{message}"):
        read(root)


def test_missing_partners_are_told(root: Path) -> None:
    (root / "annotations" / "training" / f"{TRAINING[0]}.png").unlink()
    (root / "images" / "training" / f"{TRAINING[1]}.jpg").unlink()
    source = read(root)
    assert [pair.stem for pair in source.pairs] == list(VALIDATION)
    (problem,) = source.problems
    assert f"{TRAINING[0]}.jpg has no mask; expected " in problem
    assert any("1 masks without an image were left out" in note for note in source.notes)


def test_stems_differ(root: Path, put: Put, noise: Noise) -> None:
    put(f"ADEChallengeData2016/images/training/{TRAINING[0]}.png", noise(0, 8, 20, 3))
    stems = [pair.stem for pair in read(root).pairs]
    assert len(stems) == len(set(stems)) == 4


def test_a_colour_mask_is_refused_when_decoded(root: Path, put: Put, noise: Noise) -> None:
    put(f"ADEChallengeData2016/annotations/validation/{VALIDATION[0]}.png", noise(0, 8, 20, 3))
    pair = read(root).pairs[-1]
    with pytest.raises(DataError, match=rf"{VALIDATION[0]}\.png has mode RGB"):
        pair.load_mask()


def test_other_data_in_folders_of_these_names_is_not_taken_for_it(root: Path) -> None:
    """Much data for mmsegmentation has images/training and annotations/training, too."""
    for path in root.rglob("ADE_*"):
        path.rename(path.with_name(path.name.removeprefix("ADE_")))
    assert not ade20k.recognises(root)
    assert len(read_source(DataConfig(source=root, layout="ade20k"))[1].pairs) == 3
    (root / "objectInfo150.txt").write_text(LINES)
    assert read(root).class_names == ("other", "wall", "building")


def test_without_both_folders_it_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs images/training and annotations/training"):
        read_source(DataConfig(source=tmp_path, layout="ade20k"))
