"""LabelMe's JSON files: what becomes of each kind of shape, and which images are paired."""

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from imported import NO_SPLIT, Hashes, imported, loaded
from labelme_trees import (
    HEIGHT,
    SQUARE,
    WIDTH,
    Write,
    document,
    masks,
    png,
    save_annotated,
    save_picture,
    shape,
    source_of,
)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return partial(save_annotated, tmp_path / "source")


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


def test_a_mask_is_pasted_into_its_box(write: Write, tmp_path: Path, noise: Callable[..., np.ndarray]) -> None:
    bits = noise(1, 8, 12) > 128
    write("a", shape("dent", [[20.0, 10.0], [31.0, 17.0]], "mask", mask=png(bits)))
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[10:18, 20:32] = bits
    np.testing.assert_array_equal(masks(source_of(tmp_path / "source"))["a"], expected)


@pytest.mark.parametrize("image_path", ["..\\images\\a.jpg", "../images/a.jpg", "..\\images\\..\\images\\a.jpg"])
def test_json_files_may_lie_in_a_folder_of_their_own(tmp_path: Path, image_path: str) -> None:
    save_picture(tmp_path / "source" / "images/a.jpg")
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


def test_unlabelled_images_are_left_out_and_files_without_shapes_are_background(write: Write, tmp_path: Path) -> None:
    write("a", shape("dent", SQUARE))
    write("sound")
    save_picture(tmp_path / "source" / "b.jpg")
    save_picture(tmp_path / "source" / "c.jpg")
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


@pytest.mark.parametrize("folder", ["..\\imgs\\", "../../imgs/", "C:\\Users\\me\\", "/home/me/", "moved/"])
def test_an_image_whose_path_leads_elsewhere_is_found_beside_its_json_file(
    write: Write, tmp_path: Path, put: Callable[..., Path], folder: str
) -> None:
    put("imgs/IMG_0001.jpg", np.zeros((HEIGHT, WIDTH)))
    write("in/a", shape("dent", SQUARE), imagePath=f"{folder}a.jpg")
    save_picture(tmp_path / "source" / "in" / "IMG_0001.jpg")
    write("in/b", shape("dent", SQUARE), imagePath=f"{folder}IMG_0001.jpg").with_suffix(".jpg").unlink()
    source = source_of(tmp_path / "source")
    assert source.problems == []
    assert [pair.image for pair in source.pairs] == [
        tmp_path / "source" / "in" / name for name in ("a.jpg", "IMG_0001.jpg")
    ]
    assert "2 image(s) are not where imagePath says but beside the JSON file that names them" in source.notes


def test_an_absolute_path_into_a_relative_source_is_followed(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("a", shape("dent", SQUARE), imagePath=str(tmp_path / "source" / "a.jpg"))
    monkeypatch.chdir(tmp_path)
    (pair,) = source_of(Path("source")).pairs
    assert pair.image == Path("source/a.jpg")
    assert pair.load_mask().sum() == 100
