"""Importing plain folders: kinds of images and masks, sizes, choosing and joining classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imported import NO_SPLIT, Noise, Put, imported, loaded, names
from isdm.config import DataConfig, build
from isdm.data.dataset import SegmentationDataset
from isdm.data.importing import import_dataset
from isdm.errors import ConfigError


def test_masks_of_0_and_1(put: Put, noise: Noise, tmp_path: Path) -> None:
    put("source/images/a.png", noise(0))
    put("source/masks/a.png", np.eye(8))
    dataset = imported(tmp_path / "source", **NO_SPLIT)
    assert names(dataset) == ["background", "foreground"]
    np.testing.assert_array_equal(loaded(dataset)["a"][1], np.eye(8))


def test_ids_with_ignored_pixels(put: Put, noise: Noise, tmp_path: Path) -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[0], mask[1], mask[2] = 1, 2, 255
    put("source/images/a.png", noise(0))
    put("source/masks/a.png", mask)
    dataset = imported(tmp_path / "source", **NO_SPLIT)
    assert names(dataset) == ["background", "class_1", "class_2"]
    np.testing.assert_array_equal(loaded(dataset)["a"][1], mask)


def test_anti_aliased_masks_are_cut_in_the_middle(put: Put, noise: Noise, tmp_path: Path) -> None:
    put("source/images/a.png", noise(0, 16, 16, 3))
    put("source/masks/a.png", np.arange(256).reshape(16, 16))
    dataset = imported(tmp_path / "source", **NO_SPLIT)
    mask = loaded(dataset)["a"][1]
    assert (mask[:8] == 0).all()
    assert (mask[8:] == 1).all()
    assert "above 127" in dataset.info.source["notes"][0]


def test_colour_masks_keep_their_colours(put: Put, noise: Noise, tmp_path: Path) -> None:
    colours = np.zeros((8, 8, 3), np.uint8)
    colours[:4], colours[6:] = (200, 0, 0), (0, 0, 90)
    put("source/images/a.png", noise(0))
    put("source/masks/a.png", colours)
    dataset = imported(tmp_path / "source", **NO_SPLIT)
    assert [entry.colour for entry in dataset.info.classes] == [(0, 0, 0), (0, 0, 90), (200, 0, 0)]
    with Image.open(dataset.pairs("train")[0].mask) as written:
        np.testing.assert_array_equal(np.asarray(written.convert("RGB")), colours)


def test_palette_masks_give_their_indices(put: Put, noise: Noise, tmp_path: Path) -> None:
    indices = np.arange(64, dtype=np.uint8).reshape(8, 8) % 3
    picture = Image.fromarray(indices)
    picture.putpalette([255, 255, 255, 1, 2, 3, 255, 0, 0])
    put("source/images/a.png", noise(0))
    put("source/masks/a.png", picture)
    np.testing.assert_array_equal(loaded(imported(tmp_path / "source", **NO_SPLIT))["a"][1], indices)


def test_declared_classes_name_the_ids(put: Put, noise: Noise, tmp_path: Path) -> None:
    put("source/images/a.png", noise(0))
    put("source/masks/a.png", np.eye(8) * 2)
    (tmp_path / "source" / "classes.txt").write_text("belt\nmould\n\nblemish \n")
    dataset = imported(tmp_path / "source", **NO_SPLIT)
    assert names(dataset) == ["belt", "mould", "blemish"]
    np.testing.assert_array_equal(loaded(dataset)["a"][1], np.eye(8) * 2)


def test_jpeg_png_grey_and_transparent_images_go_together(put: Put, tmp_path: Path) -> None:
    flat = np.full((8, 8, 3), (200, 100, 50), np.uint8)
    put("source/images/jpeg.JPG", flat, quality=95)
    put("source/images/png.png", flat)
    put("source/images/grey.png", flat[:, :, 0])
    put("source/images/transparent.png", np.dstack([flat, np.full((8, 8), 7)]))
    for stem in ("jpeg", "png", "grey", "transparent"):
        put(f"source/masks/{stem}.png", np.eye(8) * 255)
    images = {stem: image for stem, (image, _) in loaded(imported(tmp_path / "source", **NO_SPLIT)).items()}
    for stem in ("png", "transparent"):
        np.testing.assert_array_equal(images[stem], flat)
    np.testing.assert_allclose(images["jpeg"], flat, atol=3)
    assert (images["grey"] == 200).all()


def test_images_without_colour_are_kept_with_one_channel(put: Put, noise: Noise, tmp_path: Path) -> None:
    grey = noise(0, 8, 8)
    put("source/images/a.png", np.dstack([grey] * 3))
    put("source/images/b.png", grey)
    for stem in "ab":
        put(f"source/masks/{stem}.png", np.eye(8) * 255)
    dataset = imported(tmp_path / "source", **NO_SPLIT)
    assert dataset.info.channels == 1
    np.testing.assert_array_equal(loaded(dataset)["a"][0][:, :, 0], grey)


def test_a_photograph_is_turned_as_its_camera_says(put: Put, tmp_path: Path) -> None:
    """Orientation 6: the stored rows are the picture's columns, from right to left."""
    upright = np.zeros((16, 8, 3), np.uint8)
    upright[:8] = 250
    exif = Image.Exif()
    exif[0x0112] = 6
    put("source/images/a.jpg", np.rot90(upright), quality=100, exif=exif)
    mask = np.zeros((16, 8))
    mask[:8] = 255
    put("source/masks/a.png", mask)
    image, read_mask = loaded(imported(tmp_path / "source", **NO_SPLIT))["a"]
    assert image.shape[:2] == read_mask.shape == (16, 8)
    np.testing.assert_array_equal(image[:, :, 0] > 127, read_mask == 1)


