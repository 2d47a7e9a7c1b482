"""Exports as other tools read them: pycocotools, Pillow, and the formats' own rules written down again here."""

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from scipy import ndimage

from exported import IGNORED, INFO, SHORT, blobs, export, three_splits, write_dataset
from isdm.data.dataset import DatasetInfo, SegmentationClass
from isdm.data.exporting.coco import run_lengths
from isdm.data.exporting.objects import column_positions
from isdm.errors import DataError

PLAIN = DatasetInfo("parts", (*INFO.classes[:3], SegmentationClass(3, "pore", (0, 158, 115))))


def names_of(masks: dict[str, np.ndarray], split: str) -> list[str]:
    """What the pairs of `three_splits` are called: one of validation has the name of one of train."""
    return ["validation_a" if (stem, split) == ("a", "validation") else stem for stem in masks]


def instance_map(mask: np.ndarray) -> np.ndarray:
    """Ids in stripes, so that objects are parted and one object has several parts; 0 on background."""
    stripes = 400 + np.arange(mask.shape[1]) // 3 % 4
    return np.where((mask > 0) & (mask != IGNORED), stripes, 0).astype(np.uint16)


def opened_coco(out: Path, split: str) -> COCO:
    return COCO(out / "annotations" / f"instances_{SHORT[split]}.json")


def coco_mask_of(coco: COCO, image: dict[str, Any]) -> np.ndarray:
    mask = np.zeros((image["height"], image["width"]), np.uint8)
    for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
        pixels = coco.annToMask(annotation).astype(bool)
        assert not mask[pixels].any()
        mask[pixels] = annotation["category_id"]
    return mask


def test_coco_masks_come_back_by_pycocotools(tmp_path: Path) -> None:
    splits = three_splits()
    out = export(write_dataset(tmp_path / "data", splits, INFO), "coco")
    image_ids, annotation_ids = set(), set()
    for split, masks in splits.items():
        coco = opened_coco(out, split)
        images = coco.loadImgs(coco.getImgIds())
        assert [image["file_name"] for image in images] == [f"{name}.png" for name in names_of(masks, split)]
        for image, mask in zip(images, masks.values(), strict=True):
            with Image.open(out / SHORT[split] / image["file_name"]) as picture:
                assert picture.size == (image["width"], image["height"])
            np.testing.assert_array_equal(coco_mask_of(coco, image), mask)
            assert image["split"] == split
            assert image["group"].startswith(split)
        image_ids |= set(coco.imgs)
        annotation_ids |= set(coco.anns)
        categories = [(entry["id"], entry["name"]) for entry in coco.dataset["categories"]]
        assert categories == [(1, "scratch"), (2, "dent"), (3, "pore: fine"), (255, "ignore")]
        ignoring = {entry["id"] for entry in coco.dataset["categories"] if entry.get("isdm_ignore")}
        assert ignoring == {255}
        own = coco.dataset["info"]["isdm"]
        assert own["ignore_index"] == 255
        assert own["classes"][3] == {"id": 3, "name": "pore: fine", "colour": [0, 158, 115]}
    assert len(image_ids) == 7
    assert 0 not in image_ids | annotation_ids


def test_coco_annotations_are_whole_objects(tmp_path: Path) -> None:
    mask = blobs(0)
    coco = opened_coco(export(write_dataset(tmp_path / "data", {"train": {"a": mask}}), "coco"), "train")
    for class_id in (1, 2, 3):
        _, count = ndimage.label(mask == class_id, np.ones((3, 3)))
        assert len(coco.getAnnIds(catIds=[class_id], iscrowd=False)) == count
    assert len(coco.getAnnIds(iscrowd=True)) == 1
    for annotation in coco.anns.values():
        pixels = coco.annToMask(annotation)
        encoded = coco_mask.encode(np.asfortranarray(pixels))
        assert annotation["segmentation"] == {"size": [21, 34], "counts": encoded["counts"].decode()}
        assert annotation["area"] == pixels.sum()
        assert annotation["bbox"] == coco_mask.toBbox(encoded).tolist()
        assert annotation["iscrowd"] == (annotation["category_id"] == 255)


def test_coco_without_ignored_pixels_has_no_such_category(tmp_path: Path) -> None:
    out = export(write_dataset(tmp_path / "data", three_splits(ignored=False)), "coco")
    for split in SHORT:
        assert [entry["id"] for entry in opened_coco(out, split).dataset["categories"]] == [1, 2, 3]


