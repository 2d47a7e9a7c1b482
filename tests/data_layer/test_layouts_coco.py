"""COCO trees as the publisher, CVAT and Roboflow make them; pycocotools is the reference for the masks."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from coco_trees import (
    ARROW,
    HEIGHT,
    INNER,
    SQUARE,
    WIDTH,
    annotation,
    document,
    image_entry,
    one_image_tree,
    reference_mask,
    write_image,
    write_json,
)
from isdm.config import DataConfig, build
from isdm.data.dataset import SPLITS
from isdm.data.importing import import_dataset
from isdm.data.layouts import read_source
from isdm.data.layouts.coco import recognises
from isdm.data.layouts.source import Source, SourcePair
from isdm.errors import DataError

CLASS_OF = {3: 1, 7: 2}
"""In the order of the ids: rust, dent."""


def read_auto(root: Path, **options: Any) -> Source:
    layout, source = read_source(build(DataConfig, {"source": root} | options))
    assert layout == "coco"
    return source


def by_stem(source: Source) -> dict[str, SourcePair]:
    return {pair.stem: pair for pair in source.pairs}


@pytest.fixture
def coco_2017(tmp_path: Path) -> Path:
    """The publisher's tree, with the other tasks' files beside, and every kind of segmentation."""
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[4:15, 6:9] = pixels[10, 3:25] = 1
    packed = coco_mask.encode(np.asfortranarray(pixels))
    loose = {"size": [HEIGHT, WIDTH], "counts": [0, 45, 10, 25, HEIGHT * WIDTH - 80]}
    train = document(
        [
            image_entry(9, "000000000009.jpg"),
            image_entry(25, "000000000025.jpg"),
            image_entry(30, "000000000030.jpg"),
        ],
        [
            annotation(1, 9, 3, [INNER]),
            annotation(2, 9, 7, [SQUARE, ARROW, [8.0, 8.0, 20.0, 9.0, 8.0, 16.0]]),
            annotation(3, 25, 7, {"size": packed["size"], "counts": packed["counts"].decode()}),
            annotation(4, 25, 3, loose, iscrowd=1),
        ],
    )
    val = document([image_entry(139, "000000000139.jpg")], [annotation(5, 139, 3, [ARROW])])
    root = tmp_path / "coco"
    write_json(root / "annotations" / "instances_train2017.json", train)
    write_json(root / "annotations" / "instances_val2017.json", val)
    for other in ("captions_train2017", "person_keypoints_val2017", "image_info_test2017"):
        write_json(root / "annotations" / f"{other}.json", {"images": [image_entry(1, "x.jpg")], "annotations": [{}]})
    for name in ("000000000009", "000000000025", "000000000030"):
        write_image(root / "train2017" / f"{name}.jpg")
    write_image(root / "val2017" / "000000000139.jpg")
    return root


def test_the_published_tree_agrees_with_pycocotools_pixel_by_pixel(coco_2017: Path) -> None:
    source = read_auto(coco_2017)
    assert source.class_names == ("background", "rust", "dent")
    assert source.problems == []
    assert source.has_background
    for file, stems in {"train": ("09", "25", "30"), "val": ("139",)}.items():
        told_by = coco_2017 / "annotations" / f"instances_{file}2017.json"
        for stem in stems:
            pair = by_stem(source)[stem.rjust(12, "0")]
            expected = reference_mask(told_by, pair.image.name, CLASS_OF)
            mask = pair.load_mask()
            assert mask.dtype == np.uint8
            np.testing.assert_array_equal(mask, expected)
            assert pair.mask == told_by
    assert by_stem(source)["000000000025"].load_mask().any(), "a crowd is drawn"
    assert not by_stem(source)["000000000030"].load_mask().any(), "an image without annotations is background"


def test_file_names_tell_the_splits(coco_2017: Path) -> None:
    source = read_auto(coco_2017)
    assert {pair.stem: pair.split for pair in source.pairs} == {
        "000000000009": "train",
        "000000000025": "train",
        "000000000030": "train",
        "000000000139": "validation",
    }
    assert all(pair.group is None for pair in source.pairs)


def test_classes_of_an_image_are_known_without_drawing(coco_2017: Path) -> None:
    classes = {pair.stem: pair.class_ids for pair in read_auto(coco_2017).pairs}
    assert classes["000000000009"] == {1, 2}
    assert classes["000000000030"] == frozenset()
    assert classes["000000000139"] == {1}


def test_images_may_lie_in_images(coco_2017: Path) -> None:
    (coco_2017 / "images").mkdir()
    for name in ("train2017", "val2017"):
        (coco_2017 / name).rename(coco_2017 / "images" / name)
    source = read_auto(coco_2017)
    assert source.problems == []
    assert len(source.pairs) == 4


def test_a_cvat_tree_is_imported(tmp_path: Path) -> None:
    root = one_image_tree(tmp_path / "cvat", [annotation(1, 1, 7, [INNER]), annotation(2, 1, 3)])
    write_image(root / "images" / "b.png")
    dataset = import_dataset(build(DataConfig, {"source": root, "test": 0, "validation": 0}), tmp_path / "out")
    (pair,) = (pair for split in SPLITS for pair in dataset.pairs(split))
    expected = reference_mask(root / "annotations" / "instances_default.json", "a.jpg", CLASS_OF)
    np.testing.assert_array_equal(dataset.load(pair)[1], expected)
    assert any("1 image file(s), such as b.png, are not in use" in note for note in dataset.info.source["notes"])


def roboflow(root: Path, name: str = "_annotations.coco.json") -> Path:
    categories = [
        {"id": 0, "name": "parts-x1y2", "supercategory": "none"},
        {"id": 1, "name": "dent", "supercategory": "parts-x1y2"},
        {"id": 2, "name": "rust", "supercategory": "parts-x1y2"},
    ]
    names = {
        "train": [
            "one_jpg.rf.0123456789abcdef0123456789abcdef.jpg",
            "one_jpg.rf.fedcba98765432100123456789abcdef.jpg",
        ],
        "valid": ["one_jpg.rf.11111111111111111111111111111111.jpg"],
        "test": ["two_png.rf.22222222222222222222222222222222.jpg"],
    }
    for split, images in names.items():
        entries = [image_entry(key, image) for key, image in enumerate(images)]
        write_json(root / split / name, document(entries, [annotation(0, 0, 2)], categories))
        for image in images:
            write_image(root / split / image)
    return root


def test_a_roboflow_tree_is_read(tmp_path: Path) -> None:
    source = read_auto(roboflow(tmp_path / "robo"))
    assert source.problems == []
    assert source.class_names == ("background", "dent", "rust"), "the heading of the others is no class"
    assert any("parts-x1y2 only heads other categories" in note for note in source.notes)
    assert [(pair.split, pair.group) for pair in source.pairs] == [
        ("test", "test_two_png"),
        ("train", "train_one_jpg"),
        ("train", "train_one_jpg"),
        ("validation", "validation_one_jpg"),
    ]
    assert source.pairs[0].load_mask().max() == 2


def test_a_heading_with_annotations_of_its_own_is_a_class(tmp_path: Path) -> None:
    categories = [
        {"id": 0, "name": "parts", "supercategory": "none"},
        {"id": 1, "name": "dent", "supercategory": "parts"},
    ]
    source = read_auto(one_image_tree(tmp_path / "tree", [annotation(1, 1, 0)], categories))
    assert source.class_names == ("background", "parts", "dent")


@pytest.mark.parametrize("images", ["", "images", "data"])
@pytest.mark.parametrize("name", ["result.json", "labels.json", "anything.coco.json"])
def test_a_single_file_in_the_root_is_read(tmp_path: Path, images: str, name: str) -> None:
    root = tmp_path / "single"
    write_json(root / name, document([image_entry("x", "a.jpg")], [annotation(1, "x", 3)]))
    write_image(root / images / "a.jpg")
    (pair,) = read_auto(root).pairs
    assert (pair.image, pair.stem, pair.split) == (root / images / "a.jpg", "a", None)


def test_folders_in_file_names_tell_the_splits(tmp_path: Path) -> None:
    root = tmp_path / "single"
    names = ["train/a.jpg", "val\\a.jpg", "test/b.jpg"]
    write_json(root / "all.json", document([image_entry(key, name) for key, name in enumerate(names)], []))
    for name in names:
        write_image(root / "images" / name.replace("\\", "/"))
    assert {(pair.stem, pair.split) for pair in read_auto(root).pairs} == {
        ("images_train_a", "train"),
        ("images_val_a", "validation"),
        ("b", "test"),
    }


def test_a_name_relative_to_the_annotations_is_followed_within_the_source(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    write_json(root / "annotations" / "instances_all.json", document([image_entry(1, "../pictures/a.jpg")], []))
    write_image(root / "pictures" / "a.jpg")
    (pair,) = read_auto(root).pairs
    assert pair.image == root / "pictures" / "a.jpg"


def test_a_lone_test_split_is_no_split(tmp_path: Path) -> None:
    root = tmp_path / "single"
    write_json(root / "my_test.json", document([image_entry(1, "a.jpg")], []))
    write_image(root / "a.jpg")
    source = read_auto(root)
    assert [pair.split for pair in source.pairs] == [None]
    assert any("split anew" in note for note in source.notes)


@pytest.mark.parametrize("folder", ["images", "{}"])
def test_a_split_without_any_annotation_is_left_out(tmp_path: Path, folder: str) -> None:
    for split, annotations in {"train": [annotation(1, 1, 3)], "val": [annotation(1, 2, 7)], "test": []}.items():
        entries = [image_entry(key, f"{split}{key}.jpg") for key in (1, 2)]
        write_json(tmp_path / "annotations" / f"instances_{split}.json", document(entries, annotations))
        for entry in entries:
            write_image(tmp_path / folder.format(split) / entry["file_name"])
    source = read_auto(tmp_path)
    assert {pair.stem: pair.split for pair in source.pairs} == {
        **dict.fromkeys(("train1", "train2"), "train"),
        **dict.fromkeys(("val1", "val2"), "validation"),
    }
    assert source.problems == []
    assert "the 2 test images were left out: none has an annotation, so what they show is not known" in source.notes
    assert "2 image(s) without annotations are all background" in source.notes
    assert not any("not in use" in note for note in source.notes)


def test_a_split_that_isdm_exported_without_objects_is_kept(tmp_path: Path) -> None:
    for split, annotations in {"train": [annotation(1, 1, 3)], "test": []}.items():
        value = document([image_entry(1, f"{split}.jpg")], annotations, info=own_info())
        write_json(tmp_path / "annotations" / f"instances_{split}.json", value)
        write_image(tmp_path / "images" / f"{split}.jpg")
    assert {pair.split for pair in read_auto(tmp_path).pairs} == {"train", "test"}


def test_small_objects_lie_on_large_ones_whatever_the_order(tmp_path: Path) -> None:
    for name, order in {"up": (1, 2), "down": (2, 1)}.items():
        shapes = {1: annotation(1, 1, 7, [INNER]), 2: annotation(2, 1, 3, [SQUARE])}
        root = one_image_tree(tmp_path / name, [shapes[key] for key in order])
        mask = by_stem(read_auto(root))["a"].load_mask()
        assert (mask[6, 7], mask[4, 4], mask[0, 0]) == (2, 1, 0)


def test_classes_that_are_left_out_hide_nothing(tmp_path: Path) -> None:
    root = one_image_tree(tmp_path / "tree", [annotation(1, 1, 7, [INNER]), annotation(2, 1, 3, [SQUARE])])
    for options in ({"classes": ["rust"]}, {"classes": ["bad"], "merge": {"bad": ["rust"]}}):
        source = read_auto(root, **options)
        assert by_stem(source)["a"].load_mask()[6, 7] == 1
        assert any("left out beneath all others" in note for note in source.notes)
    assert by_stem(read_auto(root, classes=["dent"]))["a"].load_mask()[6, 7] == 2


@pytest.mark.parametrize("name", ["background", "Background", "_background_"])
def test_a_background_category_is_class_0(tmp_path: Path, name: str) -> None:
    categories = [{"id": 0, "name": name}, {"id": 1, "name": "rust"}]
    root = one_image_tree(tmp_path / "tree", [annotation(1, 1, 1), annotation(2, 1, 0, [INNER])], categories)
    source = read_auto(root)
    assert source.class_names == ("background", "rust")
    mask = source.pairs[0].load_mask()
    assert (mask[6, 7], mask[4, 4]) == (0, 1), "background can be cut out of an object"


def test_files_that_number_their_categories_otherwise_agree_by_name(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    for split, ids in {"train": (1, 2), "val": (2, 1)}.items():
        categories = [{"id": ids[0], "name": "rust"}, {"id": ids[1], "name": "dent"}]
        value = document([image_entry(1, f"{split}.jpg")], [annotation(1, 1, ids[1])], categories)
        write_json(root / "annotations" / f"{split}.json", value)
        write_image(root / "images" / f"{split}.jpg")
    source = read_auto(root)
    assert source.class_names == ("background", "rust", "dent")
    assert {pair.load_mask().max() for pair in source.pairs} == {2}


def own_info(**changes: Any) -> dict[str, Any]:
    classes = [
        {"id": 0, "name": "belt", "colour": [1, 2, 3]},
        {"id": 1, "name": "dent", "colour": [200, 0, 0]},
        {"id": 2, "name": "unused", "colour": [9, 9, 9]},
        {"id": 3, "name": "rust", "colour": [0, 200, 0]},
    ]
    return {"isdm": {"classes": classes, "ignore_index": 255} | changes}


def test_isdms_own_facts_come_back(tmp_path: Path) -> None:
    categories = [
        {"id": 255, "name": "ignore", "isdm_ignore": True},
        {"id": 3, "name": "rust"},
        {"id": 1, "name": "dent"},
        {"id": 4, "name": "added later"},
    ]
    annotations = [annotation(1, 1, 3, [SQUARE]), annotation(2, 1, 255, [INNER], iscrowd=1)]
    value = document([image_entry(1, "a.png", group="part 4")], annotations, categories, info=own_info())
    root = tmp_path / "export"
    write_json(root / "annotations" / "instances_train.json", value)
    write_image(root / "train" / "a.png")
    source = read_auto(root)
    assert source.class_names == ("belt", "dent", "unused", "rust", "added later")
    assert source.colours is not None
    assert source.colours[:4] == ((1, 2, 3), (200, 0, 0), (9, 9, 9), (0, 200, 0))
    (pair,) = source.pairs
    mask = pair.load_mask()
    assert (mask[0, 0], mask[4, 4], mask[6, 7]) == (0, 3, 255)
    assert (pair.group, pair.split, pair.class_ids) == ("part 4", "train", {3})
    (of_dents,) = read_auto(root, classes=["dent"]).pairs
    assert of_dents.load_mask()[6, 7] == 255


def test_a_category_named_ignore_is_a_class_unless_marked(tmp_path: Path) -> None:
    root = one_image_tree(tmp_path / "tree", [annotation(1, 1, 1)], [{"id": 1, "name": "ignore"}])
    assert read_auto(root).class_names == ("background", "ignore")


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": None},
        {"classes": []},
        {"classes": [{"id": 0, "name": "a", "colour": [0, 0, 0]}]},
        {"classes": [{"id": 0, "name": "a", "colour": [0, 0, 0]}, {"id": 1, "name": "a", "colour": [0, 0, 0]}]},
        {"classes": [{"id": 0, "name": "a", "colour": [0, 0, 256]}, {"id": 1, "name": "b", "colour": [0, 0, 0]}]},
        {"classes": [{"id": 0, "name": ["a"], "colour": "red"}, {"id": 1, "name": "b", "colour": [0, 0, 0]}]},
        {"classes": [{"id": 1, "name": "a", "colour": [0, 0, 0]}, {"id": 0, "name": "b", "colour": [0, 0, 0]}]},
    ],
)
def test_broken_facts_of_isdm_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    root = tmp_path / "export"
    write_json(root / "a.json", document([image_entry(1, "a.png")], [], info=own_info(**changes)))
    write_image(root / "a.png")
    with pytest.raises(DataError, match=r"a\.json.*info\.isdm\.classes"):
        read_auto(root)


@pytest.mark.parametrize(
    "files",
    [
        {"a.json": {"version": "5.0", "shapes": [], "imagePath": "a.jpg", "imageData": None}},
        {"tasks.json": [{"id": 1, "annotations": [{"result": []}], "data": {"image": "a.jpg"}}]},
        {"dataset.json": {"name": "x", "classes": [], "channels": 3}},
        {"annotations/captions_val2017.json": {"images": [{"file_name": "a"}], "annotations": []}},
        {"annotations/x.json": "{"},
        {"x.json": ""},
        {},
    ],
)
def test_other_trees_are_not_recognised(tmp_path: Path, files: dict[str, Any]) -> None:
    for name, value in files.items():
        write_json(tmp_path / name, value)
    assert not recognises(tmp_path)


def test_strange_trees_do_not_break_the_recognition(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_x.json").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "x.json").symlink_to(tmp_path / "nowhere.json")
    os.mkfifo(tmp_path / "pipe.json")
    assert not recognises(tmp_path)
    assert not recognises(tmp_path / "missing")
