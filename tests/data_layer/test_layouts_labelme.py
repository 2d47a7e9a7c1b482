"""LabelMe's JSON files, written here as LabelMe writes them."""

import base64
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from imported import NO_SPLIT, Hashes, imported, loaded
from isdm.config import DataConfig
from isdm.data.layouts import read_source
from isdm.data.layouts.source import Source
from isdm.errors import DataError

HEIGHT, WIDTH = 40, 60
SQUARE = [[10.0, 5.0], [20.0, 5.0], [20.0, 15.0], [10.0, 15.0]]

Write = Callable[..., Path]


def shape(label: Any, points: Any, kind: str | None = "polygon", **more: Any) -> dict[str, Any]:
    return {
        "label": label,
        "points": points,
        "group_id": None,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": None,
        **more,
    }


def document(shapes: Any, image_path: Any, **more: Any) -> dict[str, Any]:
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
        **more,
    }


@pytest.fixture
def picture(put: Callable[..., Path], noise: Callable[..., np.ndarray]) -> Callable[[str], Path]:
    return lambda name: put(f"source/{name}", noise(len(name), HEIGHT, WIDTH, 3))


@pytest.fixture
def write(tmp_path: Path, picture: Callable[[str], Path]) -> Write:
    """Save an image and its JSON file beside it."""

    def save(stem: str, *shapes: Any, **more: Any) -> Path:
        picture(f"{stem}.jpg")
        path = tmp_path / "source" / f"{stem}.json"
        path.write_text(json.dumps(document(list(shapes), f"{Path(stem).name}.jpg") | more, indent=2))
        return path

    return save


def source_of(folder: Path) -> Source:
    layout, source = read_source(DataConfig(source=folder))
    assert layout == "labelme"
    return source


def masks(source: Source) -> dict[str, np.ndarray]:
    return {pair.stem: pair.load_mask() for pair in source.pairs}


def test_polygons_are_drawn_in_the_files_order(write: Write, tmp_path: Path) -> None:
    tilted = [[12.5, 3.25], [40.0, 9.0], [30.5, 33.0]]
    write(
        "a",
        shape("scratch", SQUARE),
        shape("dent", tilted),
        shape("_background_", [[0, 0], [15, 0], [15, 9], [0, 9]]),
    )
    write("b", shape("dent", tilted), shape("scratch", SQUARE, None))
    source = source_of(tmp_path / "source")
    assert source.class_names == ("background", "dent", "scratch")
    assert source.problems == []
    flat = [value for point in tilted for value in point]
    dent = coco_mask.decode(coco_mask.frPyObjects([flat], HEIGHT, WIDTH)[0]).astype(bool)
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[5:15, 10:20] = 2
    expected[dent] = 1
    expected[:9, :15] = 0
    np.testing.assert_array_equal(masks(source)["a"], expected)
    expected = dent.astype(np.uint8)
    expected[5:15, 10:20] = 2
    np.testing.assert_array_equal(masks(source)["b"], expected)
    assert any("later shapes lie over earlier ones" in note for note in source.notes)


def test_a_label_file_gives_the_order_and_ignored_shapes_are_255(write: Write, tmp_path: Path) -> None:
    write("a", shape("scratch", SQUARE), shape("__ignore__", [[30, 20], [40, 20], [40, 30], [30, 30]]))
    (tmp_path / "source" / "labels.txt").write_text("__ignore__\n_background_\nscratch\ndent\n")
    source = source_of(tmp_path / "source")
    assert source.class_names == ("background", "scratch", "dent")
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[5:15, 10:20] = 1
    expected[20:30, 30:40] = 255
    np.testing.assert_array_equal(masks(source)["a"], expected)
    assert "the order of labels.txt" in source.notes[0]


