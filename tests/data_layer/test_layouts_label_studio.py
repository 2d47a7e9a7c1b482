"""Label Studio's exports as JSON and JSON-MIN, written here as Label Studio writes them."""

import base64
import io
import json
import math
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from imported import NO_SPLIT, Hashes, imported, loaded
from isdm.config import DataConfig
from isdm.data.label_studio_rle import brush_pixels
from isdm.data.layouts import label_studio, read_source
from isdm.data.layouts.source import Source
from isdm.errors import DataError

HEIGHT, WIDTH = 40, 60

CROSS = ["......", "..XX..", ".XXXX.", "..XX.."]
CROSS_RLE = [0, 0, 0, 96, 57, 27, 254, 31, 0, 159, 254, 216, 5, 255, 251, 96, 19, 255, 206, 0]
"""What label-studio-converter 0.0.59 encodes CROSS as (brush.mask2rle of 0 and 255)."""

Write = Callable[..., Path]


def region(kind: str, value: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": "djbpw94CXj",
        "type": kind,
        "value": value,
        "origin": "manual",
        "to_name": "image",
        "from_name": "label",
        "image_rotation": 0,
        "original_width": WIDTH,
        "original_height": HEIGHT,
        **more,
    }


def polygon(label: str, points: Any, **more: Any) -> dict[str, Any]:
    """A polygon given in pixels."""
    percent = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in points]
    return region("polygonlabels", {"points": percent, "closed": True, "polygonlabels": [label]}, **more)


def box(label: str, x: float, y: float, width: float, height: float, rotation: float = 0) -> dict[str, Any]:
    """A rectangle given in pixels."""
    value = {
        "x": 100 * x / WIDTH,
        "y": 100 * y / HEIGHT,
        "width": 100 * width / WIDTH,
        "height": 100 * height / HEIGHT,
    }
    return region("rectanglelabels", {**value, "rotation": rotation, "rectanglelabels": [label]})


def encoded(mask: np.ndarray) -> list[int]:
    """Label Studio's run lengths of a mask (H, W), written as strings of bits; every other piece as values."""
    bits = f"{mask.size * 4:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}"
    pieces = [(value, len(list(run))) for value, run in groupby(np.repeat(mask.ravel() * 255, 4).tolist())]
    for index, (value, length) in enumerate(pieces):
        place, size = next((i, size) for i, size in enumerate((3, 4, 8, 16)) if length <= 2**size)
        as_run = index % 2 == 0
        bits += f"{as_run:b}{place:02b}{length - 1:0{size}b}" + f"{value:08b}" * (1 if as_run else length)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)]


def brush(label: str, rle: Any) -> dict[str, Any]:
    return region("brushlabels", {"format": "rle", "rle": rle, "brushlabels": [label]})


def annotation(*results: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": 211797,
        "completed_by": 1,
        "result": list(results),
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2024-01-31T07:40:19.861611Z",
        "updated_at": "2024-01-31T07:40:19.861611Z",
        "lead_time": 19.2,
        "prediction": {},
        "result_count": 0,
        "task": 1,
        "parent_annotation": None,
        **more,
    }


def task(image: str, *annotations: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": 68501,
        "annotations": list(annotations),
        "file_upload": image.rpartition("/")[2],
        "drafts": [],
        "predictions": [],
        "data": {"image": image},
        "meta": {},
        "inner_id": 1,
        "total_annotations": 1,
        "project": 132,
        "updated_by": 1,
        **more,
    }


SQUARE = polygon("scratch", [[10, 5], [20, 5], [20, 15], [10, 15]])


@pytest.fixture
def write(tmp_path: Path, put: Callable[..., Path], noise: Callable[..., np.ndarray]) -> Write:
    """Save tasks as an export, and pictures of these names below images/."""

    def save(*tasks: Any, pictures: tuple[str, ...] = ("a.jpg",), name: str = "project-1-at-2024-01-31.json") -> Path:
        for index, picture in enumerate(pictures):
            put(f"source/images/{picture}", noise(index, HEIGHT, WIDTH, 3))
        (tmp_path / "source" / name).write_text(json.dumps(list(tasks)))
        return tmp_path / "source"

    return save