def test_coco_finds_a_free_name_for_ignored_pixels(tmp_path: Path) -> None:
    classes = (*INFO.classes[:2], SegmentationClass(2, "ignore", (1, 1, 1)), SegmentationClass(3, "x", (2, 2, 2)))
    dataset = write_dataset(tmp_path / "data", {"train": {"a": blobs(0)}}, DatasetInfo("parts", classes))
    categories = opened_coco(export(dataset, "coco"), "train").dataset["categories"]
    assert [entry["name"] for entry in categories] == ["scratch", "ignore", "x", "ignore_"]


def test_coco_keeps_objects_of_instance_maps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = blobs(0)
    ids = instance_map(mask)
    dataset = write_dataset(tmp_path / "data", {"train": {"a": mask}}, instances={"a": ids})
    coco = opened_coco(export(dataset, "coco"), "train")
    assert "background" not in capsys.readouterr().err
    again = np.zeros(mask.shape, np.uint16)
    for annotation in coco.anns.values():
        if not annotation["iscrowd"]:
            again[coco.annToMask(annotation) > 0] = annotation["instance_id"]
    np.testing.assert_array_equal(again, ids)
    np.testing.assert_array_equal(coco_mask_of(coco, coco.imgs[1]), mask)


def test_coco_says_that_the_background_has_no_objects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = blobs(0)
    dataset = write_dataset(
        tmp_path / "data", {"train": {"a": mask}}, instances={"a": np.arange(mask.size).reshape(21, 34)}
    )
    out = export(dataset, "coco")
    assert "1 instance maps tell parts of the background apart" in capsys.readouterr().err
    assert "background apart" in (out / "README.txt").read_text("utf-8")


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (6, 7)])
def test_run_lengths_are_those_of_pycocotools(shape: tuple[int, int]) -> None:
    for seed in range(50):
        pixels = np.random.default_rng(seed).random(shape) < 0.6
        pixels.flat[seed % pixels.size] = True
        encoded = coco_mask.encode(np.asfortranarray(pixels.astype(np.uint8)))
        assert run_lengths(column_positions(pixels), shape)["counts"] == encoded["counts"].decode()


def test_voc_masks_are_palette_pictures(tmp_path: Path) -> None:
    splits = three_splits()
    out = export(write_dataset(tmp_path / "data", splits, PLAIN), "voc")
    lines = (out / "labelmap.txt").read_text("utf-8").splitlines()
    assert lines == [
        "# label:color_rgb:parts:actions",
        "background:0,0,0::",
        "scratch:230,159,0::",
        "dent:86,180,233::",
        "pore:0,158,115::",
    ]
    colours = np.zeros((256, 3), np.uint8)
    colours[:4] = [entry.colour for entry in PLAIN.classes]
    colours[IGNORED] = 224, 224, 192  # VOC's void
    for split, masks in splits.items():
        names = names_of(masks, split)
        listed = (out / "ImageSets" / "Segmentation" / f"{SHORT[split]}.txt").read_text("utf-8")
        assert listed.splitlines() == names
        for name, mask in zip(names, masks.values(), strict=True):
            with Image.open(out / "SegmentationClass" / f"{name}.png") as picture:
                assert picture.mode == "P"
                np.testing.assert_array_equal(np.asarray(picture), mask)
                np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), colours[mask])
            assert (out / "JPEGImages" / f"{name}.png").is_file()
    assert not (out / "SegmentationObject").exists()
    assert len(list((out / "JPEGImages").iterdir())) == 7


def test_voc_says_which_names_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(write_dataset(tmp_path / "data", three_splits(), PLAIN), "voc")
    assert "1 pictures have other names" in capsys.readouterr().err


def test_voc_numbers_objects(tmp_path: Path) -> None:
    mask = blobs(0)
    ids = instance_map(mask)
    dataset = write_dataset(tmp_path / "data", {"train": {"a": mask}}, PLAIN, instances={"a": ids})
    with Image.open(export(dataset, "voc") / "SegmentationObject" / "a.png") as picture:
        assert picture.mode == "P"
        numbers = np.asarray(picture)
    assert (numbers[mask == IGNORED] == 255).all()
    assert (numbers[mask == 0] == 0).all()
    objects = (mask > 0) & (mask != IGNORED)
    told = {*zip(mask[objects], ids[objects], numbers[objects], strict=True)}
    count = len({(class_id, instance) for class_id, instance, _ in told})
    assert len(told) == count
    assert {number for _, _, number in told} == set(range(1, count + 1))


