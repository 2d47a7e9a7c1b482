"""YOLO's trees with mistakes: each is named by file, line, value, rule and remedy."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from isdm.config import DataConfig
from isdm.data.layouts import yolo
from isdm.errors import DataError
from yolo_trees import HEIGHT, SQUARE, WIDTH, Write, save_outlined, source_of


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return partial(save_outlined, tmp_path / "source")


def test_a_path_that_leads_out_of_the_source_is_not_followed(
    write: Write, tmp_path: Path, put: Callable[..., Path]
) -> None:
    put("elsewhere/pictures/x.jpg", np.zeros((HEIGHT, WIDTH)))
    outside = "../elsewhere/pictures"
    texts = {"images/train/a.jpg": SQUARE}
    folder = write(texts, {"train": "images/train", "val": outside, "names": ["dent", "scratch"]})
    source = source_of(folder)
    assert [pair.stem for pair in source.pairs] == ["a"]
    assert f"there is no validation split: data.yaml names '{outside}', which is not in the source" in source.notes
    source = source_of(write(texts, {"train": outside, "val": "images/train", "names": ["dent", "scratch"]}))
    assert source.problems == [
        f"{folder / 'data.yaml'}: the path '{outside}' (train) is not in {folder}; put it there"
    ]


def test_a_part_of_a_split_that_is_not_there_is_named(write: Write) -> None:
    settings = {"train": "images/train", "val": ["images/val", "images/more"], "names": ["dent", "scratch"]}
    folder = write({"images/train/a.jpg": SQUARE, "images/val/b.jpg": SQUARE}, settings)
    assert source_of(folder).problems == [
        f"{folder / 'data.yaml'}: the path 'images/more' (validation) is not in {folder}; put it there"
    ]


def test_lines_of_a_list_that_lead_out_are_refused(write: Write, tmp_path: Path, put: Callable[..., Path]) -> None:
    outside = put("secret.jpg", np.zeros((HEIGHT, WIDTH)))
    folder = write({"images/a.jpg": SQUARE}, {"train": "train.txt", "names": ["dent", "scratch"]})
    (folder / "train.txt").write_text(
        f"images/a.jpg\n../secret.jpg\n{outside}\nimages/gone.jpg\ntrain.txt\n{'x' * 5000}\n"
    )
    source = source_of(folder)
    assert [pair.stem for pair in source.pairs] == ["a"]
    assert [problem.partition(": ")[0] for problem in source.problems] == [
        f"{folder / 'train.txt'}, line {number}" for number in (2, 3, 4, 5, 6)
    ]
    assert all("is no image in" in problem for problem in source.problems)


def test_links_that_lead_out_of_the_source_are_refused(
    write: Write, put: Callable[..., Path], tmp_path: Path
) -> None:
    texts = {"images/train/a.jpg": SQUARE, "images/train/b.jpg": None}
    folder = write(texts, {"train": "images/train", "names": ["dent", "scratch"]})
    (folder / "images/train/link.jpg").symlink_to(put("secret.jpg", np.zeros((HEIGHT, WIDTH))))
    (tmp_path / "secret.txt").write_text(SQUARE)
    (folder / "labels/train/b.txt").symlink_to(tmp_path / "secret.txt")
    source = source_of(folder)
    assert [pair.stem for pair in source.pairs] == ["a"]
    assert len(source.problems) == 2
    assert "names the file 'images/train/link.jpg', which lies outside" in source.problems[0]
    assert "names the file 'labels/train/b.txt', which lies outside" in source.problems[1]


BAD_LINES = {
    "its 5 values are a box, which is no mask; label outlines (segmentation)": "0 0.5 0.5 0.2 0.2",
    "it has 6 values; an outline is a class and pairs x y": "0 0.5 0.5 0.2 0.2 0.9",
    "it has 8 values; an outline": "0 0.1 0.1 0.2 0.2 0.3 0.1 0.5",
    "it has 3 values; an outline": "0 0.1 0.1",
    "it has 1 values; an outline": "0",
    "its class is '2'; known are 0, 1: correct it": "2 0.1 0.1 0.2 0.2 0.3 0.1",
    "its class is '-1'": "-1 0.1 0.1 0.2 0.2 0.3 0.1",
    "its class is '0.5'": "0.5 0.1 0.1 0.2 0.2 0.3 0.1",
    "it holds 'dent', which is no number": "dent 0.1 0.1 0.2 0.2 0.3 0.1",
    "it holds 'nan', which is no number": "0 0.1 nan 0.2 0.2 0.3 0.1",
    "it holds '1e999', which is no number": "0 0.1 1e999 0.2 0.2 0.3 0.1",
    "its coordinate 1.05 is not between 0 and 1": "0 0.1 0.1 1.05 0.2 0.3 0.1",
    "its coordinate -0.1 is not between 0 and 1": "0 0.1 0.1 0.2 -0.1 0.3 0.1",
    "its coordinate 10 is not between 0 and 1": "0 10 10 20 10 30 30",
}


@pytest.mark.parametrize("message", BAD_LINES)
def test_a_bad_line_is_named_by_its_number(write: Write, message: str) -> None:
    texts = {"images/train/good.jpg": SQUARE, "images/train/bad.jpg": f"{SQUARE}\n\n{BAD_LINES[message]}\n"}
    folder = write(texts, {"train": "images/train", "names": ["dent", "scratch"]})
    source = source_of(folder)
    assert [pair.stem for pair in source.pairs] == ["good"]
    (problem,) = source.problems
    assert problem.startswith(f"{folder / 'labels' / 'train' / 'bad.txt'}, line 3: ")
    assert message in problem


def test_every_bad_line_is_named_and_a_rounded_coordinate_is_not(write: Write) -> None:
    texts = {
        "images/train/good.jpg": "1.0 -0.001 0 1.005 0 1 1.001",
        "images/train/bad.jpg": "0 0.5 0.5 0.2 0.2\n" * 3,
    }
    source = source_of(write(texts, {"train": "images/train", "names": ["dent", "scratch"]}))
    assert [pair.stem for pair in source.pairs] == ["good"]
    assert [problem.partition(": ")[0].rpartition(", ")[2] for problem in source.problems] == [
        "line 1",
        "line 2",
        "line 3",
    ]


def test_other_bad_files_are_named(write: Write) -> None:
    texts = {
        "images/train/good.jpg": SQUARE,
        "images/train/latin.jpg": None,
        "images/train/text.jpg": SQUARE,
        "images/train/twin.jpg": SQUARE,
        "images/train/twin.png": SQUARE,
        "images/train/gone.jpg": SQUARE,
    }
    folder = write(texts, {"train": "images/train", "names": ["dent", "scratch"]})
    (folder / "labels/train/latin.txt").write_bytes(b"\xff\xfe")
    (folder / "images/train/text.jpg").write_text("no picture")
    (folder / "images/train/gone.jpg").unlink()
    (folder / "labels/train/classes.txt").write_text("dent\nscratch\n")  # some tools put it there
    source = source_of(folder)
    assert {pair.stem for pair in source.pairs} == {"good", "twin"}
    problems = "\n".join(source.problems)
    assert len(source.problems) == 4
    assert "latin.txt is not UTF-8 text" in problems
    assert "text.jpg" in problems
    assert "twin.png shares " in problems
    assert "gone.txt has no image of its name; put the image back, or remove it" in problems


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("names: [dent", "cannot be read as YAML"),
        ("names: !!python/object:os.system {}", "cannot be read as YAML"),
        ("names: !!timestamp x", "cannot be read as YAML"),
        ("names: " + "[" * 3000, "cannot be read as YAML"),
        ("names:\n", "names is None; it must be a list"),
        ("names: dent", "names is 'dent'; it must be a list"),
        ("names: []", "names is []"),
        ("names: {a: dent}", "names is {'a': 'dent'}"),
        ("names: [[dent]]", "it must be a list"),
        ("names: [dent, '']", "the label is ''"),
        ("names: [dent, dent]", "names the class 'dent' twice"),
        ("names: [background]", "has 0 classes beside the background"),
        ("names: [dent]\nnc: 2", "nc is 2 but names has 1; they must agree"),
        ("names: [dent]\ntrain: {a: b}", "train is {'a': 'b'}; it must be a folder"),
        ("names: [dent]\nval: [3]", "val is [3]; it must be a folder"),
    ],
)
def test_a_bad_data_yaml_is_refused(write: Write, settings: str, message: str) -> None:
    folder = write({"images/train/a.jpg": SQUARE}, settings)
    with pytest.raises(DataError) as caught:
        yolo.read(folder, DataConfig(source=folder))
    assert str(caught.value).startswith(str(folder / "data.yaml"))
    assert message in str(caught.value)


def test_too_many_classes_are_refused(write: Write) -> None:
    folder = write({"images/train/a.jpg": SQUARE}, {"names": [f"class {index}" for index in range(255)]})
    with pytest.raises(DataError, match="has 255 classes beside the background; from 1 to 254 can be used"):
        source_of(folder)


def test_without_any_names_the_remedy_is_told(write: Write) -> None:
    folder = write({"images/train/a.jpg": SQUARE})
    assert not yolo.recognises(folder)
    with pytest.raises(DataError, match=r"needs data\.yaml with `names`, or classes\.txt"):
        yolo.read(folder, DataConfig(source=folder))


def test_trees_of_others_are_not_recognised(tmp_path: Path, fruit_source: Path) -> None:
    (fruit_source / "classes.txt").write_text("belt\nfruit\n")
    assert not yolo.recognises(fruit_source)
    (fruit_source / "data.yaml").write_text("names: [a]\n")
    assert not yolo.recognises(fruit_source)
    assert not yolo.recognises(tmp_path / "nowhere")
