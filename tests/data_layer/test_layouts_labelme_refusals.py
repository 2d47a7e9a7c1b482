"""LabelMe's JSON files with mistakes: each is named by file, shape, value, rule and remedy."""

import base64
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from isdm.data.layouts import labelme
from isdm.errors import DataError
from labelme_trees import HEIGHT, SQUARE, WIDTH, Write, png, save_annotated, shape, source_of


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return partial(save_annotated, tmp_path / "source")


BAD_SHAPES = {
    "it is 7, not an object with label and points": 7,
    "the label is None; it must be one line of text": shape(None, SQUARE),
    "the label is 3;": shape(3, SQUARE),
    "the label is ' '": shape(" ", SQUARE),
    "the points are None; they must be pairs [x, y]": shape("dent", None),
    "the points are [[1, 2, 3]]": shape("dent", [[1, 2, 3]]),
    "the coordinate is '1'; it must be a number": shape("dent", [["1", 2], [3, 4], [5, 6]]),
    "the coordinate is True": shape("dent", [[True, 2], [3, 4], [5, 6]]),
    "the coordinate is 1000000": shape("dent", [[10**400, 2], [3, 4], [5, 6]]),
    "the polygon has 2 point(s)": shape("dent", [[1, 2], [3, 4]]),
    "the polygon has the point (62, 4) outside the image of 60x40": shape("dent", [[1, 2], [62, 4], [5, 6]]),
    "its shape_type 'cuboid' is unknown": shape("dent", SQUARE, "cuboid"),
    "its shape_type ['polygon'] is unknown": shape("dent", SQUARE, ["polygon"]),  # type: ignore[arg-type]
    "the rectangle has 3 point(s); it needs two": shape("dent", SQUARE[:3], "rectangle"),
    "the box has the point (70, 15)": shape("dent", [[10, 5], [70, 15]], "rectangle"),
    "the circle has the radius 0": shape("dent", [[10, 5], [10, 5]], "circle"),
    "the circle's centre has the point (90, 5)": shape("dent", [[90, 5], [10, 5]], "circle"),
    "the line has 1 point(s), too few": shape("dent", [[10, 5]], "line"),
    "the point has 0 point(s), too few": shape("dent", [], "point"),
    "the linestrip has the point (10, -5)": shape("dent", [[10, 5], [10, -5]], "linestrip"),
    "the mask is None; it must be a PNG in base64": shape("dent", [[10, 5], [20, 15]], "mask"),
    "the mask is no sound PNG in base64": shape("dent", [[10, 5], [20, 15]], "mask", mask="aGVsbG8="),
    "the mask is 5x4 but its points span 11x11": shape(
        "dent", [[10, 5], [20, 15]], "mask", mask=png(np.ones((4, 5)))
    ),
    "the mask's box of 50x4 at (20, 5) does not lie in the image": shape(
        "dent", [[20, 5], [59, 8]], "mask", mask=png(np.ones((4, 50)))
    ),
}


@pytest.mark.parametrize("message", BAD_SHAPES)
def test_a_bad_shape_is_named_by_its_place(write: Write, tmp_path: Path, message: str) -> None:
    write("good", shape("dent", SQUARE))
    write("bad", shape("dent", SQUARE), BAD_SHAPES[message])
    source = source_of(tmp_path / "source")
    assert [pair.stem for pair in source.pairs] == ["good"]
    (problem,) = source.problems
    assert f"{tmp_path / 'source' / 'bad.json'}, shape 2: " in problem
    assert message in problem
    assert len(problem) < 400


def test_every_bad_shape_of_a_file_is_named(write: Write, tmp_path: Path) -> None:
    write("good", shape("dent", SQUARE))
    write("bad", shape(3, SQUARE), shape("dent", []), shape("dent", SQUARE, "cuboid"))
    problems = source_of(tmp_path / "source").problems
    assert [problem.split(": ")[0].rpartition(", ")[2] for problem in problems] == ["shape 1", "shape 2", "shape 3"]


