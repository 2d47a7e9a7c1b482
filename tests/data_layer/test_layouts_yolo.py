"""Outlines in YOLO's text form, in the trees of Ultralytics, Roboflow and Label Studio."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools import mask as coco_mask

from imported import NO_SPLIT, Hashes, imported, loaded
from isdm.config import DataConfig
from isdm.data.layouts import read_source, yolo
from isdm.data.layouts.source import Source
from isdm.errors import DataError

HEIGHT, WIDTH = 40, 60
ULTRALYTICS = {"path": "", "train": "images/train", "val": "images/val", "names": {0: "dent", 1: "scratch"}}

Write = Callable[..., Path]


def line(class_index: int, *points: tuple[float, float]) -> str:
    """A line of an outline given in pixels."""
    return " ".join([str(class_index), *(f"{x / WIDTH:.8f} {y / HEIGHT:.8f}" for x, y in points)])


SQUARE = line(1, (10, 5), (20, 5), (20, 15), (10, 15))


@pytest.fixture
def write(tmp_path: Path, put: Callable[..., Path], noise: Callable[..., np.ndarray]) -> Write:
    """Save pictures and label files, by the pictures' paths (the text is None for no label file), and data.yaml."""

    def save(texts: dict[str, str | None], settings: object = None) -> Path:
        for index, (name, text) in enumerate(texts.items()):
            picture = put(f"source/{name}", noise(index, HEIGHT, WIDTH, 3))
            parts = [*picture.relative_to(tmp_path).with_suffix(".txt").parts]
            places = [place for place, part in enumerate(parts) if part == "images"]
            if places:
                parts[places[-1]] = "labels"
            labels = tmp_path.joinpath(*parts)
            labels.parent.mkdir(parents=True, exist_ok=True)
            if text is not None:
                labels.write_text(text)
        if settings is not None:
            text = settings if isinstance(settings, str) else yaml.safe_dump(settings)
            (tmp_path / "source" / "data.yaml").write_text(text)
        return tmp_path / "source"

    return save


def source_of(folder: Path) -> Source:
    layout, source = read_source(DataConfig(source=folder))
    assert layout == "yolo"
    return source


def masks(source: Source) -> dict[str, np.ndarray]:
    return {pair.stem: pair.load_mask() for pair in source.pairs}


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


def test_a_path_that_leads_out_of_the_source_is_refused(
    write: Write, tmp_path: Path, put: Callable[..., Path]
) -> None:
    put("elsewhere/pictures/x.jpg", np.zeros((HEIGHT, WIDTH)))
    texts = {"images/train/a.jpg": SQUARE}
    folder = write(texts, {"train": "images/train", "val": "../elsewhere/pictures", "names": ["dent", "scratch"]})
    source = source_of(folder)
    assert [pair.stem for pair in source.pairs] == ["a"]
    assert source.problems == [
        f"{folder / 'data.yaml'}: the path '../elsewhere/pictures' (validation) is not in {folder}; put it there"
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


def test_names_may_have_gaps_and_numbers(write: Write) -> None:
    source = source_of(write({"images/train/a.jpg": line(7, (0, 0), (60, 0), (60, 40))}, {"names": {3: "a", 7: 12}}))
    assert source.class_names == ("background", "a", "12")
    assert masks(source)["a"].max() == 2


def test_trees_of_others_are_not_recognised(tmp_path: Path, fruit_source: Path) -> None:
    (fruit_source / "classes.txt").write_text("belt\nfruit\n")
    assert not yolo.recognises(fruit_source)
    (fruit_source / "data.yaml").write_text("names: [a]\n")
    assert not yolo.recognises(fruit_source)
    assert not yolo.recognises(tmp_path / "nowhere")
