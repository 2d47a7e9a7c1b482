"""Label Studio's exports as JSON and JSON-MIN: what becomes of each kind of region, and which images are paired."""

import base64
import io
import math
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from imported import NO_SPLIT, Hashes, imported, loaded
from isdm.data.label_studio_rle import brush_pixels
from label_studio_trees import (
    CROSS,
    CROSS_RLE,
    EXPORT,
    HEIGHT,
    SQUARE,
    WIDTH,
    Write,
    annotation,
    box,
    brush,
    encoded,
    masks,
    polygon,
    region,
    save_tasks,
    source_of,
    task,
)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return partial(save_tasks, tmp_path / "source")


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
    assert source.problems == [f"{folder / EXPORT}, task 3: {folder} has 2 images 'a.jpg', not one; rename them"]


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


def test_regions_do_not_stay_in_memory(write: Write) -> None:
    corners = [[10 + 20 * (i % 2), 5 + i / 100] for i in range(500)]
    count = 200
    tasks = (task(f"{i}.jpg", annotation(polygon("scratch", corners))) for i in range(count))
    folder = write(*tasks, pictures=("0.jpg",))
    for i in range(1, count):
        (folder / "images" / f"{i}.jpg").hardlink_to(folder / "images" / "0.jpg")
    tracemalloc.start()
    source = source_of(folder)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert source.pairs[0].load_mask().any()
    assert len(source.pairs) == count
    size = (folder / EXPORT).stat().st_size
    assert held < size / 5
    assert peak < 3 * size


def test_the_importer_takes_it_all_and_leaves_the_source_alone(write: Write, hashes: Hashes) -> None:
    folder = write(task("/data/upload/1/a.jpg", annotation(SQUARE)))
    before = hashes(folder)
    assert loaded(imported(folder, **NO_SPLIT))["a"][1].sum() == 100
    assert hashes(folder) == before