def test_a_damaged_bitmap_is_found_when_it_is_decoded(write: Write, tmp_path: Path) -> None:
    content = bytearray(base64.b64decode(png(np.ones((11, 11)))))
    content[-25:-12] = bytes(13)
    text = base64.b64encode(content).decode()
    write("bad", shape("dent", [[10, 5], [20, 15]], "mask", mask=text))
    source = source_of(tmp_path / "source")
    with pytest.raises(DataError, match=r"bad\.json: the mask is no sound PNG"):
        source.pairs[0].load_mask()


BAD_FILES = {
    "shapes is None; it must be a list": {"shapes": None},
    "shapes is {'a': 1}; it must be a list": {"shapes": {"a": 1}},
    "imagePath is None; it must name the image": {"imagePath": None},
    "imagePath is ['a.jpg']": {"imagePath": ["a.jpg"]},
    "the annotation is for an image of 50x40 but": {"imageWidth": 50},
    "the annotation is for an image of 60x'40' but": {"imageHeight": "40"},
}


@pytest.mark.parametrize("message", BAD_FILES)
def test_a_bad_file_is_named(write: Write, tmp_path: Path, message: str) -> None:
    write("good", shape("dent", SQUARE))
    write("bad", shape("dent", SQUARE), **BAD_FILES[message])
    source = source_of(tmp_path / "source")
    assert [pair.stem for pair in source.pairs] == ["good"]
    (problem,) = source.problems
    assert problem.startswith(f"{tmp_path / 'source' / 'bad.json'}: ")
    assert message in problem


NAMES_THAT_LEAD_OUT = {
    "imagePath '' leads out of": "",
    "imagePath '../../secret.jpg' leads out of": "../../secret.jpg",
    "imagePath '..\\\\..\\\\secret.jpg' leads out of": "..\\..\\secret.jpg",
    "imagePath '/etc/hosts' leads out of": "/etc/hosts",
    "imagePath 'C:\\\\pictures\\\\bad.jpg' leads out of": "C:\\pictures\\bad.jpg",
    "imagePath 'a\\x00.jpg' leads out of": "a\0.jpg",
}


@pytest.mark.parametrize("message", NAMES_THAT_LEAD_OUT)
def test_a_path_that_leads_out_is_refused_where_nothing_is_beside(
    write: Write, tmp_path: Path, put: Callable[..., Path], message: str
) -> None:
    put("secret.jpg", np.zeros((HEIGHT, WIDTH)))
    write("in/good", shape("dent", SQUARE))
    path = write("in/bad", shape("dent", SQUARE), imagePath=NAMES_THAT_LEAD_OUT[message])
    path.with_suffix(".jpg").unlink()
    source = source_of(tmp_path / "source")
    assert [pair.stem for pair in source.pairs] == ["good"]
    (problem,) = source.problems
    assert problem.startswith(f"{path}: ")
    assert message in problem


@pytest.mark.parametrize("name", ["x" * 5000 + ".jpg", "a/" * 3000 + ".jpg"])
def test_a_name_that_no_file_can_have_is_refused(write: Write, tmp_path: Path, name: str) -> None:
    write("good", shape("dent", SQUARE))
    path = write("bad", shape("dent", SQUARE), imagePath=name)
    path.with_suffix(".jpg").unlink()
    (problem,) = source_of(tmp_path / "source").problems
    assert problem.startswith(f"{path}: ")


NO_JSON = (
    "{",
    '{"imagePath": "\\ud800.jpg"}',
    '{"points": [NaN]}',
    '{"shapes": [' + "[" * 100_000,
    '{"shapes": 1' + "0" * 5000 + "}",
    "\xff",
)


@pytest.mark.parametrize("text", NO_JSON)
def test_a_file_that_is_no_json_is_named(write: Write, tmp_path: Path, text: str) -> None:
    write("good", shape("dent", SQUARE))
    (tmp_path / "source" / "bad.json").write_bytes(text.encode("latin-1"))
    source = source_of(tmp_path / "source")
    assert [pair.stem for pair in source.pairs] == ["good"]
    (problem,) = source.problems
    assert problem.startswith(f"{tmp_path / 'source' / 'bad.json'} ")