def source_of(folder: Path) -> Source:
    layout, source = read_source(DataConfig(source=folder))
    assert layout == "label-studio"
    return source


def masks(source: Source) -> dict[str, np.ndarray]:
    return {pair.stem: pair.load_mask() for pair in source.pairs}


def drawn(write: Write, *results: Any) -> np.ndarray:
    source = source_of(write(task("/data/upload/1/a.jpg", annotation(*results))))
    assert source.problems == []
    return masks(source)["a"]


def test_polygons_are_percentages_and_smaller_ones_lie_on_top(write: Write) -> None:
    tilted = [[2.5, 1.25], [55.0, 9.0], [30.5, 38.0]]
    expected = coco_mask.decode(
        coco_mask.frPyObjects([[value for point in tilted for value in point]], HEIGHT, WIDTH)[0]
    )
    assert expected.sum() > 100
    expected[5:15, 10:20] = 2
    for order in ([SQUARE, polygon("dent", tilted)], [polygon("dent", tilted), SQUARE]):
        np.testing.assert_array_equal(drawn(write, *order), expected)
    source = source_of(write(task("/data/upload/1/a.jpg", annotation(*order))))
    assert source.class_names == ("background", "dent", "scratch")
    assert source.notes[0] == "classes are all labels found, sorted; a smaller shape lies over a larger one"


def test_of_two_equal_shapes_the_later_lies_on_top(write: Write) -> None:
    again = polygon("dent", [[10, 5], [20, 5], [20, 15], [10, 15]])
    assert set(drawn(write, SQUARE, again)[5:15, 10:20].ravel()) == {1}
    assert set(drawn(write, again, SQUARE)[5:15, 10:20].ravel()) == {2}


def test_a_class_file_gives_the_order(write: Write) -> None:
    folder = write(task("/data/upload/1/a.jpg", annotation(SQUARE)))
    (folder / "classes.txt").write_text("scratch\ndent\n")
    assert source_of(folder).class_names == ("background", "scratch", "dent")


def test_rectangles_are_filled(write: Write) -> None:
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[8:20, 6:36] = 1
    np.testing.assert_array_equal(drawn(write, box("dent", 6, 8, 30, 12)), expected)


def test_a_rectangle_turns_around_its_upper_left_corner(write: Write) -> None:
    """By the formulas for the corners that Label Studio's users were given (issue 5274 of its repository)."""
    x, y, width, height, turn = 30, 5, 24, 10, 50
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    corners = [
        (x, y),
        (x + width * cosine, y + width * sine),
        (x + width * cosine - height * sine, y + width * sine + height * cosine),
        (x - height * sine, y + height * cosine),
    ]
    flat = [value for corner in corners for value in corner]
    expected = coco_mask.decode(coco_mask.frPyObjects([flat], HEIGHT, WIDTH)[0]).astype(bool)
    ours = drawn(write, box("dent", x, y, width, height, turn)) == 1
    assert expected.sum() > 200
    assert (ours ^ expected).sum() < 30, "the border alone"


def test_ellipses_have_radii_of_both_sides_and_turn_in_pixels(write: Write) -> None:
    value = {"x": 50, "y": 50, "radiusX": 100 * 18 / WIDTH, "radiusY": 100 * 6 / HEIGHT, "rotation": 30}
    mask = drawn(write, region("ellipselabels", {**value, "ellipselabels": ["dent"]}))
    assert mask.sum() == pytest.approx(math.pi * 18 * 6, rel=0.03)
    assert mask[28, 44] == 1, "down to the right"
    assert mask[12, 44] == 0


def test_brushes_are_decoded_as_label_studios_converter_encodes_them() -> None:
    expected = [[letter == "X" for letter in row] for row in CROSS]
    np.testing.assert_array_equal(brush_pixels(bytes(CROSS_RLE), 4, 6), expected)


