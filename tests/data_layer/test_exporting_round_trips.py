"""Out by `data export` and in again by `data import`: nothing is lost but what is said."""

from pathlib import Path

import numpy as np
import pytest

from exported import IGNORED, INFO, blobs, export, three_splits, write_dataset
from isdm.config import DataConfig, build
from isdm.data.dataset import DatasetInfo, SegmentationClass, SegmentationDataset
from isdm.data.importing import import_dataset

CLASSES = (*INFO.classes[:3], SegmentationClass(3, "Süd, fine", (0, 158, 115)))
READ_BY = {"isdm": "isdm", "coco": "coco", "voc": "voc", "ultralytics": "yolo"}


def back(folder: Path, layout: str = "auto", **options: object) -> SegmentationDataset:
    options = {"source": folder, "layout": layout, "near_duplicates": False} | options
    return import_dataset(build(DataConfig, options), folder.parent / "back")


def check_the_same(
    found: SegmentationDataset, dataset: SegmentationDataset, *, without_ignored: bool = False
) -> None:
    """Names, pictures and masks of all splits are the same, with an order of one's own."""
    assert found.splits == dataset.splits
    for split in dataset.splits:
        pairs = {pair.stem: pair for pair in found.pairs(split)}
        for original in dataset.pairs(split):
            name = "validation_a" if (original.stem, split) == ("a", "validation") else original.stem
            pair = pairs.pop(original.stem if original.stem in pairs else name)
            image, mask = found.load(pair)
            expected_image, expected_mask = dataset.load(original)
            np.testing.assert_array_equal(image, expected_image)
            if without_ignored:
                expected_mask = np.where(expected_mask == IGNORED, 0, expected_mask)
            np.testing.assert_array_equal(mask, expected_mask)
        assert not pairs


@pytest.mark.parametrize("layout", READ_BY)
def test_a_round_trip_loses_nothing(tmp_path: Path, layout: str) -> None:
    dataset = write_dataset(tmp_path / "data", three_splits(), DatasetInfo("parts", CLASSES))
    out = export(dataset, layout)
    found = back(out, READ_BY[layout])
    check_the_same(found, dataset, without_ignored=layout == "ultralytics")
    assert [entry.name for entry in found.info.classes] == [entry.name for entry in CLASSES]
    if layout != "ultralytics":
        assert found.info.classes == CLASSES


@pytest.mark.parametrize("layout", READ_BY)
def test_the_export_is_recognised(tmp_path: Path, layout: str) -> None:
    dataset = write_dataset(tmp_path / "data", three_splits(), DatasetInfo("parts", CLASSES))
    assert back(export(dataset, layout)).info.source["layout"] == READ_BY[layout]


@pytest.mark.parametrize("layout", READ_BY)
def test_groups_come_back(tmp_path: Path, layout: str) -> None:
    dataset = write_dataset(tmp_path / "data", three_splits(), DatasetInfo("parts", CLASSES))
    out = export(dataset, layout)
    found = back(out) if layout in ("isdm", "coco") else back(out, groups=out / "groups.csv")
    for split in dataset.splits:
        assert sorted(pair.group for pair in found.pairs(split)) == sorted(
            pair.group for pair in dataset.pairs(split)
        )


@pytest.mark.parametrize("layout", READ_BY)
def test_grey_pictures_of_16_bits_come_back(tmp_path: Path, layout: str) -> None:
    info = DatasetInfo("parts", CLASSES, channels=1, bit_depth=16)
    splits = {split: {f"{split}{index}": blobs(index) for index in range(2)} for split in ("train", "test")}
    dataset = write_dataset(tmp_path / "data", splits, info)
    found = back(export(dataset, layout), validation=0)
    assert (found.info.channels, found.info.bit_depth) == (1, 16)
    check_the_same(found, dataset, without_ignored=layout == "ultralytics")


def test_a_class_without_background_keeps_its_name_in_coco_and_voc(tmp_path: Path) -> None:
    classes = (SegmentationClass(0, "road", (128, 64, 128)), *CLASSES[1:])
    dataset = write_dataset(tmp_path / "data", three_splits(), DatasetInfo("parts", classes))
    for layout in ("coco", "voc"):
        found = back(export(dataset, layout).rename(tmp_path / "export"))
        assert found.info.classes == classes
        check_the_same(found, dataset)
        (tmp_path / "export").rename(tmp_path / layout)
        found.folder.rename(tmp_path / f"{layout}-back")


def test_mmseg_is_two_folders_away_from_plain_ones(tmp_path: Path) -> None:
    """A split of mmsegmentation's form, its folders renamed, is the layout `folders`."""
    dataset = write_dataset(tmp_path / "data", {"train": three_splits()["train"]}, DatasetInfo("parts", CLASSES))
    out = export(dataset, "mmseg")
    source = tmp_path / "source"
    source.mkdir()
    (out / "img_dir" / "train").rename(source / "images")
    (out / "ann_dir" / "train").rename(source / "masks")
    (out / "classes.txt").rename(source / "classes.txt")
    found = back(source, "folders", test=0, validation=0)
    assert [entry.name for entry in found.info.classes] == [entry.name for entry in CLASSES]
    check_the_same(found, dataset)