@pytest.mark.parametrize(
    ("fit", "expected_mask_column"),
    [("stretch", [1, 1, 0, 0]), ("crop", [1, 1, 0, 0]), ("pad", [255, 1, 0, 255])],
)
def test_sizes(put: Put, noise: Noise, tmp_path: Path, fit: str, expected_mask_column: list[int]) -> None:
    mask = np.zeros((8, 16))
    mask[:4] = 255
    put("source/images/a.png", noise(0, 8, 16, 3))
    put("source/masks/a.png", mask)
    image, fitted = loaded(imported(tmp_path / "source", size=4, fit=fit, **NO_SPLIT))["a"]
    assert image.shape == (4, 4, 3)
    assert fitted[:, 1].tolist() == expected_mask_column


def rows_of(dataset: SegmentationDataset) -> list[int]:
    return loaded(dataset)["a"][1][:, 0].tolist()


def test_classes_that_are_not_kept_become_background(four_classes: Path) -> None:
    dataset = imported(four_classes, classes=["stain", "mould"], **NO_SPLIT)
    assert names(dataset) == ["belt", "mould", "stain"]
    assert rows_of(dataset) == [0, 1, 0, 2, 255]


def test_classes_are_merged(four_classes: Path) -> None:
    dataset = imported(four_classes, merge={"defect": ["mould", "stain"]}, **NO_SPLIT)
    assert names(dataset) == ["belt", "defect", "blemish"]
    assert rows_of(dataset) == [0, 1, 2, 1, 255]


def test_classes_can_be_ignored(four_classes: Path) -> None:
    with pytest.raises(ConfigError, match=r"ignore: class 'mold' is unknown; the source has .*mould"):
        imported(four_classes, ignore=["mold"], **NO_SPLIT)
    dataset = imported(four_classes, ignore=["mould"], **NO_SPLIT)
    assert names(dataset) == ["belt", "blemish", "stain"]
    assert rows_of(dataset) == [0, 255, 1, 2, 255]
    assert any("pixels of mould are ignored" in note for note in dataset.info.source["notes"])


def test_the_name_for_what_nobody_knows_is_ignored_and_its_likes_are_told(four_classes: Path) -> None:
    (four_classes / "classes.txt").write_text("belt\n__ignore__\nVoid\nstain\n")
    dataset = imported(four_classes, **NO_SPLIT)
    assert names(dataset) == ["belt", "Void", "stain"]
    assert rows_of(dataset) == [0, 255, 1, 2, 255]
    told = " ".join(dataset.info.source["notes"])
    assert "pixels of __ignore__ are ignored" in told
    assert (
        "'Void' counts as a class to be found; if its pixels are of no known class, import again with --ignore Void"
        in told
    )


def test_merged_classes_can_be_kept_alone(four_classes: Path) -> None:
    dataset = imported(four_classes, merge={"defect": ["mould", "stain"]}, classes=["defect"], **NO_SPLIT)
    assert names(dataset) == ["belt", "defect"]
    assert rows_of(dataset) == [0, 1, 0, 1, 255]


@pytest.mark.parametrize("options", [{"classes": ["mold"]}, {"merge": {"defect": ["mold"]}}])
def test_an_unknown_class_lists_the_known_ones(four_classes: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="'mold' is unknown; the source has mould, blemish, stain"):
        imported(four_classes, **options)


def test_what_is_not_chosen_becomes_a_background_where_there_was_none(tmp_path: Path, put: Put, noise: Noise) -> None:
    """Cityscapes has no background: road is a class like the others, until others are left out."""
    for index in range(3):
        name = f"aachen/aachen_{index:06d}_000019"
        put(f"source/leftImg8bit/train/{name}_leftImg8bit.png", noise(index, 4, 4, 3))
        labels = np.array([7, 26, 24, 0])[:, None].repeat(4, axis=1)
        put(f"source/gtFine/train/{name}_gtFine_labelIds.png", labels)
    whole = imported(tmp_path / "source", **NO_SPLIT)
    assert not whole.info.has_background
    assert names(whole)[0] == "road"
    assert {tuple(mask[:, 0]) for _, mask in loaded(whole).values()} == {(0, 13, 11, 255)}
    options = build(DataConfig, {"source": tmp_path / "source", "classes": ["car", "road"], **NO_SPLIT})
    some = import_dataset(options, tmp_path / "some")
    assert some.info.has_background
    assert names(some) == ["background", "road", "car"]
    assert {tuple(mask[:, 0]) for _, mask in loaded(some).values()} == {(1, 2, 0, 255)}