def test_voc_says_where_objects_are_too_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    masks = {name: np.ones((1, size), np.uint8) for name, size in {"most": 254, "more": 255}.items()}
    maps = {name: 1000 + np.arange(mask.size)[None] for name, mask in masks.items()}
    out = export(write_dataset(tmp_path / "data", {"train": masks}, PLAIN, instances=maps), "voc")
    assert "1 instance maps have more than the 254 objects" in capsys.readouterr().err
    assert [path.stem for path in (out / "SegmentationObject").iterdir()] == ["most"]


def test_voc_takes_its_own_colours_where_two_classes_share_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grey = tuple(SegmentationClass(entry.id, entry.name, (9, 9, 9)) for entry in PLAIN.classes)
    dataset = write_dataset(tmp_path / "data", {"train": {"a": blobs(0)}}, DatasetInfo("parts", grey))
    out = export(dataset, "voc")
    assert "two classes have one colour" in capsys.readouterr().err
    published = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)]
    text = "".join(f"{entry.name}:{r},{g},{b}::\n" for entry, (r, g, b) in zip(grey, published, strict=True))
    assert (out / "labelmap.txt").read_text("utf-8").endswith(text)
    with Image.open(out / "SegmentationClass" / "a.png") as picture:
        shown = np.asarray(picture.convert("RGB"))
    assert (shown[blobs(0) == 3] == published[3]).all()


@pytest.mark.parametrize("name", ["pore: fine", "#pore"])
def test_voc_refuses_class_names_that_its_list_cannot_hold(tmp_path: Path, name: str) -> None:
    info = DatasetInfo("parts", (*INFO.classes[:3], SegmentationClass(3, name, (9, 9, 9))))
    with pytest.raises(DataError, match=r"cannot stand in VOC's labelmap\.txt"):
        export(write_dataset(tmp_path / "data", {"train": {"a": blobs(0)}}, info), "voc")


def yolo_mask(out: Path, split: str, stem: str, shape: tuple[int, int]) -> tuple[np.ndarray, int]:
    """The mask that a label file tells, counted in dataset classes, and how many objects it has."""
    lines = (out / "labels" / SHORT[split] / f"{stem}.txt").read_text("utf-8").splitlines()
    mask = np.zeros(shape, np.uint8)
    for line in lines:
        first, *values = line.split()
        points = np.array(list(map(float, values))).reshape(-1, 2)
        assert len(points) >= 4
        assert ((points >= 0) & (points <= 1)).all()
        (encoded,) = coco_mask.frPyObjects([(points * (shape[1], shape[0])).ravel().tolist()], *shape)
        pixels = coco_mask.decode(encoded).astype(bool)
        assert pixels.any()
        assert not mask[pixels].any()
        mask[pixels] = int(first) + 1
    return mask, len(lines)


def test_ultralytics_polygons_fill_the_very_pixels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    splits = three_splits()
    out = export(write_dataset(tmp_path / "data", splits), "ultralytics")
    settings = yaml.safe_load((out / "data.yaml").read_text("utf-8"))
    assert settings["names"] == {0: "scratch", 1: "dent", 2: "pore: fine"}
    assert "path" not in settings  # so that paths start where the file is
    ignored = 0
    for split, masks in splits.items():
        images = out / settings[SHORT[split]]
        names = names_of(masks, split)
        assert sorted(path.stem for path in images.iterdir()) == sorted(names)
        labels = Path(str(images).replace("/images/", "/labels/"))
        assert sorted(path.stem for path in labels.iterdir()) == sorted(names)
        for name, mask in zip(names, masks.values(), strict=True):
            found, _ = yolo_mask(out, split, name, mask.shape)
            np.testing.assert_array_equal(found, np.where(mask == IGNORED, 0, mask))
            ignored += (mask == IGNORED).sum()
    assert f"{ignored} ignored pixels in 6 pictures became background" in capsys.readouterr().err


def test_ultralytics_polygons_of_wide_pictures(tmp_path: Path) -> None:
    mask = np.zeros((31, 12_001), np.uint8)
    mask[3:29:9, 7:11_999:301] = 1
    mask[12:20, 1000:12_001] = 2
    mask[15, 2000:2009] = 0
    out = export(write_dataset(tmp_path / "data", {"train": {"a": mask}}), "ultralytics")
    np.testing.assert_array_equal(yolo_mask(out, "train", "a", mask.shape)[0], mask)


def test_ultralytics_without_losses_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    splits = {"train": {"a": blobs(0, ignored=False)}, "validation": {"b": blobs(1, ignored=False)}}
    out = export(write_dataset(tmp_path / "data", splits), "ultralytics")
    assert capsys.readouterr().err.count("Export:") == 0
    assert (out / "README.txt").read_text("utf-8").endswith("Not as in the dataset: nothing\n")


