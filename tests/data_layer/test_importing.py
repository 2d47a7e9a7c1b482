"""Importing plain folders: what comes out, and what happens to a source with mistakes."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from isdm.config import DataConfig, build
from isdm.data.checking import check_dataset
from isdm.data.dataset import SPLITS, SegmentationDataset
from isdm.data.importing import import_dataset
from isdm.errors import ConfigError, DataError, OutputError

Put = Callable[..., Path]
Noise = Callable[..., np.ndarray]
Hashes = Callable[[Path], dict[str, str]]
NO_SPLIT = {"test": 0, "validation": 0}


def imported(source: Path, **options: Any) -> SegmentationDataset:
    """Import into `out` beside the source."""
    return import_dataset(build(DataConfig, {"source": source} | options), source.parent / "out")


def names(dataset: SegmentationDataset) -> list[str]:
    return [entry.name for entry in dataset.info.classes]


def loaded(dataset: SegmentationDataset) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Every pair by its stem."""
    return {pair.stem: dataset.load(pair) for split in SPLITS for pair in dataset.pairs(split)}


def groups_by_split(dataset: SegmentationDataset) -> dict[str, set[str]]:
    return {split: {pair.group for pair in dataset.pairs(split)} for split in dataset.splits}


def test_every_pair_comes_out_as_it_went_in(fruit_source: Path) -> None:
    pairs = loaded(imported(fruit_source))
    assert len(pairs) == 15
    for stem, (image, mask) in pairs.items():
        np.testing.assert_array_equal(image, np.asarray(Image.open(fruit_source / "images" / f"{stem}.png")))
        original = np.asarray(Image.open(fruit_source / "masks" / f"{stem}.png"))
        np.testing.assert_array_equal(mask, original // 255)


def test_the_dataset_says_where_it_comes_from_and_how_masks_were_read(fruit_source: Path) -> None:
    info = imported(fruit_source, test=3, validation=2, seed=7).info
    assert (info.name, info.channels) == ("out", 3)
    assert [entry.name for entry in info.classes] == ["background", "foreground"]
    assert info.source == {
        "layout": "folders",
        "folder": "source",
        "notes": ["mask value 0 is background, 255 is foreground"],
    }
    assert info.split == {"by": "group", "seed": 7, "train": 10, "validation": 2, "test": 3}


def test_the_source_is_never_modified(fruit_source: Path, hashes: Hashes) -> None:
    before = hashes(fruit_source)
    imported(fruit_source, size=4)
    assert hashes(fruit_source) == before


def test_nothing_but_the_dataset_appears_and_it_is_sound(fruit_source: Path) -> None:
    dataset = imported(fruit_source)
    assert {path.name for path in fruit_source.parent.iterdir()} == {"source", "out"}
    assert check_dataset(SegmentationDataset(dataset.folder)) == 15


def test_importing_twice_changes_nothing(fruit_source: Path, hashes: Hashes) -> None:
    folder = imported(fruit_source).folder
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    contents = hashes(folder)
    assert len(loaded(imported(fruit_source))) == 15
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert hashes(folder) == contents


def test_a_moved_source_is_still_the_same_import(fruit_source: Path) -> None:
    imported(fruit_source)
    moved = fruit_source.rename(fruit_source.with_name("moved"))
    assert len(loaded(imported(moved))) == 15


def test_the_seed_decides_the_split(fruit_source: Path) -> None:
    def test_stems(seed: int) -> list[str]:
        out = fruit_source.parent / f"seed{seed}"
        config = build(DataConfig, {"source": fruit_source, "seed": seed})
        return [pair.stem for pair in import_dataset(config, out).pairs("test")]

    assert len({tuple(test_stems(seed)) for seed in range(4)}) > 1


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


@pytest.mark.parametrize("text", ["belt\n", "belt\nmould\nbelt\n"])
def test_a_useless_classes_file_is_refused(fruit_source: Path, text: str) -> None:
    (fruit_source / "classes.txt").write_text(text)
    with pytest.raises(DataError, match=r"classes\.txt must name at least two different classes"):
        imported(fruit_source)


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


@pytest.mark.parametrize("ending", ["", "_mask", "_seg"])
@pytest.mark.parametrize(("images", "masks"), [("images", "masks"), ("Image", "labels"), ("imgs", "gt")])
def test_common_folder_and_file_names_are_known(
    put: Put, noise: Noise, tmp_path: Path, images: str, masks: str, ending: str
) -> None:
    put(f"source/{images}/deep/a.png", noise(0))
    put(f"source/{masks}/deep/a{ending}.png", np.eye(8) * 255)
    assert set(loaded(imported(tmp_path / "source", **NO_SPLIT))) == {"deep_a"}


def test_hidden_files_are_left_out(fruit_source: Path) -> None:
    (fruit_source / "images" / "._fruit0_0.png").write_bytes(b"what a Mac leaves")
    assert len(loaded(imported(fruit_source))) == 15


def put_splits(put: Put, noise: Noise, **counts: int) -> None:
    for split, count in counts.items():
        for index in range(count):
            put(f"source/{split}/images/{split}{index}.png", noise(index))
            put(f"source/{split}/masks/{split}{index}.png", np.eye(8) * 255)


def test_split_folders_are_taken_over(put: Put, noise: Noise, tmp_path: Path) -> None:
    put_splits(put, noise, train=4, val=2, test=3)
    dataset = imported(tmp_path / "source")
    for split, folder in {"train": "train", "validation": "val", "test": "test"}.items():
        pairs = dataset.pairs(split)  # type: ignore[arg-type]
        assert pairs
        assert all(pair.stem.startswith(folder) for pair in pairs)
    assert {split: len(dataset.pairs(split)) for split in SPLITS} == {"train": 4, "validation": 2, "test": 3}


def test_a_missing_validation_folder_is_cut_from_training_alone(put: Put, noise: Noise, tmp_path: Path) -> None:
    put_splits(put, noise, training=10, test=3)
    dataset = imported(tmp_path / "source")
    assert {split: len(dataset.pairs(split)) for split in SPLITS} == {"train": 8, "validation": 2, "test": 3}
    assert {pair.stem for pair in dataset.pairs("test")} == {"test0", "test1", "test2"}


def test_without_a_test_folder_the_images_are_split_anew(put: Put, noise: Noise, tmp_path: Path) -> None:
    put_splits(put, noise, train=8, val=2)
    dataset = imported(tmp_path / "source")
    assert {split: len(dataset.pairs(split)) for split in SPLITS} == {"train": 6, "validation": 2, "test": 2}


@pytest.mark.parametrize("folders", [("train", "val"), ("train", "val", "test")])
def test_the_same_name_in_two_split_folders_is_two_pictures(
    put: Put, noise: Noise, tmp_path: Path, folders: tuple[str, ...]
) -> None:
    for number, folder in enumerate(folders):
        for index in range(5):
            put(f"source/{folder}/images/{index}.png", noise(10 * number + index))
            put(f"source/{folder}/masks/{index}.png", np.eye(8) * 255)
    dataset = imported(tmp_path / "source")
    assert check_dataset(dataset) == 5 * len(folders)
    assert len({image.tobytes() for image, _ in loaded(dataset).values()}) == 5 * len(folders)


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


@pytest.fixture
def four_classes(put: Put, noise: Noise, tmp_path: Path) -> Path:
    """One image whose mask has the rows 0, 1, 2, 3 and 255."""
    put("source/images/a.png", noise(0, 5, 4, 3))
    put("source/masks/a.png", np.array([0, 1, 2, 3, 255])[:, None].repeat(4, axis=1))
    (tmp_path / "source" / "classes.txt").write_text("belt\nmould\nblemish\nstain\n")
    return tmp_path / "source"


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


def test_merged_classes_can_be_kept_alone(four_classes: Path) -> None:
    dataset = imported(four_classes, merge={"defect": ["mould", "stain"]}, classes=["defect"], **NO_SPLIT)
    assert names(dataset) == ["belt", "defect"]
    assert rows_of(dataset) == [0, 1, 0, 1, 255]


@pytest.mark.parametrize("options", [{"classes": ["mold"]}, {"merge": {"defect": ["mold"]}}])
def test_an_unknown_class_lists_the_known_ones(four_classes: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="'mold' is unknown; the source has mould, blemish, stain"):
        imported(four_classes, **options)


@pytest.mark.parametrize("pattern", [r"(fruit\d)_", r"fruit\d"])
def test_groups_are_kept_together(fruit_source: Path, pattern: str) -> None:
    dataset = imported(fruit_source, group_by=pattern)
    groups = groups_by_split(dataset)
    assert Counter(group for split in groups.values() for group in split) == {f"fruit{i}": 1 for i in range(5)}
    assert {split: len(dataset.pairs(split)) for split in SPLITS} == {"train": 9, "validation": 3, "test": 3}


def test_a_group_expression_must_match_every_name(fruit_source: Path) -> None:
    with pytest.raises(DataError, match=r"does not match 'fruit0_0'; every name must match"):
        imported(fruit_source, group_by="lemon")
    with pytest.raises(ConfigError, match=r"'\(' is not a regular expression"):
        imported(fruit_source, group_by="(")


def test_pairs_without_defects_are_limited(fruit_source: Path, put: Put, noise: Noise) -> None:
    for index in range(40):
        put(f"source/images/clean{index}.png", noise(index))
        put(f"source/masks/clean{index}.png", np.zeros((8, 8)))
    dataset = imported(fruit_source, max_defect_free=0.4)
    stems = loaded(dataset)
    assert sum(stem.startswith("fruit") for stem in stems) == 15
    assert sum(stem.startswith("clean") for stem in stems) == 6
    assert any("34 of 40 pairs without foreground were left out" in note for note in dataset.info.source["notes"])


def test_a_dataset_can_be_imported_again_with_its_splits_and_groups(fruit_source: Path) -> None:
    first = imported(fruit_source, group_by=r"fruit\d")
    second = import_dataset(build(DataConfig, {"source": first.folder, "size": 4}), fruit_source.parent / "small")
    assert groups_by_split(second) == groups_by_split(first)
    assert names(second) == names(first)
    assert loaded(second)["fruit0_0"][1].shape == (4, 4)


def test_all_problems_are_listed_at_once_and_nothing_is_left_behind(
    fruit_source: Path, put: Put, hashes: Hashes
) -> None:
    (fruit_source / "masks" / "fruit0_0.png").unlink()
    put("source/masks/fruit1_0.png", np.zeros((8, 9)))
    truncated = fruit_source / "images" / "fruit2_0.png"
    truncated.write_bytes(truncated.read_bytes()[:60])
    (fruit_source / "masks" / "fruit3_0.png").write_bytes(b"not a picture")
    put("source/images/fruit4_0.jpg", np.zeros((8, 8, 3)))
    before = hashes(fruit_source.parent)
    with pytest.raises(DataError) as caught:
        imported(fruit_source)
    message = str(caught.value)
    assert message.startswith("5 problem(s) in the source; nothing was written:")
    for expected in (
        "images/fruit0_0.png has no mask; expected ",
        "images/fruit1_0.png is 8x8 but ",
        "masks/fruit1_0.png is 9x8; they must agree",
        "images/fruit2_0.png cannot be read as an image",
        "masks/fruit3_0.png cannot be read as an image",
        "the name 'fruit4_0' occurs 2 times",
    ):
        assert expected in message
    assert hashes(fruit_source.parent) == before
    assert [path.name for path in fruit_source.parent.iterdir()] == ["source"]


def test_undeclared_class_ids_are_named(four_classes: Path) -> None:
    (four_classes / "classes.txt").write_text("belt\nmould\nblemish\n")
    with pytest.raises(DataError, match=r"masks/a\.png holds class id 3; declared are 0 to 2"):
        imported(four_classes)


def test_very_many_problems_are_cut_short(fruit_source: Path, put: Put, noise: Noise) -> None:
    for index in range(30):
        put(f"source/images/a{index}.png", noise(0))
    with pytest.raises(DataError) as caught:
        imported(fruit_source)
    assert str(caught.value).startswith("30 problem(s)")
    assert str(caught.value).endswith("… and 10 more")


def test_a_source_without_any_pair_says_which_mask_it_looked_for(put: Put, noise: Noise, tmp_path: Path) -> None:
    put("source/images/a.png", noise(0))
    put("source/masks/b.png", np.eye(8))
    with pytest.raises(DataError, match=r"no pair of image and mask .*a\.png has no mask; expected .*masks/a\.png"):
        imported(tmp_path / "source")


def test_a_failure_while_writing_leaves_nothing_behind(fruit_source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("isdm.data.importing.write_metadata", full_disk)
    with pytest.raises(OSError, match="No space left"):
        imported(fruit_source)
    assert [path.name for path in fruit_source.parent.iterdir()] == ["source"]


def test_what_a_killed_import_left_is_removed_by_the_next(fruit_source: Path) -> None:
    stale = fruit_source.parent / ".aside-999999-out"
    (stale / "train").mkdir(parents=True)
    (stale / "train" / "half.png").write_bytes(b"half")
    imported(fruit_source)
    assert {path.name for path in fruit_source.parent.iterdir()} == {"source", "out"}


def test_what_another_import_is_writing_is_left_alone(fruit_source: Path) -> None:
    other = fruit_source.parent / ".aside-4242-red-out"
    other.mkdir()
    imported(fruit_source)
    assert other.is_dir()


def test_a_destination_without_a_name_is_refused(
    fruit_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(OutputError, match=r"\. has no name of its own; give a new folder"):
        import_dataset(build(DataConfig, {"source": fruit_source}), Path())


def test_a_classes_file_that_is_no_utf8_is_named(fruit_source: Path) -> None:
    (fruit_source / "classes.txt").write_bytes("gut\nMängel\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"classes\.txt is not UTF-8 text"):
        imported(fruit_source)


@pytest.mark.parametrize("options", [{"seed": 1}, {"size": 4}, {"test": 0.4}])
def test_other_options_are_refused_and_change_nothing(
    fruit_source: Path, hashes: Hashes, options: dict[str, Any]
) -> None:
    folder = imported(fruit_source).folder
    before = hashes(folder)
    with pytest.raises(OutputError, match=f"{next(iter(options))} = "):
        imported(fruit_source, **options)
    assert hashes(folder) == before


def test_a_changed_source_is_refused(fruit_source: Path, put: Put) -> None:
    imported(fruit_source)
    put("source/masks/fruit0_0.png", np.zeros((8, 8)))
    with pytest.raises(OutputError, match="another source"):
        imported(fruit_source)


def test_a_destination_that_holds_something_else_is_left_untouched(fruit_source: Path, hashes: Hashes) -> None:
    out = fruit_source.parent / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("the only copy")
    with pytest.raises(OutputError, match="something that isdm did not make"):
        imported(fruit_source)
    assert list(hashes(out)) == ["thesis.txt"]


def test_importing_onto_the_source_itself_is_refused(fruit_source: Path, hashes: Hashes) -> None:
    before = hashes(fruit_source)
    with pytest.raises(OutputError):
        import_dataset(build(DataConfig, {"source": fruit_source}), fruit_source)
    assert hashes(fruit_source) == before


def test_an_empty_destination_is_taken(fruit_source: Path) -> None:
    (fruit_source.parent / "out").mkdir()
    assert len(loaded(imported(fruit_source))) == 15


def test_an_empty_source_says_what_is_expected(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with pytest.raises(DataError, match=r"none of the known layouts. Put images into images/ and masks"):
        imported(source)
    (source / "images").mkdir()
    (source / "masks").mkdir()
    with pytest.raises(DataError, match=r"holds no images; put them into .*images"):
        imported(source)


def test_a_source_that_is_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere is not a folder; give the folder that holds the images"):
        imported(tmp_path / "nowhere")


def test_a_layout_that_does_not_fit_says_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(DataError, match="needs a folder images/ and beside it masks/"):
        imported(tmp_path / "source", layout="folders")
    with pytest.raises(DataError, match="holds no pair of image and mask in the layout 'magnetic-tile'"):
        imported(tmp_path / "source", layout="magnetic-tile")


def test_metadata_has_one_line_a_pair_with_group_and_source(fruit_source: Path) -> None:
    folder = imported(fruit_source, group_by=r"fruit\d").folder
    lines = [json.loads(line) for line in (folder / "test" / "metadata.jsonl").read_text().splitlines()]
    assert len(lines) == 3
    for line in lines:
        stem = Path(line["image_file_name"]).stem
        assert line == {
            "image_file_name": f"images/{stem}.png",
            "mask_file_name": f"masks/{stem}.png",
            "group": stem[:6],
            "source": "real",
        }
