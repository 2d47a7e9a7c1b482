"""Importing plain folders: what comes out, and how it is split."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imported import NO_SPLIT, Hashes, Noise, Put, groups_by_split, imported, loaded, names
from isdm.config import DataConfig, build
from isdm.data.checking import check_dataset
from isdm.data.dataset import SPLITS, SegmentationDataset
from isdm.data.importing import import_dataset
from isdm.errors import ConfigError


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
        "notes": [
            "Masks: mask value 0 is background, 255 is foreground (120 of 960 pixels, 12.50%)",
            "Groups: 15 names have 5 beginnings, such as fruit0 (3 of them). If these are photographs of one part, a "
            r"split must not separate them: import again with --group-by '^(.*\d)\D+\d+$'",
        ],
        "left_out": 0,
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


@pytest.mark.parametrize("pattern", [r"(fruit\d)_", r"fruit\d"])
def test_groups_are_kept_together(fruit_source: Path, pattern: str) -> None:
    dataset = imported(fruit_source, group_by=pattern)
    groups = groups_by_split(dataset)
    assert Counter(group for split in groups.values() for group in split) == {f"fruit{i}": 1 for i in range(5)}
    assert {split: len(dataset.pairs(split)) for split in SPLITS} == {"train": 9, "validation": 3, "test": 3}


def test_pairs_without_defects_are_limited(fruit_source: Path, put: Put, noise: Noise) -> None:
    for index in range(40):
        put(f"source/images/clean{index}.png", noise(index))
        put(f"source/masks/clean{index}.png", np.zeros((8, 8)))
    dataset = imported(fruit_source, max_defect_free=0.4)
    stems = loaded(dataset)
    assert sum(stem.startswith("fruit") for stem in stems) == 15
    assert sum(stem.startswith("clean") for stem in stems) == 6
    assert any("34 of 40 pairs without foreground were left out" in note for note in dataset.info.source["notes"])


def test_no_word_of_pairs_that_are_not_left_out(fruit_source: Path) -> None:
    dataset = imported(fruit_source, max_defect_free=0.4)
    assert not any("left out" in note for note in dataset.info.source["notes"])


def test_fewer_training_images_are_kept_by_whole_groups(fruit_source: Path, put: Put, noise: Noise) -> None:
    for index in range(60):
        put(f"source/images/more{index // 3}_{index}.png", noise(index))
        put(f"source/masks/more{index // 3}_{index}.png", np.eye(8) * 255 * (index % 2))
    everything = imported(fruit_source, group_by=r"^([a-z]+\d+)_")
    of_all = groups_by_split(everything)
    shutil.rmtree(everything.folder)
    dataset = imported(fruit_source, group_by=r"^([a-z]+\d+)_", train=12)
    of_few = groups_by_split(dataset)
    assert of_few["test"] == of_all["test"]
    assert of_few["validation"] == of_all["validation"]
    assert set(of_few["train"]) < set(of_all["train"])
    pairs = dataset.pairs("train")
    assert len(pairs) == 12
    assert set(Counter(pair.group for pair in pairs).values()) == {3}, "whole groups"
    with_foreground = [bool(dataset.load_mask(pair).any()) for pair in pairs]
    assert {True, False} == set(with_foreground), "as even in their classes as all were"
    assert any("12 of 48 training images were kept (train = 12)" in note for note in dataset.info.source["notes"])
    assert not (dataset.folder / "pool").exists()


def test_extras_are_not_counted_among_fewer_training_images(fruit_source: Path, put: Put, noise: Noise) -> None:
    for index in range(4):
        put(f"clean/{index}.png", noise(100 + index))
    dataset = imported(fruit_source, group_by=None, train=5, defect_free=fruit_source.parent / "clean")
    stems = [pair.stem for pair in dataset.pairs("train")]
    assert sum(stem.startswith("fruit") for stem in stems) == 5
    assert len(stems) == 9


def test_more_training_images_than_there_are(fruit_source: Path) -> None:
    with pytest.raises(ConfigError, match="train = 10 but the other splits leave 9 training images; lower it"):
        imported(fruit_source, group_by=r"fruit\d", train=10)
    with pytest.raises(ConfigError, match="train = 16 but there are 15 pairs in all; lower it"):
        imported(fruit_source, group_by=r"fruit\d", train=16)


def test_a_dataset_can_be_imported_again_with_its_splits_and_groups(fruit_source: Path) -> None:
    first = imported(fruit_source, group_by=r"fruit\d")
    second = import_dataset(build(DataConfig, {"source": first.folder, "size": 4}), fruit_source.parent / "small")
    assert groups_by_split(second) == groups_by_split(first)
    assert names(second) == names(first)
    assert loaded(second)["fruit0_0"][1].shape == (4, 4)


def test_an_empty_destination_is_taken(fruit_source: Path) -> None:
    (fruit_source.parent / "out").mkdir()
    assert len(loaded(imported(fruit_source))) == 15


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


@pytest.mark.parametrize("names_groups", [False, True])
def test_an_isdm_folder_with_equal_names_in_its_splits(
    fruit_source: Path, noise: Noise, put: Put, names_groups: bool
) -> None:
    """Pictures of one name in two splits are two pictures, whatever splits are made of them."""
    source = fruit_source.parent / "hand"
    classes = [{"id": 0, "name": "background", "colour": [0, 0, 0]}, {"id": 1, "name": "crack", "colour": [9, 9, 9]}]
    source.mkdir()
    (source / "dataset.json").write_text(
        json.dumps(
            {
                "name": "hand",
                "classes": classes,
                "channels": 3,
                "bit_depth": 8,
                "ignore_index": 255,
                "format_version": 1,
            }
        )
    )
    for split, count in (("train", 12), ("validation", 4), ("test", 4)):
        lines = []
        for number in range(count):
            name = f"{number:04d}.png"
            put(f"hand/{split}/images/{name}", noise(number + 100 * count + len(split)))
            put(f"hand/{split}/masks/{name}", np.eye(8, dtype=np.uint8))
            line = {"image_file_name": f"images/{name}", "mask_file_name": f"masks/{name}"}
            lines.append(json.dumps(line | ({"group": f"{split}{number}"} if names_groups else {})))
        (source / split / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    assert check_dataset(SegmentationDataset(source)) == 20
    for options in ({}, {"splits": "new"}, {"folds": 4}):
        config = build(DataConfig, {"source": source, "near_duplicates": False} | options)
        dataset = import_dataset(config, fruit_source.parent / f"out{len(str(options))}")
        pairs = [pair for split in dataset.splits for pair in dataset.pairs(split)]
        assert len({dataset.load(pair)[0].tobytes() for pair in pairs}) == len(pairs) == 20
        assert check_dataset(dataset) == 20