def as_labelme_draws(kind: str, points: list[list[float]]) -> np.ndarray:
    """LabelMe's own conversion: Pillow with lines of 10 pixels and points of radius 5."""
    picture = Image.new("1", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(picture)
    xy = [tuple(point) for point in points]
    if kind == "circle":
        radius = math.dist(*xy)
        pen.ellipse([xy[0][0] - radius, xy[0][1] - radius, xy[0][0] + radius, xy[0][1] + radius], fill=1, outline=1)
    elif kind == "rectangle":
        pen.rectangle(
            [min(x for x, _ in xy), min(y for _, y in xy), max(x for x, _ in xy), max(y for _, y in xy)], fill=1
        )
    elif kind in ("line", "linestrip"):
        pen.line(xy, fill=1, width=10)
    elif kind == "point":
        pen.ellipse([xy[0][0] - 5, xy[0][1] - 5, xy[0][0] + 5, xy[0][1] + 5], fill=1, outline=1)
    else:
        pen.polygon(xy, fill=1, outline=1)
    return np.asarray(picture)


@pytest.mark.parametrize(
    ("kind", "points", "note"),
    [
        ("rectangle", [[25, 30], [5, 10]], "1 rectangle(s) were filled"),
        ("rectangle", [[5, 10], [25, 10], [25, 30], [5, 30]], "1 rectangle(s) were filled"),
        ("oriented_rectangle", [[30, 5], [45, 15], [35, 30], [20, 20]], None),
        ("circle", [[30, 20], [42, 20]], None),
        ("circle", [[3, 4], [14, 4]], None),
        ("line", [[10, 10], [50, 30]], "1 line(s) were drawn 10 pixels wide"),
        ("linestrip", [[10, 10], [40, 10], [40, 30]], "1 line(s) were drawn 10 pixels wide"),
        ("point", [[20, 20]], "1 point shape(s) were drawn with a radius of 5 pixels"),
    ],
)
def test_other_shapes_are_about_what_labelme_draws(
    write: Write, tmp_path: Path, kind: str, points: list[list[float]], note: str | None
) -> None:
    """Pillow draws outlines too, so borders may differ by a pixel."""
    write("a", shape("dent", points, kind))
    source = source_of(tmp_path / "source")
    ours, theirs = masks(source)["a"] == 1, as_labelme_draws(kind, points)
    assert theirs.sum() > 80
    grown = np.zeros_like(theirs)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            grown |= np.roll(theirs, (down, right), (0, 1))
    more = ours & ~grown
    for x, y in points if kind.startswith("line") else ():  # our ends and joints are round
        more[max(y - 7, 0) : y + 7, max(x - 7, 0) : x + 7] = False
    assert not more.any()
    assert (ours & theirs).sum() >= 0.8 * theirs.sum()
    assert note is None or any(note in line for line in source.notes)


def test_several_points_are_a_disk_each(write: Write, tmp_path: Path) -> None:
    write("a", shape("dent", [[10, 10], [40, 30]], "points"))
    mask = masks(source_of(tmp_path / "source"))["a"]
    assert mask[10, 10] == mask[30, 40] == 1
    assert mask[20, 25] == 0, "nothing between them"
    assert mask.sum() == pytest.approx(2 * math.pi * 25, rel=0.1)


def png(values: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_a_mask_is_pasted_into_its_box(write: Write, tmp_path: Path, noise: Callable[..., np.ndarray]) -> None:
    bits = noise(1, 8, 12) > 128
    write("a", shape("dent", [[20.0, 10.0], [31.0, 17.0]], "mask", mask=png(bits)))
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[10:18, 20:32] = bits
    np.testing.assert_array_equal(masks(source_of(tmp_path / "source"))["a"], expected)


@pytest.mark.parametrize("image_path", ["..\\images\\a.jpg", "../images/a.jpg", "..\\images\\..\\images\\a.jpg"])
def test_json_files_may_lie_in_a_folder_of_their_own(
    picture: Callable[[str], Path], tmp_path: Path, image_path: str
) -> None:
    picture("images/a.jpg")
    (tmp_path / "source" / "annotations").mkdir()
    (tmp_path / "source/annotations/a.json").write_text(json.dumps(document([shape("dent", SQUARE)], image_path)))
    (pair,) = source_of(tmp_path / "source").pairs
    assert pair.image == tmp_path / "source" / "images" / "a.jpg"
    assert pair.mask == tmp_path / "source" / "annotations" / "a.json"


def test_split_folders_are_taken_over_and_stems_made_unique(write: Write, tmp_path: Path) -> None:
    for stem in ("train/a", "val/a", "test/a", "test/b"):
        write(stem, shape("dent", SQUARE))
    pairs = source_of(tmp_path / "source").pairs
    assert {(pair.split, pair.stem) for pair in pairs} == {
        ("train", "train_a"),
        ("validation", "val_a"),
        ("test", "test_a"),
        ("test", "b"),
    }


def test_unlabelled_images_are_left_out_and_files_without_shapes_are_background(
    write: Write, picture: Callable[[str], Path], tmp_path: Path
) -> None:
    write("a", shape("dent", SQUARE))
    write("sound")
    picture("b.jpg")
    picture("c.jpg")
    source = source_of(tmp_path / "source")
    assert {pair.stem for pair in source.pairs} == {"a", "sound"}
    assert not masks(source)["sound"].any()
    notes = "; ".join(source.notes)
    assert "2 image(s) have no JSON file, so may show anything, and were left out" in notes
    assert "1 image(s) whose JSON file has no shape are all background" in notes
    assert source.problems == []


def test_the_importer_takes_it_all_and_leaves_the_source_alone(write: Write, tmp_path: Path, hashes: Hashes) -> None:
    write("a", shape("scratch", SQUARE))
    write("b", shape("dent", SQUARE))
    before = hashes(tmp_path / "source")
    pairs = loaded(imported(tmp_path / "source", **NO_SPLIT))
    assert {stem: int(mask.max()) for stem, (_, mask) in pairs.items()} == {"a": 2, "b": 1}
    assert hashes(tmp_path / "source") == before


def test_a_turned_photograph_is_annotated_as_it_is_shown(write: Write, tmp_path: Path) -> None:
    """LabelMe turns photographs as their EXIF data say before it shows them."""
    path = write("a", shape("dent", [[2, 30], [12, 30], [12, 50], [2, 50]]), imageHeight=WIDTH, imageWidth=HEIGHT)
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(path.with_suffix(".jpg")) as picture:
        picture.copy().save(path.with_suffix(".jpg"), exif=exif)
    image, mask = loaded(imported(tmp_path / "source", **NO_SPLIT))["a"]
    assert image.shape[:2] == mask.shape == (WIDTH, HEIGHT)
    expected = np.zeros((WIDTH, HEIGHT), np.uint8)
    expected[30:50, 2:12] = 1
    np.testing.assert_array_equal(mask, expected)


def test_a_renamed_image_is_found_by_its_json_files_name(write: Write, tmp_path: Path) -> None:
    write("a", shape("dent", SQUARE), imagePath="IMG_0001.JPG")
    source = source_of(tmp_path / "source")
    assert [pair.image.name for pair in source.pairs] == ["a.jpg"]
    assert any("1 image(s) are not where imagePath says" in note for note in source.notes)


BAD_SHAPES = {
    "it is 7, not an object with label and points": 7,
    "the label is None; it must be one line of text": shape(None, SQUARE),
    "the label is 3;": shape(3, SQUARE),
    "the label is '\\ud800'": shape("\ud800", SQUARE),
    "the label is ' '": shape(" ", SQUARE),
    "the points are None; they must be pairs [x, y]": shape("dent", None),
    "the points are [[1, 2, 3]]": shape("dent", [[1, 2, 3]]),
    "the coordinate is '1'; it must be a number": shape("dent", [["1", 2], [3, 4], [5, 6]]),
    "the coordinate is nan": shape("dent", [[math.nan, 2], [3, 4], [5, 6]]),
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
    "imagePath '' leads out of": {"imagePath": ""},
    "imagePath '../../secret.jpg' leads out of": {"imagePath": "../../secret.jpg"},
    "imagePath '..\\\\..\\\\secret.jpg' leads out of": {"imagePath": "..\\..\\secret.jpg"},
    "imagePath '/etc/hosts' leads out of": {"imagePath": "/etc/hosts"},
    "imagePath 'C:\\\\pictures\\\\bad.jpg' leads out of": {"imagePath": "C:\\pictures\\bad.jpg"},
    "imagePath 'a\\x00.jpg' leads out of": {"imagePath": "a\0.jpg"},
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


@pytest.mark.parametrize("name", ["x" * 5000 + ".jpg", "\ud800.jpg"])
def test_a_name_that_no_file_can_have_is_refused(write: Write, tmp_path: Path, name: str) -> None:
    write("good", shape("dent", SQUARE))
    path = write("bad", shape("dent", SQUARE), imagePath=name)
    path.with_suffix(".jpg").unlink()
    (problem,) = source_of(tmp_path / "source").problems
    assert problem.startswith(f"{path}: ")


@pytest.mark.parametrize("text", ["{", '{"shapes": [' + "[" * 100_000, '{"shapes": 1' + "0" * 5000 + "}", "\xff"])
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


def test_too_many_classes_are_refused(write: Write, tmp_path: Path) -> None:
    write("a", *(shape(f"class {index}", SQUARE) for index in range(255)))
    with pytest.raises(DataError, match="has 255 classes beside the background"):
        source_of(tmp_path / "source")
    write("a", *(shape(f"class {index}", SQUARE) for index in range(254)))
    assert len(source_of(tmp_path / "source").class_names) == 255


@pytest.mark.parametrize("text", ['{"images": [], "annotations": []}', "[]", "", '{"imgHeight": 1, "objects": []}'])
def test_other_json_files_are_not_recognised(tmp_path: Path, text: str) -> None:
    from isdm.data.layouts import labelme

    (tmp_path / "a.json").write_text(text)
    assert not labelme.recognises(tmp_path)
    assert not labelme.recognises(tmp_path / "nowhere")