def test_ultralytics_objects_of_instance_maps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = np.array([[1, 1, 1, 1, 0, 1]], np.uint8)
    ids = np.array([[3, 3, 8, 8, 0, 8]], np.uint16)
    dataset = write_dataset(tmp_path / "data", {"train": {"a": mask}}, instances={"a": ids})
    found, count = yolo_mask(export(dataset, "ultralytics"), "train", "a", mask.shape)
    np.testing.assert_array_equal(found, mask)
    assert count == 3
    assert "1 objects of the instance maps have several parts" in capsys.readouterr().err


def test_ultralytics_says_what_its_settings_lack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classes = (SegmentationClass(0, "road", (0, 0, 0)), *INFO.classes[1:])
    dataset = write_dataset(tmp_path / "data", {"train": {"a": blobs(0)}}, DatasetInfo("parts", classes))
    out = export(dataset, "ultralytics")
    printed = capsys.readouterr().err
    assert "no val split" in printed
    assert "the class 'road' are those that no polygon covers" in printed
    settings = yaml.safe_load((out / "data.yaml").read_text("utf-8"))
    assert "val" not in settings
    assert settings["isdm"]["classes"][0] == {"id": 0, "name": "road", "colour": [0, 0, 0]}


def test_mmseg_has_ids_and_a_configuration(tmp_path: Path) -> None:
    splits = three_splits()
    out = export(write_dataset(tmp_path / "data", splits), "mmseg")
    config = runpy.run_path(str(out / "dataset_config.py"))
    assert config["metainfo"]["classes"] == tuple(entry.name for entry in INFO.classes)
    assert config["metainfo"]["palette"] == [list(entry.colour) for entry in INFO.classes]
    assert (out / "classes.txt").read_text("utf-8").splitlines() == list(config["metainfo"]["classes"])
    for split, masks in splits.items():
        options = config[f"{SHORT[split]}_dataloader"]["dataset"]
        assert (options["type"], options["reduce_zero_label"], options["ignore_index"]) == (
            "BaseSegDataset",
            False,
            255,
        )
        images, annotations = (out / options["data_prefix"][key] for key in ("img_path", "seg_map_path"))
        found = [path.name.removesuffix(options["img_suffix"]) for path in images.iterdir()]
        names = names_of(masks, split)
        assert sorted(found) == sorted(names)
        for name, mask in zip(names, masks.values(), strict=True):
            with Image.open(annotations / f"{name}{options['seg_map_suffix']}") as picture:
                np.testing.assert_array_equal(np.asarray(picture), mask)


def test_mmseg_configuration_holds_names_as_text(tmp_path: Path) -> None:
    name = "'); raise SystemExit #\"\\"
    classes = (*INFO.classes[:3], SegmentationClass(3, name, (0, 0, 1)))
    dataset = write_dataset(tmp_path / "data", {"test": {"a": blobs(0)}}, DatasetInfo("parts", classes))
    config = runpy.run_path(str(export(dataset, "mmseg") / "dataset_config.py"))
    assert config["metainfo"]["classes"][3] == name
    assert "train_dataloader" not in config


def test_mmseg_keeps_jpeg_files_where_all_are_such(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", {"train": {"a": blobs(0), "b": blobs(1)}})
    folder = dataset.folder / "train"
    for stem in ("a", "b"):
        Image.open(folder / "images" / f"{stem}.png").save(folder / "images" / f"{stem}.jpg")
    lines = (folder / "metadata.jsonl").read_text("utf-8")
    (folder / "metadata.jsonl").write_text(
        lines.replace("images/a.png", "images/a.jpg").replace("images/b.png", "images/b.jpg")
    )
    out = export(dataset, "mmseg")
    config = runpy.run_path(str(out / "dataset_config.py"))
    assert config["train_dataloader"]["dataset"]["img_suffix"] == ".jpg"
    assert (out / "img_dir/train/a.jpg").read_bytes() == (folder / "images" / "a.jpg").read_bytes()


def test_mmseg_says_that_instance_maps_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = blobs(0)
    export(write_dataset(tmp_path / "data", {"train": {"a": mask}}, instances={"a": instance_map(mask)}), "mmseg")
    assert "instance maps were left out" in capsys.readouterr().err


def test_json_is_valid_however_names_look(tmp_path: Path) -> None:
    masks = {'quote " and \\ and é': blobs(0), "new\nline": blobs(1)}
    out = export(write_dataset(tmp_path / "data", {"train": masks}), "coco")
    images = json.loads((out / "annotations" / "instances_train.json").read_text("utf-8"))["images"]
    assert [image["file_name"] for image in images] == ['quote " and \\ and é.png', "new_line.png"]