def test_json_files_of_others_are_left_out_and_said(write: Write, tmp_path: Path) -> None:
    write("good", shape("dent", SQUARE))
    (tmp_path / "source" / "zoo.json").write_text('{"classes": 3}')
    (tmp_path / "source" / "list.json").write_text("[]")
    source = source_of(tmp_path / "source")
    assert source.problems == []
    assert any("2 JSON file(s) that are not LabelMe's were left out: list.json, zoo.json" in n for n in source.notes)


def test_a_link_that_leads_out_of_the_source_is_refused(
    write: Write, tmp_path: Path, put: Callable[..., Path], noise: Callable[..., np.ndarray]
) -> None:
    write("good", shape("dent", SQUARE))
    path = write("bad", shape("dent", SQUARE))
    path.with_suffix(".jpg").unlink()
    path.with_suffix(".jpg").symlink_to(put("elsewhere.jpg", noise(0, HEIGHT, WIDTH, 3)))
    (problem,) = source_of(tmp_path / "source").problems
    assert "imagePath 'bad.jpg' leads out of" in problem


def test_a_missing_image_names_the_remedy(write: Write, tmp_path: Path) -> None:
    write("good", shape("dent", SQUARE))
    write("bad", shape("dent", SQUARE)).with_suffix(".jpg").unlink()
    write("embedded", shape("dent", SQUARE), imageData="aGVsbG8=").with_suffix(".jpg").unlink()
    problems = source_of(tmp_path / "source").problems
    assert "bad.jpg does not exist; put it there" in problems[0]
    assert "embedded.jpg does not exist; the JSON file holds a copy in imageData: save that there" in problems[1]


def test_two_files_for_one_image_are_refused(write: Write, tmp_path: Path) -> None:
    write("a", shape("dent", SQUARE))
    write("b", shape("dent", SQUARE), imagePath="a.jpg")
    source = source_of(tmp_path / "source")
    assert [pair.stem for pair in source.pairs] == ["a"]
    (problem,) = source.problems
    assert "b.json annotates" in problem
    assert "a.json does; keep one of them" in problem


def test_a_label_that_is_not_listed_is_refused(write: Write, tmp_path: Path) -> None:
    write("a", shape("dent", SQUARE))
    write("b", shape("bent", SQUARE))
    (tmp_path / "source" / "classes.txt").write_text("dent\n")
    (problem,) = source_of(tmp_path / "source").problems
    assert "b.json, shape 1: its label 'bent' is not in classes.txt; add it there, or correct it" in problem


def test_a_tree_without_any_shape_is_refused(write: Write, tmp_path: Path) -> None:
    write("a")
    with pytest.raises(DataError, match=r"has 0 classes beside the background; from 1 to 254"):
        source_of(tmp_path / "source")


def test_where_no_file_is_sound_all_problems_are_told(write: Write, tmp_path: Path) -> None:
    for stem in "abc":
        write(stem, shape("dent", SQUARE)).with_suffix(".jpg").unlink()
    with pytest.raises(DataError, match="no usable label beside the background; mend these 3 problem") as caught:
        source_of(tmp_path / "source")
    assert [line.partition(": ")[0].strip() for line in str(caught.value).splitlines()[1:]] == [
        str(tmp_path / "source" / f"{stem}.json") for stem in "abc"
    ]
    assert "0 classes" not in str(caught.value)


def test_too_many_classes_are_refused(write: Write, tmp_path: Path) -> None:
    write("a", *(shape(f"class {index}", SQUARE) for index in range(255)))
    with pytest.raises(DataError, match="has 255 classes beside the background"):
        source_of(tmp_path / "source")
    write("a", *(shape(f"class {index}", SQUARE) for index in range(254)))
    assert len(source_of(tmp_path / "source").class_names) == 255


@pytest.mark.parametrize("text", ['{"images": [], "annotations": []}', "[]", "", '{"imgHeight": 1, "objects": []}'])
def test_other_json_files_are_not_recognised(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    assert not labelme.recognises(tmp_path)
    assert not labelme.recognises(tmp_path / "nowhere")
