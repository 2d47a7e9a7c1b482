"""COCO annotations with something wrong in them: each is a line that names file, entry, rule and remedy."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from coco_trees import (
    CATEGORIES,
    HEIGHT,
    INNER,
    SQUARE,
    WIDTH,
    annotation,
    document,
    image_entry,
    one_image_tree,
    write_image,
    write_json,
)
from isdm.config import DataConfig
from isdm.data.coco_regions import check_region, parse_region, region_pixels
from isdm.data.json_lists import read_lists
from isdm.data.layouts.coco import read
from isdm.data.layouts.source import Source
from isdm.errors import ConfigError, DataError

OUTSIDE = [2.0, 3.0, WIDTH + 1.5, 3.0, 12.0, 13.0]
NAN, INFINITY = float("nan"), float("inf")


def read_tree(root: Path) -> Source:
    return read(root, DataConfig(source=root))


def with_a_good_one(root: Path, annotations: list[Any], categories: Any = None, images: Any = ()) -> Source:
    """Read a tree whose image `good.jpg` is sound and must survive whatever is wrong with the others."""
    entries = [image_entry(1, "a.jpg"), image_entry(2, "good.jpg"), *images]
    for name in ("a.jpg", "good.jpg"):
        write_image(root / "images" / name)
    value = document(entries, [*annotations, annotation(1000, 2, 3)], categories)
    write_json(root / "annotations" / "instances_default.json", value)
    source = read_tree(root)
    assert "good" in {pair.stem for pair in source.pairs}
    return source


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([OUTSIDE], r"annotation 5 of a\.jpg is wrong: .*31\.5, 3\) outside the image of 30x20"),
        ([SQUARE, OUTSIDE], "31.5, 3"),
        ([[-1.5, 0, 5, 5, 9, 0]], "outside the image"),
        ([[0, 0, NAN, 5, 9, 0]], "must be numbers"),
        ([[0, 0, INFINITY, 5, 9, 0]], "must be numbers"),
        ([[0, 0, 10**400, 5, 9, 0]], "far outside"),
        ([[1, 1, 5, 5]], "polygon of 4 coordinates; at least three points"),
        ([[1, 1, 5, 5, 9, 1, 3]], "polygon of 7 coordinates"),
        ([[]], "polygon of 0 coordinates"),
        ([["1", 1, 5, 5, 9, 1]], "coordinates must be numbers"),
        ([[None, 1, 5, 5, 9, 1]], "coordinates must be numbers"),
        ([[[1, 1], [5, 5], [9, 1]]], "coordinates must be numbers"),
        (SQUARE, "must be a list of polygons"),
        ("text", "must be a list of polygons"),
        (7, "must be a list of polygons"),
        ([], "has no segmentation, at most a box"),
        ({}, "has no segmentation, at most a box"),
        ({"counts": [600]}, r"size None; it must be \[height, width\]"),
        ({"size": [HEIGHT], "counts": [600]}, "it must be"),
        ({"size": [HEIGHT, -WIDTH], "counts": [600]}, "it must be"),
        ({"size": [10**9, 10**9], "counts": [10**18]}, "more than can be decoded safely"),
        ({"size": [WIDTH, HEIGHT], "counts": [600]}, "for an image of 20x30 but its image is 30x20"),
        ({"size": [HEIGHT, WIDTH], "counts": [599]}, "do not add up to the 600 pixels of 30x20"),
        ({"size": [HEIGHT, WIDTH], "counts": []}, "do not add up"),
        ({"size": [HEIGHT, WIDTH], "counts": [700, -100]}, "whole numbers from 0"),
        ({"size": [HEIGHT, WIDTH], "counts": [2**63, 2**63, 600]}, "whole numbers from 0"),
        ({"size": [HEIGHT, WIDTH], "counts": [300.5, 299.5]}, "whole numbers from 0"),
        ({"size": [HEIGHT, WIDTH], "counts": None}, "whole numbers from 0"),
        ({"size": [HEIGHT, WIDTH], "counts": ""}, "no compressed run lengths"),
        ({"size": [HEIGHT, WIDTH], "counts": "hello"}, "compressed|add up"),
        ({"size": [HEIGHT, WIDTH], "counts": "o" * 50}, "no compressed run lengths"),
        ({"size": [HEIGHT, WIDTH], "counts": "o" * 50 + "0"}, "beyond any image"),
        ({"size": [HEIGHT, WIDTH], "counts": "é"}, "no compressed run lengths"),
    ],
)
def test_a_broken_segmentation_is_named_and_its_image_left_out(
    tmp_path: Path, segmentation: Any, message: str
) -> None:
    source = with_a_good_one(tmp_path, [annotation(5, 1, 3, segmentation), annotation(6, 1, 7)])
    (problem,) = source.problems
    assert problem.startswith(str(tmp_path / "annotations" / "instances_default.json"))
    assert re.search(message, problem), problem
    assert "annotation 5 of a.jpg" in problem
    assert [pair.stem for pair in source.pairs] == ["good"]


def test_boxes_alone_are_one_line_an_image(tmp_path: Path) -> None:
    boxes = [annotation(key, 1, 3, []) for key in (5, 6, 7)]
    del boxes[2]["segmentation"]
    (problem,) = with_a_good_one(tmp_path, boxes).problems
    assert "annotation 5 (and 2 more) of a.jpg has no segmentation" in problem


def test_all_broken_annotations_are_listed(tmp_path: Path) -> None:
    broken = [annotation(5, 1, 3, [OUTSIDE]), annotation(6, 1, 3, [[1, 2]]), annotation(7, 1, 3, "x")]
    assert len(with_a_good_one(tmp_path, broken).problems) == 3


def test_a_point_within_the_tolerance_is_drawn(tmp_path: Path) -> None:
    source = with_a_good_one(tmp_path, [annotation(5, 1, 3, [[-1.0, 0, WIDTH + 1.0, 0, 9, HEIGHT + 1.0]])])
    assert source.problems == []
    assert all(pair.load_mask().any() for pair in source.pairs)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (annotation(5, 1, 99), r"1 annotation\(s\), such as 5 of a\.jpg, have the category_id 99, which categories"),
        (annotation(5, 77, 3), r"1 annotation\(s\) have the image_id 77, which images does not list"),
        (annotation(5, 77, 3, "x"), r"1 annotation\(s\) have the image_id 77, which images does not list"),
        (annotation(5, "1", 3), "have the image_id '1', which images does not list"),
        (annotation(5, [1], 3), r"annotations\[0\] has the image_id \[1\]; it must be a whole number"),
        (annotation(5, None, 3), r"annotations\[0\] has the image_id None"),
        (annotation(5, NAN, 3), r"annotations\[0\] has the image_id nan"),
        (annotation(5, 1, {}), r"annotation 5 of a\.jpg has the category_id \{\}"),
        (annotation(5, 1, True), r"annotation 5 of a\.jpg has the category_id True"),
        (7, r"annotations\[0\] is 7; it must be an object"),
        (None, r"annotations\[0\] is None"),
    ],
)
def test_an_annotation_of_nothing_known_is_named(tmp_path: Path, entry: Any, message: str) -> None:
    (problem,) = with_a_good_one(tmp_path, [entry]).problems
    assert re.search(message, problem), problem


@pytest.mark.parametrize(
    ("images", "message", "left"),
    [
        ([image_entry(3, "missing.jpg")], r"names the image 'missing\.jpg', which is not there", 2),
        ([image_entry(3, "good.jpg/x.jpg")], "which is not there", 2),
        ([image_entry(3, "x" * 5000 + ".jpg")], "which is not there", 2),
        ([image_entry(3, "../../outside.jpg")], "lies outside", 2),
        ([image_entry(3, "..\\..\\outside.jpg")], "lies outside", 2),
        ([image_entry(3, "/etc/hostname")], "lies outside", 2),
        ([image_entry(3, "link.jpg")], "lies outside", 2),
        ([image_entry(3, "folder/outside.jpg")], "lies outside", 2),
        ([image_entry(3, "nul\0.jpg")], "lies outside|cannot be", 2),
        ([image_entry(3, "")], "file_name ''; it must be one line of text", 2),
        ([image_entry(3, None)], "image 3 has the file_name None", 2),
        ([image_entry(3, "\ud800.jpg")], "file_name", 2),
        ([image_entry(3, "b.jpg") | {"width": None}], "image 3 has the width None", 2),
        ([image_entry(3, "b.jpg") | {"height": 0}], "image 3 has the height 0", 2),
        ([image_entry(3, "b.jpg") | {"height": "20"}], "image 3 has the height '20'", 2),
        ([image_entry(3, "b.jpg") | {"height": 10**5, "width": 10**5}], "more than can be decoded safely", 2),
        ([image_entry([3], "b.jpg")], r"images\[2\] has the id \[3\]", 2),
        (["b.jpg"], r"images\[2\] is 'b\.jpg'; it must be an object", 2),
        ([image_entry(1, "b.jpg")], "2 images have the id 1; give every image its own", 1),
        ([image_entry(3, "a.jpg")], r"2 images have the file name 'a\.jpg'; keep one", 1),
        ([image_entry(3, "./a.jpg")], r"a\.jpg is told of twice", 1),
    ],
)
def test_a_broken_image_entry_is_named(tmp_path: Path, images: list[Any], message: str, left: int) -> None:
    root = tmp_path / "tree"
    write_image(tmp_path / "outside.jpg")
    write_image(root / "images" / "b.jpg")
    (root / "images" / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    (root / "images" / "folder").symlink_to(tmp_path)
    source = with_a_good_one(root, [], images=images)
    (problem,) = source.problems
    assert re.search(message, problem), problem
    assert len(source.pairs) == left


def test_an_image_in_two_files_is_in_neither_split(tmp_path: Path) -> None:
    for split in ("train", "val"):
        value = document([image_entry(1, "a.jpg"), image_entry(2, f"{split}.jpg")], [])
        write_json(tmp_path / "annotations" / f"instances_{split}.json", value)
        write_image(tmp_path / "images" / f"{split}.jpg")
    write_image(tmp_path / "images" / "a.jpg")
    source = read_tree(tmp_path)
    assert [pair.stem for pair in source.pairs] == ["train", "val"]
    files = [tmp_path / "annotations" / f"instances_{split}.json" for split in ("train", "val")]
    assert f"a.jpg is told of twice, in {files[0]} and {files[1]}; keep" in source.problems[0]


@pytest.mark.parametrize(
    ("category", "message"),
    [
        ({"id": 7, "name": "other"}, r"categories\[2\] has the id 7 of another one"),
        ({"id": 9, "name": "dent"}, r"categories\[2\] has the name 'dent' of another one; rename or join them"),
        ({"id": 9}, "category 9 has the name None"),
        ({"id": 9, "name": " "}, "category 9 has the name ' '"),
        ({"id": 9, "name": "two\nlines"}, "category 9 has the name"),
        ({"name": "x"}, r"categories\[2\] has the id None"),
        ("x", r"categories\[2\] is 'x'"),
    ],
)
def test_a_broken_category_is_named_and_what_uses_it_left_out(tmp_path: Path, category: Any, message: str) -> None:
    key = category["id"] if isinstance(category, dict) and "id" in category else 3
    source = with_a_good_one(tmp_path, [annotation(5, 1, key)], [*CATEGORIES, category])
    (problem,) = source.problems
    assert re.search(message, problem), problem
    assert [pair.stem for pair in source.pairs] == (["good"] if key != 3 else ["a", "good"])


def test_too_many_or_no_categories_are_refused(tmp_path: Path) -> None:
    many = [{"id": key, "name": f"c{key}"} for key in range(255)]
    with pytest.raises(DataError, match=r"255 classes .*a mask can hold 254: choose some with --classes"):
        read_tree(one_image_tree(tmp_path / "many", [], many))
    with pytest.raises(DataError, match="has no categories beside the background"):
        read_tree(one_image_tree(tmp_path / "none", [], []))
    assert len(read_tree(one_image_tree(tmp_path / "most", [], many[:254])).class_names) == 255


def test_of_too_many_categories_those_chosen_are_classes(tmp_path: Path) -> None:
    many = [{"id": key, "name": f"c{key}"} for key in range(300)]
    inner, outer = [[1, 1, 3, 1, 3, 3, 1, 3]], [[0, 0, 4, 0, 4, 4, 0, 4]]
    root = one_image_tree(tmp_path, [annotation(1, 1, 7, outer), annotation(2, 1, 299, inner)], many)
    source = read(root, DataConfig(source=root, classes=("c280", "c7")))
    assert source.class_names == ("background", "c7", "c280")
    assert "of 300 categories the 2 chosen are classes, all others background" in source.notes
    mask = source.pairs[0].load_mask()
    assert mask[:4, :4].all(), "what is background lies beneath"
    assert mask.max() == 1
    with pytest.raises(ConfigError, match="class 'c300' is unknown"):
        read(root, DataConfig(source=root, classes=("c300",)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("[]", "Expecting an object"),
        ('{"images": {}}', "Expecting a list"),
        ('{"images": null}', "Expecting a list"),
        ('{"images": [}', "not valid JSON"),
        ('{"images": [] "annotations": []}', "Expecting ','"),
        ('{"images": [1 2]}', "Expecting ','"),
        ('{"images": []} x', "Extra data"),
        ('{"images": [], }', "not valid JSON"),
        ("{3: 4}", "Expecting a member's name"),
        ('{"images": [' + "[" * 100_000, "nested too deeply"),
        ('{"info": 1' + "0" * 5000 + "}", "not valid JSON"),
        ('{"images": [{"id": 1', "not valid JSON"),
        (b'{"images": ["\xff"]}', "not valid JSON"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = tmp_path / "annotations" / "instances_train.json"
    path.parent.mkdir()
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=f"instances_train.json.*{message}"):
        read_tree(tmp_path)


def test_a_broken_file_does_not_hide_the_others(tmp_path: Path) -> None:
    one_image_tree(tmp_path, [])
    write_json(tmp_path / "annotations" / "instances_val.json", "{")
    write_json(tmp_path / "annotations" / "instances_z.json", {"images": []})
    source = read_tree(tmp_path)
    assert len(source.pairs) == 1
    assert len(source.problems) == 3, "not JSON; no annotations; no categories"


def test_an_annotation_file_outside_the_source_is_not_read(tmp_path: Path) -> None:
    root = one_image_tree(tmp_path / "tree", [])
    outside = write_json(tmp_path / "elsewhere.json", document([], []))
    (root / "annotations" / "instances_val.json").symlink_to(outside)
    (problem,) = read_tree(root).problems
    assert "instances_val.json" in problem
    assert "lies outside" in problem


def test_lists_are_handed_on_item_by_item(tmp_path: Path) -> None:
    value = {"a": [1, {"b": [2]}, "x"], "c": {"a": [3]}, "d": [], "e": 1.5}
    taken: list[Any] = []
    for indent in (None, 2):
        path = tmp_path / "x.json"
        path.write_text("\ufeff" + json.dumps(value, indent=indent), "utf-8")
        rest = read_lists(path, {"a": lambda *item: taken.append(item), "d": lambda *item: taken.append(item)})
        assert rest == value | {"a": 3, "d": 0}
    assert taken == 2 * [(0, 1), (1, {"b": [2]}), (2, "x")]
    (tmp_path / "x.json").write_text(" { } ")
    assert read_lists(tmp_path / "x.json", {}) == {}


@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_run_lengths_agree_with_pycocotools(height: int, width: int, data: st.DataObject) -> None:
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    pixels = np.array(bits, np.uint8).reshape(height, width)
    packed = coco_mask.encode(np.asfortranarray(pixels))
    region = parse_region({"size": [height, width], "counts": packed["counts"].decode()})
    check_region(region, height, width)
    np.testing.assert_array_equal(region_pixels(region, height, width), pixels.astype(bool))


def test_long_run_lengths_agree_with_pycocotools() -> None:
    pixels = np.zeros((1200, 1500), np.uint8)
    pixels[100:900, 300:1400:7] = 1
    pixels[:, :200] = 1
    packed = coco_mask.encode(np.asfortranarray(pixels))
    region = parse_region({"size": [1200, 1500], "counts": packed["counts"].decode()})
    np.testing.assert_array_equal(region_pixels(region, 1200, 1500), pixels.astype(bool))


@given(st.text(alphabet=[chr(code) for code in range(40, 120)], max_size=12))
def test_any_string_is_run_lengths_or_refused(text: str) -> None:
    try:
        region = parse_region({"size": [HEIGHT, WIDTH], "counts": text})
    except DataError:
        return
    assert region_pixels(region, HEIGHT, WIDTH).shape == (HEIGHT, WIDTH)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["a.jpg", "", "dent"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "size", "x"]), inner),
    max_leaves=6,
)


@given(st.data())
def test_whatever_stands_in_an_entry_gives_a_line_and_no_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    value = document([image_entry(1, "a.jpg")], [annotation(1, 1, 3, [INNER])])
    entry = value[data.draw(st.sampled_from(["images", "annotations", "categories"]))][0]
    entry[data.draw(st.sampled_from(sorted(entry)))] = data.draw(_JSON)
    root = tmp_path_factory.mktemp("tree")
    write_image(root / "a.jpg")
    write_json(root / "x.json", value)
    try:
        source = read_tree(root)
    except DataError:
        return
    for pair in source.pairs:
        pair.load_mask()
