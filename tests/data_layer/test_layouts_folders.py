"""Plain folders: which files belong together, how their masks are read, and every line about the others."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imported import NO_SPLIT, imported, loaded
from isdm.config import DataConfig
from isdm.data.instances import read_instances
from isdm.data.layouts import read_source
from isdm.data.layouts.source import Source, image_files
from isdm.errors import DataError
from rawfiles import write_png16

Put = Callable[..., Path]
Noise = Callable[..., np.ndarray]
MASK = np.eye(8) * 255


@pytest.fixture
def pair(put: Put, noise: Noise) -> Callable[..., None]:
    """Save an image, and its mask."""

    def save(name: str, mask: Any = MASK, folder: str = "source", ending: str = "") -> None:
        put(f"{folder}/images/{name}.png", noise(0))
        put(f"{folder}/masks/{name}{ending}.png", mask)

    return save


def read(folder: Path, **options: Any) -> Source:
    name, source = read_source(DataConfig(source=folder, **options))
    assert name == "folders"
    return source


def stems(source: Source) -> list[str]:
    return [one.stem for one in source.pairs]


# What belongs together


@pytest.mark.parametrize("ending", ["", "_mask", "-mask", "_label", "_gt", "_seg", "_segmentation"])
def test_masks_may_have_an_ending(pair: Callable[..., None], tmp_path: Path, ending: str) -> None:
    pair("a", ending=ending)
    pair("deep/b", ending=ending)
    source = read(tmp_path / "source")
    assert (stems(source), source.problems) == (["a", "deep_b"], [])


def test_a_mask_without_an_image_is_named(pair: Callable[..., None], put: Put, tmp_path: Path) -> None:
    pair("a")
    put("source/masks/b_mask.png", MASK)
    source = read(tmp_path / "source")
    assert stems(source) == ["a"]
    mask = tmp_path / "source/masks/b_mask.png"
    assert source.problems == [f"{mask} has no image; expected one that is called 'b_mask', or remove it"]


def test_two_masks_of_one_image_are_named(pair: Callable[..., None], put: Put, tmp_path: Path) -> None:
    pair("a")
    pair("b")
    put("source/masks/b.bmp", MASK)
    source = read(tmp_path / "source")
    assert stems(source) == ["a"]
    assert len(source.problems) == 1
    assert "masks/b.bmp and " in source.problems[0]
    assert "masks/b.png both belong to the image 'b'; keep one of them" in source.problems[0]


def test_a_mask_with_an_ending_beside_one_without_is_named(
    pair: Callable[..., None], put: Put, tmp_path: Path
) -> None:
    pair("a")
    put("source/masks/a_mask.png", MASK)
    source = read(tmp_path / "source")
    assert stems(source) == ["a"]
    assert "a_mask.png has no image" in source.problems[0]


def test_numpy_masks_belong_to_their_images(put: Put, noise: Noise, tmp_path: Path) -> None:
    put("source/images/a.png", noise(0))
    (tmp_path / "source/masks").mkdir()
    planes = np.arange(8)[None, :, None] == np.array([1, 3, 5]) + np.zeros((8, 1, 1))
    np.save(tmp_path / "source/masks/a.npy", planes)
    dataset = imported(tmp_path / "source", **NO_SPLIT)
    assert loaded(dataset)["a"][1][0].tolist() == [0, 1, 0, 2, 0, 3, 0, 0]


# Readings


def test_the_reading_and_the_threshold_are_passed_on(pair: Callable[..., None], tmp_path: Path) -> None:
    values = np.arange(64).reshape(8, 8)
    pair("a", values)
    source = read(tmp_path / "source", masks="binary", mask_threshold=40)
    np.testing.assert_array_equal(source.pairs[0].load_mask(), values > 40)
    assert source.notes[0].startswith("mask values above 40 are foreground (23 of 64 pixels")
    assert len(read(tmp_path / "source", masks="ids").class_names) == 64


def test_a_table_of_colours_names_them(pair: Callable[..., None], tmp_path: Path) -> None:
    colours = np.zeros((8, 8, 3))
    colours[2:4], colours[5:] = (0, 0, 200), (200, 0, 0)
    pair("a", colours)
    (tmp_path / "source/classes.txt").write_text("belt #000000\nmould #c80000\nstain #0000c8\n")
    source = read(tmp_path / "source")
    assert source.class_names == ("belt", "mould", "stain")
    assert source.colours == ((0, 0, 0), (200, 0, 0), (0, 0, 200))
    assert source.pairs[0].load_mask()[:, 0].tolist() == [0, 0, 2, 2, 0, 1, 1, 1]


def test_masks_of_objects_are_instance_maps_too(put: Put, noise: Noise, tmp_path: Path) -> None:
    values = np.zeros((8, 8), np.uint16)
    values[1:3], values[3:6] = 300, 40_000
    put("source/images/a.png", noise(0))
    write_png16(tmp_path / "source/masks/a.png", values[:, :, None])
    dataset = imported(tmp_path / "source", masks="instances", **NO_SPLIT)
    pair = dataset.pairs("train")[0]
    np.testing.assert_array_equal(dataset.load(pair)[1], values > 0)
    assert pair.instances is not None
    np.testing.assert_array_equal(read_instances(pair.instances), values)
    assert "their numbers are instance maps" in " ".join(dataset.info.source["notes"])


def test_a_folder_of_instance_maps_comes_before_the_masks_numbers(
    pair: Callable[..., None], put: Put, tmp_path: Path
) -> None:
    pair("a", np.eye(8) * 3)
    put("source/instances/a.png", np.eye(8) * 9)
    source = read(tmp_path / "source", masks="instances")
    assert source.pairs[0].instances == tmp_path / "source/instances/a.png"
    assert source.notes[1] == "instance maps come from instances/"


@pytest.fixture
def transparent(put: Put, noise: Noise, tmp_path: Path) -> Path:
    """Two images whose transparency shows a disc and a square."""
    for index in range(2):
        alpha = np.zeros((8, 8))
        alpha[index : index + 3, 2:6] = 255
        put(f"source/images/{index}.png", np.dstack([noise(index), alpha]))
    return tmp_path / "source"


def test_the_images_own_transparency_is_the_mask_when_asked(transparent: Path, noise: Noise) -> None:
    dataset = imported(transparent, masks="alpha", **NO_SPLIT)
    for stem, (image, mask) in loaded(dataset).items():
        np.testing.assert_array_equal(image, noise(int(stem)), "colours under what is transparent are kept")
        assert np.flatnonzero(mask.any(axis=1)).tolist() == [int(stem) + row for row in range(3)]
    notes = " ".join(dataset.info.source["notes"])
    assert "alpha values above 127 are foreground (24 of 128 pixels, 18.75%" in notes
    assert "2 images are transparent, such as 0.png: transparency was left out" in notes


def test_and_only_when_asked(transparent: Path) -> None:
    with pytest.raises(
        DataError, match=r"needs a folder images/ and beside it masks/ .* need --masks alpha, and another"
    ):
        imported(transparent)


def test_masks_come_before_the_images_own_transparency(transparent: Path, put: Put) -> None:
    for index in range(2):
        put(f"source/masks/{index}.png", np.dstack([np.zeros((8, 8, 3)), MASK]))
    source = read(transparent, masks="alpha")
    np.testing.assert_array_equal(source.pairs[0].load_mask(), np.eye(8))


# Lines about what cannot be used


def test_a_bad_mask_is_named_and_its_pair_left_out_but_its_image_still_opened(
    pair: Callable[..., None], tmp_path: Path
) -> None:
    for name in "abc":
        pair(name)
    (tmp_path / "source/masks/a.png").write_bytes(b"GIF89a")
    (tmp_path / "source/masks/b.png").write_bytes(b"")
    (tmp_path / "source/images/b.png").write_bytes(b"%PDF-1.7")
    source = read(tmp_path / "source")
    assert stems(source) == ["c"]
    expected = [
        "masks/a.png cannot be read as an image (it is a GIF file",
        "masks/b.png cannot be read as an image (it is empty",
        "images/b.png cannot be read as an image (it is a PDF file",
    ]
    assert len(source.problems) == 3
    for line, text in zip(source.problems, expected, strict=True):
        assert text in line


def test_an_image_without_a_mask_is_opened_all_the_same(
    pair: Callable[..., None], put: Put, noise: Noise, tmp_path: Path
) -> None:
    pair("a")
    put("source/images/sound.png", noise(1))
    (tmp_path / "source/images/broken.png").write_bytes(b"")
    source = read(tmp_path / "source")
    assert [line.partition(" ")[0].rpartition("/")[2] for line in source.problems] == [
        "broken.png",
        "sound.png",
        "broken.png",
    ]
    assert "broken.png cannot be read as an image (it is empty" in source.problems[2]


def test_a_missing_rule_is_told_with_everything_else(
    pair: Callable[..., None], put: Put, noise: Noise, tmp_path: Path
) -> None:
    pair("a", noise(1, 32, 32, 3))
    put("source/images/b.png", noise(0))
    with pytest.raises(DataError) as caught:
        read(tmp_path / "source")
    assert str(caught.value).startswith("2 problem(s) in the source; nothing was written:\n  The masks in ")
    assert "images/b.png has no mask" in str(caught.value)


def test_links_that_lead_nowhere_or_out_of_the_source_are_named(
    pair: Callable[..., None], put: Put, noise: Noise, tmp_path: Path
) -> None:
    for name in "abcd":
        pair(name)
    outside = put("elsewhere/picture.png", noise(0))
    images, masks = tmp_path / "source/images", tmp_path / "source/masks"
    for path, target in (
        (images / "a.png", outside),
        (images / "b.png", Path("../../elsewhere/picture.png")),
        (masks / "c.png", Path("nothing.png")),
    ):
        path.unlink()
        path.symlink_to(target)
    (images / "e.png").symlink_to("d.png")
    (masks / "e.png").symlink_to(masks / "d.png")
    (images / "loop.png").symlink_to("loop.png")
    (images / "more").symlink_to(outside.parent)
    os.mkfifo(images / "pipe.png")
    source = read(tmp_path / "source")
    assert stems(source) == ["d", "e"]
    text = "\n".join(source.problems)
    for line in (
        f"images/a.png is a link to {outside}, which lies outside {tmp_path / 'source'}; put the file itself there",
        f"images/b.png is a link to {outside}, which lies outside {tmp_path / 'source'}; put the file itself there",
        "masks/c.png is a link to nothing.png, which is missing; restore it, or remove the link",
        "images/loop.png cannot be followed",
        "images/more is a link to a folder, which is not followed; put the folder itself there",
        "images/pipe.png is no file; remove it, or give it another extension",
        "images/c.png has no mask",
    ):
        assert line in text


def test_a_source_that_is_itself_reached_by_a_link_is_fine(pair: Callable[..., None], tmp_path: Path) -> None:
    pair("a")
    (tmp_path / "link").symlink_to("source")
    (tmp_path / "source/images/b.png").symlink_to("a.png")
    (tmp_path / "source/masks/b.png").symlink_to("a.png")
    assert stems(read(tmp_path / "link")) == ["a", "b"]


def test_a_folder_that_leads_out_of_the_source_is_refused(pair: Callable[..., None], tmp_path: Path) -> None:
    pair("a")
    (tmp_path / "source/masks").rename(tmp_path / "masks")
    (tmp_path / "source/masks").symlink_to("../masks")
    with pytest.raises(DataError, match=r"source/masks is a link to .*/masks, which lies outside .*/source; put"):
        read(tmp_path / "source", layout="folders")


def test_folders_that_cannot_be_listed_are_named(
    pair: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair("a")
    pair("shut/b")
    pair("c")
    real = os.scandir

    def guarded(path: Any) -> Any:
        if str(path).endswith("images/shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", guarded)
    shut = tmp_path / "source/images/shut"
    source = read(tmp_path / "source")
    assert stems(source) == ["a", "c"]
    assert f"{shut} cannot be listed (Permission denied); give yourself the right" in source.problems
    with pytest.raises(DataError, match=r"images/shut cannot be listed \(Permission denied\)"):
        image_files(tmp_path / "source/images")


def test_a_folder_called_like_an_image_is_a_folder(pair: Callable[..., None], tmp_path: Path) -> None:
    pair("a.png/b")
    assert stems(read(tmp_path / "source")) == ["a.png_b"]


def test_hidden_files_are_left_out(pair: Callable[..., None], put: Put, tmp_path: Path) -> None:
    pair("a")
    for name in ("images/.b.png", "masks/.cache/c.png", "images/.cache/c.png"):
        put(f"source/{name}", MASK)
    source = read(tmp_path / "source")
    assert (stems(source), source.problems) == (["a"], [])


def test_links_to_nothing_are_given_to_other_layouts(put: Put, tmp_path: Path) -> None:
    put("a.png", MASK)
    (tmp_path / "b.png").symlink_to("nothing")
    (tmp_path / "c.png").mkdir()
    put("c.png/d.tif", Image.new("L", (2, 2)))
    put("c.png-e/f.tif", Image.new("L", (2, 2)))
    assert [path.relative_to(tmp_path).as_posix() for path in image_files(tmp_path)] == [
        "a.png",
        "b.png",
        "c.png/d.tif",
        "c.png-e/f.tif",
    ], "folder by folder, though - comes before / in the table of letters"
    assert not image_files(tmp_path / "nowhere")


def test_turned_images_and_masks_agree_in_size(put: Put, noise: Noise, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture, mask = noise(0, 6, 9, 3), np.zeros((6, 9))
    mask[:2, :3] = 255
    put("source/images/a.png", np.rot90(picture), exif=exif)
    put("source/masks/a.png", mask)
    put("source/images/b.png", np.rot90(picture), exif=exif)
    put("source/masks/b.png", np.rot90(mask), exif=exif)
    dataset = imported(tmp_path / "source", **NO_SPLIT)
    for image, ids in loaded(dataset).values():
        np.testing.assert_array_equal(image, picture)
        np.testing.assert_array_equal(ids, mask > 0)
    assert "2 images were stored turned, such as a.png" in " ".join(dataset.info.source["notes"])


@pytest.mark.parametrize(("images", "masks"), [("images", "masks"), ("img_dir", "ann_dir"), ("Images", "Labels")])
def test_split_folders_below_images_and_masks_are_splits(
    put: Put, noise: Noise, tmp_path: Path, images: str, masks: str
) -> None:
    for seed, (split, name) in enumerate([("train", "a"), ("train", "b"), ("val", "a"), ("test", "x/c")]):
        put(f"source/{images}/{split}/{name}.png", noise(seed))
        put(f"source/{masks}/{split}/{name}.png", np.eye(8) * 255)
    pairs = read_source(DataConfig(source=tmp_path / "source"))[1].pairs
    found = sorted((pair.split or "", pair.stem) for pair in pairs)
    assert found == [("test", "x_c"), ("train", "b"), ("train", "train_a"), ("validation", "validation_a")]