@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
def test_brushes_of_any_kind(write: Write, share: float) -> None:
    mask = (np.random.default_rng(3).random((HEIGHT, WIDTH)) < share).astype(np.uint8)
    np.testing.assert_array_equal(drawn(write, brush("dent", encoded(mask))), mask)


def test_bitmasks_are_where_they_are_not_transparent(write: Write) -> None:
    bits = np.random.default_rng(4).random((HEIGHT, WIDTH)) < 0.5
    pixels = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    pixels[bits, 3] = 255  # black on transparent
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    mask = drawn(write, region("bitmasklabels", {"imageDataURL": url, "bitmasklabels": ["dent"]}))
    np.testing.assert_array_equal(mask, bits)


def test_labels_may_be_in_a_result_of_their_own(write: Write) -> None:
    """As of a labelling interface with <Polygon> and <Labels>."""
    points = {"points": [[10, 10], [50, 10], [50, 50]]}
    mask = drawn(write, region("polygon", points), region("labels", {**points, "labels": ["dent"]}))
    flat = [6, 4, 30, 4, 30, 20]
    np.testing.assert_array_equal(mask, coco_mask.decode(coco_mask.frPyObjects([flat], HEIGHT, WIDTH)[0]))


def test_choices_and_relations_are_ignored_and_said(write: Write) -> None:
    source = source_of(
        write(
            task(
                "/data/upload/1/a.jpg",
                annotation(
                    SQUARE,
                    region("choices", {"points": [[1, 2], [3, 4]], "choices": ["unsure"]}),
                    {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"},
                ),
            )
        )
    )
    assert masks(source)["a"].sum() == 100
    assert "2 result(s) that are no shapes, such as choices, were ignored" in source.notes


@pytest.mark.parametrize(
    ("reference", "file"),
    [
        ("/data/upload/1/3fa85f64-a.jpg", "3fa85f64-a.jpg"),
        ("/data/upload/1/3fa85f64-a.jpg", "a.jpg"),
        ("/data/upload/1/3fa85f64-my%20picture.jpg", "my picture.jpg"),
        ("/data/local-files/?d=belt/deep/a.jpg", "a.jpg"),
        ("/data/local-files/?d=belt%5Cdeep%5Ca.jpg", "a.jpg"),
        ("s3://bucket/belt/a.jpg", "a.jpg"),
        ("https://example.org/belt/a.jpg?token=abc", "deep/a.jpg"),
        ("a.jpg", "a.jpg"),
    ],
)
def test_images_are_found_by_their_name(write: Write, reference: str, file: str) -> None:
    source = source_of(write(task(reference, annotation(SQUARE)), pictures=(file,)))
    assert source.problems == []
    assert [pair.image.name for pair in source.pairs] == [Path(file).name]


def test_of_several_images_of_a_name_the_folders_decide(write: Write) -> None:
    folder = write(
        task("/data/local-files/?d=root/left/a.jpg", annotation(SQUARE), id=1),
        task("/data/local-files/?d=root/right/a.jpg", annotation(SQUARE), id=2),
        task("/data/local-files/?d=root/middle/a.jpg", annotation(SQUARE), id=3),
        pictures=("left/a.jpg", "right/a.jpg"),
    )
    source = source_of(folder)
    assert [pair.image.parent.name for pair in source.pairs] == ["left", "right"]
    assert [pair.stem for pair in source.pairs] == ["images_left_a", "images_right_a"]
    assert source.problems == [
        f"{folder / 'project-1-at-2024-01-31.json'}, task 3: {folder} has 2 images 'a.jpg', not one; rename them"
    ]


def test_an_image_may_have_another_key(write: Write) -> None:
    entry = task("x", annotation(SQUARE), data={"photo": "/data/upload/1/a.jpg", "part": "lid", "number": 7})
    assert [pair.stem for pair in source_of(write(entry)).pairs] == ["a"]


def test_the_ground_truth_or_the_annotation_changed_last_is_taken(write: Write) -> None:
    other = polygon("dent", [[30, 20], [40, 20], [40, 30], [30, 30]])
    early, late = {"updated_at": "2024-01-01T00:00:00Z"}, {"updated_at": "2024-03-01T00:00:00Z"}
    folder = write(
        task("a.jpg", annotation(other, **late), annotation(SQUARE, **early)),
        task("b.jpg", annotation(other, **late), annotation(SQUARE, **early, ground_truth=True)),
        task("c.jpg", annotation(other, **late, was_cancelled=True), annotation(SQUARE, **early)),
        task("d.jpg", annotation(SQUARE, was_cancelled=True)),
        task("e.jpg"),
        task("f.jpg", annotation()),
        pictures=tuple(f"{letter}.jpg" for letter in "abcdef"),
    )
    source = source_of(folder)
    assert source.class_names == ("background", "dent", "scratch")
    assert {stem: int(mask.max()) for stem, mask in masks(source).items()} == {"a": 1, "b": 2, "c": 2, "f": 0}
    notes = "; ".join(source.notes)
    assert "2 task(s) have more than one annotation; the ground truth was taken, else the one changed last" in notes
    assert "2 task(s) without a submitted annotation were left out" in notes
    assert "1 image(s) whose annotation has no shape are all background" in notes
    assert "2 image(s) are in no task with an annotation and were left out" in notes


def record(image: str, **more: Any) -> dict[str, Any]:
    """A record of JSON-MIN, as label-studio-converter writes it."""
    return {
        "image": image,
        "id": 5,
        "annotator": 1,
        "annotation_id": 9,
        "created_at": "2024-01-01T00:00:00Z",
        "updated_at": "2024-01-01T00:00:00Z",
        "lead_time": 3.5,
        **more,
    }


def test_json_min_is_read_too(write: Write) -> None:
    size = {"original_width": WIDTH, "original_height": HEIGHT}
    square = {**SQUARE["value"], **size}
    bits = np.zeros((HEIGHT, WIDTH), np.uint8)
    bits[30:35, 40:50] = 1
    stroke = {"format": "rle", "rle": encoded(bits), "brushlabels": ["dent"], **size}
    unsure = {"points": [[1, 2], [3, 4]], "choices": ["unsure", "blurred"], **size}
    folder = write(
        record(
            "/data/upload/1/3fa85f64-a.jpg", poly=[square], brush=[stroke], q="good", sure=[unsure], tags=[{"x": 1}]
        ),
        record("/data/upload/1/3fa85f64-a.jpg", poly=[square], updated_at="2023-01-01T00:00:00Z", annotation_id=10),
        record("/data/upload/1/b.jpg", id=6),
        pictures=("a.jpg", "b.jpg"),
    )
    source = source_of(folder)
    assert source.problems == []
    expected = bits.copy()
    expected[5:15, 10:20] = 2
    np.testing.assert_array_equal(masks(source)["a"], expected)
    assert not masks(source)["b"].any()
    assert any("1 task(s) have more than one annotation" in note for note in source.notes)


def test_the_importer_takes_it_all_and_leaves_the_source_alone(write: Write, hashes: Hashes) -> None:
    folder = write(task("/data/upload/1/a.jpg", annotation(SQUARE)))
    before = hashes(folder)
    assert loaded(imported(folder, **NO_SPLIT))["a"][1].sum() == 100
    assert hashes(folder) == before


EMPTY_RLE = encoded(np.zeros((HEIGHT, WIDTH), np.uint8))
BAD_REGIONS = {
    "its polygonlabels is None; it must be one label": region("polygonlabels", {"points": [[1, 2], [3, 4], [5, 6]]}),
    "its polygonlabels is ['a', 'b']; it must be one label": region(
        "polygonlabels", {"points": [[1, 2], [3, 4], [5, 6]], "polygonlabels": ["a", "b"]}
    ),
    "the label is 3;": polygon(3, [[1, 2], [3, 4], [5, 6]]),  # type: ignore[arg-type]
    "its polygon is None; it must be one label": region("polygon", {"points": [[1, 2], [3, 4], [5, 6]]}, id="alone"),
    "it has no area": region("keypointlabels", {"x": 1, "y": 2, "width": 0.5, "keypointlabels": ["dent"]}),
    "it is of an unknown type": region("cuboidlabels", {"cuboidlabels": ["dent"]}),
    "(None): it is of an unknown type": region(None, {}),  # type: ignore[arg-type]
    "(['brush']): it is of an unknown type": region(["brush"], {}),  # type: ignore[arg-type]
    "the points are None": region("polygonlabels", {"points": None, "polygonlabels": ["dent"]}),
    "the polygon has 2 point(s)": polygon("dent", [[1, 2], [3, 4]]),
    "the polygon has the point (90, 4) outside": polygon("dent", [[1, 2], [90, 4], [5, 6]]),
    "x is None; it must be a number": region("rectanglelabels", {"rectanglelabels": ["dent"]}),
    "width is 'w'": region("rectanglelabels", {"x": 1, "y": 2, "width": "w", "rectanglelabels": ["dent"]}),
    "rotation is 'r'": box("dent", 1, 2, 3, 4, "r"),  # type: ignore[arg-type]
    "the box has the point (70, 6)": box("dent", 1, 2, 69, 4),
    "the box has the sizes and rotation -3, 4, 5": box("dent", 1, 2, -3, 4, 5),
    "radiusY is None": region("ellipselabels", {"x": 1, "y": 2, "radiusX": 3, "ellipselabels": ["dent"]}),
    "the brush's rle has 0 byte(s)": brush("dent", "0,1"),
    "the brush's rle has 2 byte(s)": brush("dent", [0, 1]),
    "its rle is [0, 256]": brush("dent", [0, 256]),
    "its rle is [0, 'x']": brush("dent", [0, "x"]),
    "the brush's rle has 96 values but the image of 60x40 has 9600": brush("dent", CROSS_RLE),
    "the mask is no sound PNG": region("bitmasklabels", {"imageDataURL": "data:,xyz", "bitmasklabels": ["dent"]}),
    "the mask is 7; it must be a PNG": region("bitmasklabels", {"imageDataURL": 7, "bitmasklabels": ["dent"]}),
    "the annotation is for an image of 50x40 but": polygon("dent", [[1, 2], [3, 4], [5, 6]], original_width=50),
    "image_rotation is 90; turn the image file": polygon("dent", [[1, 2], [3, 4], [5, 6]], image_rotation=90),
}


@pytest.mark.parametrize("message", BAD_REGIONS)
def test_a_bad_region_is_named_by_its_place(write: Write, message: str) -> None:
    folder = write(
        task("good.jpg", annotation(SQUARE), id=1),
        task("bad.jpg", annotation(SQUARE, BAD_REGIONS[message]), id=2),
        pictures=("good.jpg", "bad.jpg"),
    )
    source = source_of(folder)
    assert [pair.stem for pair in source.pairs] == ["good"]
    (problem,) = source.problems
    assert problem.startswith(f"{folder / 'project-1-at-2024-01-31.json'}, task 2, region 2 (")
    assert message in problem
    assert len(problem) < 400


@pytest.mark.parametrize("cut", [len(EMPTY_RLE) - 3, 7])
def test_a_brush_that_ends_early_is_found_when_it_is_decoded(write: Write, cut: int) -> None:
    source = source_of(write(task("a.jpg", annotation(brush("dent", EMPTY_RLE[:cut])))))
    with pytest.raises(DataError, match=r"\.json, task 68501: the brush's rle ends before its last value; export it"):
        source.pairs[0].load_mask()


BAD_TASKS = {
    "task 2 is 7, not an object": 7,
    "task 2: annotations is 'x'; it must be a list of objects": task("b.jpg", annotations="x"),
    "task 2: annotations is [3]; it must be a list of objects": task("b.jpg", 3),
    "task 2: result is None; it must be a list of objects": task("b.jpg", annotation(result=None)),
    "task 2: result is [5]; it must be a list of objects": task("b.jpg", annotation(5)),
    "task 2 names 0 images; it must name one": task("b.jpg", annotation(SQUARE), data=None),
    "task 2 names 2 images": task("b.jpg", annotation(SQUARE), data={"one": "a.jpg", "two": "b.jpg"}),
    "task 2: the image 'http://[b.jpg' is no address": task("http://[b.jpg", annotation(SQUARE)),
    "has 0 images 'gone.jpg', not one; put it there": task("/data/upload/1/gone.jpg", annotation(SQUARE)),
    "has 0 images 'secret.jpg'": task("/data/local-files/?d=../../secret.jpg", annotation(SQUARE)),
    "has 0 images '', not one": task("", annotation(SQUARE)),
    "names the file 'images/link.jpg', which lies outside": task("link.jpg", annotation(SQUARE)),
    "text.jpg": task("text.jpg", annotation(SQUARE)),
    "task 2 annotates {images}/good.jpg, as {json}, task 1 does; remove one of them": task(
        "good.jpg", annotation(SQUARE)
    ),
    "task 2 has regions on 2 images": task("a.jpg", annotation(SQUARE, SQUARE | {"to_name": "other"})),
}


@pytest.mark.parametrize("message", BAD_TASKS)
def test_a_bad_task_is_named(
    write: Write, message: str, put: Callable[..., Path], noise: Callable[..., np.ndarray]
) -> None:
    entry = BAD_TASKS[message]
    entry = entry | {"id": 2} if isinstance(entry, dict) else entry
    folder = write(task("good.jpg", annotation(SQUARE), id=1), entry, pictures=("good.jpg", "a.jpg"))
    (folder / "images" / "link.jpg").symlink_to(put("elsewhere.jpg", noise(0, HEIGHT, WIDTH, 3)))
    (folder / "images" / "text.jpg").write_text("no picture")
    (folder.parent / "secret.jpg").write_bytes((folder / "images" / "a.jpg").read_bytes())
    source = source_of(folder)
    assert [pair.stem for pair in source.pairs] == ["good"]
    (problem,) = source.problems
    json_file = folder / "project-1-at-2024-01-31.json"
    assert problem.startswith(str(json_file))
    assert message.format(images=folder / "images", json=json_file) in problem


def test_a_label_that_is_not_listed_is_refused(write: Write) -> None:
    folder = write(
        task("a.jpg", annotation(SQUARE)),
        task("b.jpg", annotation(polygon("bent", [[1, 2], [3, 4], [5, 6]]))),
        pictures=("a.jpg", "b.jpg"),
    )
    (folder / "classes.txt").write_text("scratch\n")
    (problem,) = source_of(folder).problems
    assert (
        "region 1 ('polygonlabels'): its label 'bent' is not in classes.txt; add it there, or correct it" in problem
    )


@pytest.mark.parametrize(
    "text",
    [
        '[{"annotations": [{"result": []',
        '[{"annotations": [{"result": ' + "[" * 100_000,
        '[{"annotations": [{"result": 1' + "0" * 5000 + "}]}]",
    ],
)
def test_an_export_that_is_no_json_is_refused(write: Write, text: str) -> None:
    folder = write(pictures=("a.jpg",))
    (folder / "project-1-at-2024-01-31.json").write_text(text)
    with pytest.raises(DataError, match=r"project-1-at-2024-01-31\.json (is|cannot)"):
        source_of(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"images": [], "annotations": [], "categories": []}',
        '[{"image_id": 1, "category_id": 1, "segmentation": {"size": [1, 1], "counts": "0"}, "score": 0.5}]',
        '{"version": "5.0", "shapes": []}',
    ],
)
def test_other_json_files_are_not_recognised(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    assert not label_studio.recognises(tmp_path)
    assert not label_studio.recognises(tmp_path / "nowhere")
    with pytest.raises(DataError, match="has no JSON file of Label Studio's; export the project as JSON"):
        label_studio.read(tmp_path, DataConfig(source=tmp_path))
