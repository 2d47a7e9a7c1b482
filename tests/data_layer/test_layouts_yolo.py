"""Outlines in YOLO's text form, in the trees of Ultralytics, Roboflow and Label Studio."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from imported import NO_SPLIT, Hashes, groups_by_split, imported, loaded
from isdm.config import DataConfig
from isdm.data.layouts import yolo
from yolo_trees import HEIGHT, SQUARE, ULTRALYTICS, WIDTH, Write, line, masks, save_outlined, source_of


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return partial(save_outlined, tmp_path / "source")


def test_outlines_are_fractions_and_smaller_ones_lie_on_top(write: Write) -> None:
    tilted = ((2.5, 1.25), (55.0, 9.0), (30.5, 38.0))
    texts = {
        "images/train/a.jpg": f"{SQUARE}\n{line(0, *tilted)}\n",
        "images/train/b.jpg": f"{line(0, *tilted)}\n\n{SQUARE}",
        "images/val/c.jpg": SQUARE,
    }
    source = source_of(write(texts, ULTRALYTICS))
    assert source.problems == []
    assert source.class_names == ("background", "dent", "scratch")
    flat = [
        float(f"{x / WIDTH:.8f}") * WIDTH if i == 0 else float(f"{x / HEIGHT:.8f}") * HEIGHT
        for point in tilted
        for i, x in enumerate(point)
    ]
    expected = coco_mask.decode(coco_mask.frPyObjects([flat], HEIGHT, WIDTH)[0])
    assert expected[5:15, 10:20].any()
    expected[5:15, 10:20] = 2
    np.testing.assert_array_equal(masks(source)["a"], expected)
    np.testing.assert_array_equal(masks(source)["b"], expected)
    assert {pair.stem: pair.split for pair in source.pairs} == {"a": "train", "b": "train", "c": "validation"}
    assert "a smaller outline lies over a larger one, and holes cannot be told in this form" in source.notes[0]


def test_roboflows_tree_is_read(write: Write) -> None:
    """Its data.yaml lies beside the split folders, yet says ../train/images."""
    texts: dict[str, str | None] = {f"{split}/images/a.jpg": SQUARE for split in ("train", "valid", "test")}
    settings = {
        "train": "../train/images",
        "val": "../valid/images",
        "test": "../test/images",
        "nc": 2,
        "names": ["dent", "scratch"],
        "roboflow": {"workspace": "belts", "version": 1},
    }
    source = source_of(write(texts, settings))
    assert source.problems == []
    assert {(pair.split, pair.stem) for pair in source.pairs} == {
        ("train", "train_images_a"),
        ("validation", "valid_images_a"),
        ("test", "test_images_a"),
    }
    assert not any("elsewhere" in note for note in source.notes)


def test_splits_that_are_named_but_not_there_are_noted(write: Write) -> None:
    """Roboflow's data.yaml names all three, Ultralytics' of COCO a list of test images, whichever were fetched."""
    settings = {
        "train": "../train/images",
        "val": ["../valid/images", "more"],
        "test": "test-dev2017.txt",
        "names": ["dent", "scratch"],
    }
    source = source_of(write({"train/images/a.jpg": SQUARE, "train/images/b.jpg": SQUARE}, settings))
    assert source.problems == []
    assert {pair.split for pair in source.pairs} == {"train"}
    assert source.notes[1:] == [
        "there is no validation split: data.yaml names '../valid/images', 'more', which is not in the source",
        "there is no test split: data.yaml names 'test-dev2017.txt', which is not in the source",
    ]


def test_versions_of_a_photograph_are_a_group(write: Write) -> None:
    """Roboflow splits first and makes versions then: equal names in two splits are two photographs."""
    texts: dict[str, str | None] = {
        "train/images/one_jpg.rf.0123456789abcdef0123456789abcdef.jpg": SQUARE,
        "train/images/one_jpg.rf.fedcba98765432100123456789abcdef.jpg": SQUARE,
        "valid/images/one_jpg.rf.11111111111111111111111111111111.jpg": SQUARE,
        "valid/images/own.jpg": SQUARE,
    }
    settings = {"train": "../train/images", "val": "../valid/images", "names": ["dent", "scratch"]}
    source = source_of(write(texts, settings))
    assert [pair.group for pair in source.pairs] == ["train_one_jpg", "train_one_jpg", "validation_one_jpg", None]


def test_new_splits_do_not_part_versions_of_a_photograph(write: Write) -> None:
    texts: dict[str, str | None] = {
        f"train/images/part{part}_jpg.rf.{part:031x}{version}.jpg": SQUARE
        for part in range(6)
        for version in range(3)
    }
    folder = write(texts, {"train": "../train/images", "names": ["dent", "scratch"]})
    groups = groups_by_split(imported(folder))
    assert len(groups) > 1
    assert sum(map(len, groups.values())) == 6


@pytest.mark.parametrize("split", [None, "train"])
def test_without_data_yaml_classes_txt_names_the_classes(write: Write, split: str | None) -> None:
    """As Label Studio and others export."""
    folder = write({f"images/{split}/a.jpg" if split else "images/a.jpg": SQUARE})
    (folder / "classes.txt").write_text("dent\nscratch\n")
    (folder / "notes.json").write_text('{"categories": [{"id": 0, "name": "dent"}]}')
    source = source_of(folder)
    assert source.class_names == ("background", "dent", "scratch")
    assert [pair.split for pair in source.pairs] == [split]
    assert masks(source)["a"].max() == 2


def test_images_without_labels_are_background(write: Write) -> None:
    texts = {"images/train/a.jpg": SQUARE, "images/train/b.jpg": None, "images/train/c.jpg": "\n"}
    source = source_of(write(texts, {"train": "images/train", "names": ["dent", "scratch"]}))
    assert {stem: int(mask.max()) for stem, mask in masks(source).items()} == {"a": 2, "b": 0, "c": 0}
    assert any("2 image(s) without a label file, or with an empty one, are all background" in n for n in source.notes)


@pytest.mark.parametrize(("folder", "split"), [("val", "validation"), ("test", "test")])
def test_a_split_without_any_label_file_is_left_out(write: Write, folder: str, split: str) -> None:
    texts: dict[str, str | None] = {
        "images/train/a.jpg": SQUARE,
        "images/train/b.jpg": None,
        f"images/{folder}/c.jpg": None,
        f"images/{folder}/d.jpg": None,
    }
    settings = {"train": "images/train", folder: f"images/{folder}", "names": ["dent", "scratch"]}
    source = source_of(write(texts, settings))
    assert {pair.stem: pair.split for pair in source.pairs} == {"a": "train", "b": "train"}
    assert source.problems == []
    assert (
        f"the 2 {split} images were left out: none has a label file, so what they show is not known" in source.notes
    )
    assert "1 image(s) without a label file, or with an empty one, are all background" in source.notes
    assert not any("are not among those" in note for note in source.notes)


def test_a_split_of_empty_label_files_or_without_labelled_others_is_kept(write: Write) -> None:
    settings = {**ULTRALYTICS, "test": "images/test"}
    texts = {"images/train/a.jpg": SQUARE, "images/val/b.jpg": "", "images/test/c.jpg": SQUARE}
    folder = write(texts, settings)
    assert {pair.split for pair in source_of(folder).pairs} == {"train", "validation", "test"}
    for path in folder.glob("labels/*/?.txt"):
        path.unlink()
    assert len(yolo.read(folder, DataConfig(source=folder)).pairs) == 3


def test_a_list_of_images_is_followed(write: Write) -> None:
    texts: dict[str, str | None] = {f"images/all/{stem}.jpg": SQUARE for stem in "abcdef"}
    folder = write(texts, {"train": "train.txt", "val": ["lists/val.txt"], "names": ["dent", "scratch"]})
    (folder / "lists").mkdir()
    (folder / "train.txt").write_text("./images/all/a.jpg\nimages/all/b.jpg\n\n/content/belt/images/all/c.jpg\r\n")
    (folder / "lists" / "val.txt").write_text("..\\images\\all\\d.jpg\nimages/all/e.jpg\n")
    source = source_of(folder)
    assert source.problems == []
    assert {pair.stem: pair.split for pair in source.pairs} == {
        **dict.fromkeys("abc", "train"),
        **dict.fromkeys("de", "validation"),
    }
    notes = "; ".join(source.notes)
    assert "1 path(s) that data.yaml leads to are from elsewhere, such as '/content/belt/images/all/c.jpg'" in notes
    assert "1 image(s) are not among those that data.yaml names and were left out" in notes


@pytest.mark.parametrize(
    ("settings", "stale"),
    [
        ({"path": "../datasets/belt", "train": "images/train", "val": "images/val"}, True),
        ({"path": "/content/belt", "train": "images/train", "val": "images/val"}, True),
        ({"train": "/content/belt/images/train", "val": "C:\\belt\\images\\val"}, True),
        ({"path": ".", "train": "./images/train", "val": ["images/val"]}, False),
        ({"path": "", "train": "images/train/", "val": "images/val", "test": None}, False),
        ({"path": "{source}", "train": "images/train", "val": "{source}/images/val"}, False),
    ],
)
def test_stale_paths_are_looked_for_in_the_source(
    write: Write, tmp_path: Path, settings: dict[str, object], stale: bool
) -> None:
    texts = {"images/train/a.jpg": SQUARE, "images/val/b.jpg": SQUARE}
    here = str(tmp_path / "source")
    filled = {key: value.format(source=here) if isinstance(value, str) else value for key, value in settings.items()}
    source = source_of(write(texts, {**filled, "names": ["dent", "scratch"]}))
    assert source.problems == []
    assert {pair.stem: pair.split for pair in source.pairs} == {"a": "train", "b": "validation"}
    assert any("are from elsewhere" in note for note in source.notes) == stale


def test_the_source_may_be_a_relative_path(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"images/train/a.jpg": SQUARE, "images/val/b.jpg": SQUARE}
    write(texts, {**ULTRALYTICS, "path": str(tmp_path / "source")})
    monkeypatch.chdir(tmp_path)
    source = source_of(Path("source"))
    assert [pair.image for pair in source.pairs] == [
        Path("source/images/train/a.jpg"),
        Path("source/images/val/b.jpg"),
    ]
    assert masks(source)["a"].max() == 2
    assert not any("elsewhere" in note for note in source.notes)


@pytest.mark.parametrize("settings", [{"train": "../elsewhere/pictures", "val": "/nowhere"}, {}])
@pytest.mark.parametrize("pattern", ["images/{}", "{}/images"])
def test_where_no_path_leads_anywhere_the_folders_are_taken(
    write: Write, settings: dict[str, object], pattern: str
) -> None:
    texts: dict[str, str | None] = {
        f"{pattern.format(split)}/{split}.jpg": SQUARE for split in ("train", "val", "test")
    }
    source = source_of(write(texts, {**settings, "names": ["dent", "scratch"]}))
    assert {pair.stem: pair.split for pair in source.pairs} == {
        "train": "train",
        "val": "validation",
        "test": "test",
    }
    assert any("lead nowhere in the source; its own folders were taken" in n for n in source.notes) == bool(settings)
    assert source.problems == []


def test_images_of_two_splits(write: Write) -> None:
    texts = {"images/train/a.jpg": SQUARE, "images/train/b.jpg": SQUARE}
    same = source_of(write(texts, {"train": "images/train", "val": "images/train", "names": ["dent", "scratch"]}))
    assert {pair.stem: pair.split for pair in same.pairs} == {"a": None, "b": None}
    assert any("names the same images for two splits, so its splits were not kept" in note for note in same.notes)
    folder = write(texts, {"train": "images/train", "val": "val.txt", "names": ["dent", "scratch"]})
    (folder / "val.txt").write_text("images/train/b.jpg\n")
    partly = source_of(folder)
    assert {pair.stem: pair.split for pair in partly.pairs} == {"a": "train", "b": "train"}
    (problem,) = partly.problems
    assert "b.jpg is in the splits train and validation; name it in one" in problem


def test_a_turned_photograph_is_outlined_as_it_is_shown(write: Write) -> None:
    folder = write({"images/train/a.jpg": "0 0 0 0.5 0 0.5 0.25 0 0.25"}, {"names": ["dent", "scratch"]})
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(folder / "images/train/a.jpg", exif=exif)
    image, mask = loaded(imported(folder, **NO_SPLIT))["a"]
    assert image.shape[:2] == mask.shape == (WIDTH, HEIGHT)
    expected = np.zeros((WIDTH, HEIGHT), np.uint8)
    expected[:15, :20] = 1
    np.testing.assert_array_equal(mask, expected)


def test_the_importer_takes_it_all_and_leaves_the_source_alone(write: Write, hashes: Hashes) -> None:
    texts: dict[str, str | None] = {f"images/{split}/{split}.jpg": SQUARE for split in ("train", "val", "test")}
    texts["images/train/empty.jpg"] = None
    folder = write(texts, {**ULTRALYTICS, "test": "images/test"})
    before = hashes(folder)
    dataset = imported(folder)
    assert {split: [pair.stem for pair in dataset.pairs(split)] for split in dataset.splits} == {
        "train": ["empty", "train"],
        "validation": ["val"],
        "test": ["test"],
    }
    assert hashes(folder) == before


def test_a_class_that_is_named_background_is_class_0(write: Write) -> None:
    text = f"{line(0, (0, 0), (60, 0), (60, 40), (0, 40))}\n{SQUARE}"
    source = source_of(write({"images/train/a.jpg": text}, {"names": ["Background", "scratch"]}))
    assert source.class_names == ("background", "scratch")
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[5:15, 10:20] = 1
    np.testing.assert_array_equal(masks(source)["a"], expected)


def test_names_may_have_gaps_and_numbers(write: Write) -> None:
    source = source_of(write({"images/train/a.jpg": line(7, (0, 0), (60, 0), (60, 40))}, {"names": {3: "a", 7: 12}}))
    assert source.class_names == ("background", "a", "12")
    assert masks(source)["a"].max() == 2
