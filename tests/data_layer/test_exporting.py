"""The stage `data export`: what all formats share."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import isdm
from exported import INFO, blobs, export, picture, three_splits, write_dataset
from imported import Hashes
from isdm.cli import main
from isdm.config import ExportConfig, build
from isdm.data.checking import check_dataset
from isdm.data.dataset import DatasetInfo, SegmentationClass, SegmentationDataset
from isdm.errors import ConfigError, DataError, OutputError

LAYOUTS = ("isdm", "coco", "voc", "ultralytics", "mmseg")
FOREIGN = LAYOUTS[1:]
WITHOUT_COLON = DatasetInfo("parts", (*INFO.classes[:3], SegmentationClass(3, "pore", (0, 158, 115))))


@pytest.fixture
def dataset(tmp_path: Path) -> SegmentationDataset:
    return write_dataset(tmp_path / "data", three_splits(), WITHOUT_COLON)


def image_files(folder: Path, stem: str) -> list[Path]:
    """Pictures of a name, masks left out."""
    masks = ("Segmentation", "ann_dir", "masks")
    found = [path for path in folder.rglob(f"{stem}.*") if path.suffix in (".png", ".jpg")]
    return [path for path in found if not any(word in str(path.relative_to(folder)) for word in masks)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_dataset_stays_as_it_is_and_nothing_else_appears(
    dataset: SegmentationDataset, layout: str, hashes: Hashes
) -> None:
    before = hashes(dataset.folder)
    out = export(dataset, layout)
    assert hashes(dataset.folder) == before
    assert {path.name for path in out.parent.iterdir()} == {"data", layout}
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pictures_are_copied_byte_for_byte(dataset: SegmentationDataset, layout: str) -> None:
    out = export(dataset, layout)
    original = dataset.folder / "train" / "images" / "b.1.png"
    (copied,) = image_files(out, "b.1")
    assert copied.read_bytes() == original.read_bytes()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_grey_pictures_keep_their_16_bits(tmp_path: Path, layout: str) -> None:
    info = DatasetInfo("parts", WITHOUT_COLON.classes, channels=1, bit_depth=16)
    out = export(write_dataset(tmp_path / "data", {"train": {"a": blobs(0)}}, info), layout)
    (file,) = image_files(out, "a")
    np.testing.assert_array_equal(np.asarray(Image.open(file)), picture(1, 21, 34, info)[:, :, 0])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_command_again_is_done_and_another_is_refused(
    dataset: SegmentationDataset, layout: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = export(dataset, layout)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    capsys.readouterr()
    export(dataset, layout)
    assert "is already exported" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times
    other = "voc" if layout == "coco" else "coco"
    with pytest.raises(OutputError, match=f"layout was {layout}, now {other}"):
        isdm.export_dataset(build(ExportConfig, {"dataset": dataset.folder, "layout": other}), out)
    lines = dataset.folder / "train" / "metadata.jsonl"
    lines.write_text(lines.read_text("utf-8").replace('"real"', '"drawn"'), "utf-8")
    with pytest.raises(OutputError, match="another train split"):
        export(dataset, layout)


def test_a_moved_dataset_is_still_the_same_export(dataset: SegmentationDataset) -> None:
    export(dataset, "coco")
    export(SegmentationDataset(dataset.folder.rename(dataset.folder.with_name("moved"))), "coco")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_with_something_else_is_refused(dataset: SegmentationDataset, layout: str) -> None:
    out = dataset.folder.parent / layout
    out.mkdir()
    (out / "thesis.txt").write_text("two years")
    with pytest.raises(OutputError, match="isdm did not make"):
        export(dataset, layout)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_an_empty_folder_is_taken(dataset: SegmentationDataset) -> None:
    (dataset.folder.parent / "coco").mkdir()
    assert (export(dataset, "coco") / "train").is_dir()


@pytest.mark.parametrize("inner", ["", "train", "new/deep"])
def test_nothing_is_exported_into_the_dataset(dataset: SegmentationDataset, inner: str, hashes: Hashes) -> None:
    before = hashes(dataset.folder)
    config = build(ExportConfig, {"dataset": dataset.folder, "layout": "coco"})
    with pytest.raises(OutputError, match="lies in the dataset"):
        isdm.export_dataset(config, dataset.folder / inner)
    assert hashes(dataset.folder) == before


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rejected_pairs_are_left_out(dataset: SegmentationDataset, layout: str) -> None:
    path = dataset.folder / "train" / "metadata.jsonl"
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    lines[1] |= {"kept": False, "reason": "blurred"}
    lines[2] |= {"kept": True}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    out = export(dataset, layout)
    assert image_files(out, "x")
    assert not list(out.rglob("b.1*"))


def test_a_dataset_without_kept_pairs_is_refused(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", {"train": {"a": blobs(0)}}, metadata={"kept": False})
    with pytest.raises(DataError, match="has no kept pairs"):
        export(dataset, "isdm")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_broken_pair_is_named_and_leaves_nothing(dataset: SegmentationDataset, layout: str) -> None:
    file = dataset.folder / "test" / "images" / "x.png"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(DataError, match=r"test/images/x\.png"):
        export(dataset, layout)
    assert {path.name for path in dataset.folder.parent.iterdir()} == {"data"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_a_killed_export_left_is_removed(
    dataset: SegmentationDataset, layout: str, aside_of_dead_process: Callable[[Path], Path]
) -> None:
    stale = aside_of_dead_process(dataset.folder.parent / layout) / "train"
    stale.mkdir(parents=True)
    (stale / "half.png").write_bytes(b"")
    out = export(dataset, layout)
    assert {path.name for path in out.parent.iterdir()} == {"data", layout}


@pytest.mark.parametrize("layout", FOREIGN)
def test_groups_and_all_that_is_known_lie_beside(tmp_path: Path, layout: str) -> None:
    known = {"source": "synthetic", "seed": 7, "iou": 0.25, "source_mask": 'ü,\n"x'}
    dataset = write_dataset(tmp_path / "data", three_splits(), WITHOUT_COLON, metadata=known)
    out = export(dataset, layout)
    with (out / "groups.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (out / "pairs.jsonl").read_text("utf-8").splitlines()]
    assert [(row["name"], row["split"]) for row in rows] == [(line["name"], line["split"]) for line in lines]
    expected = [(split, pair) for split in dataset.splits for pair in dataset.pairs(split)]
    for row, line, (split, pair) in zip(rows, lines, expected, strict=True):
        assert (row["group"], row["split"]) == (pair.group, split)
        assert image_files(out, row["name"])
        del line["name"], line["split"]
        assert line == pair.metadata


@pytest.mark.parametrize("name", ["two\nlines", " space", "", "dent"])
@pytest.mark.parametrize("layout", FOREIGN)
def test_class_names_that_a_format_cannot_hold_are_refused(tmp_path: Path, layout: str, name: str) -> None:
    info = DatasetInfo("parts", (*INFO.classes[:3], SegmentationClass(3, name, (9, 9, 9))))
    dataset = write_dataset(tmp_path / "data", {"train": {"a": blobs(0)}}, info)
    with pytest.raises(DataError, match=r"dataset\.json: the class name .* must be one line"):
        export(dataset, layout)


@pytest.mark.parametrize("layout", FOREIGN)
def test_pictures_that_tools_would_read_otherwise_become_png(tmp_path: Path, layout: str) -> None:
    """One is turned by EXIF, one has a palette, one is a TIFF file, one is a JPEG file like any other."""
    masks = {"turned": blobs(0, 20, 30), "palette": blobs(1), "tiff": blobs(2), "jpeg": blobs(3)}
    dataset = write_dataset(tmp_path / "data", {"train": masks}, WITHOUT_COLON)
    images = dataset.folder / "train" / "images"
    exif = Image.Exif()
    exif[0x0112] = 6  # the picture stands when turned clockwise
    Image.fromarray(picture(9, 30, 20)).save(images / "turned.jpg", exif=exif, quality=100)
    Image.open(images / "palette.png").quantize(16).save(images / "palette.png")
    Image.open(images / "tiff.png").save(images / "tiff.tif")
    Image.open(images / "jpeg.png").save(images / "jpeg.jpg")
    endings = {"turned": "jpg", "tiff": "tif", "jpeg": "jpg"}
    lines = (images.parent / "metadata.jsonl").read_text("utf-8")
    for stem, ending in endings.items():
        (images / f"{stem}.png").unlink()
        lines = lines.replace(f"images/{stem}.png", f"images/{stem}.{ending}")
    (images.parent / "metadata.jsonl").write_text(lines, "utf-8")
    out = export(dataset, layout)
    expected = {pair.stem: dataset.load(pair)[0] for pair in dataset.pairs("train")}
    assert expected["turned"].shape == (20, 30, 3)
    for stem, values in expected.items():
        (file,) = image_files(out, stem)
        with Image.open(file) as image:
            assert image.mode == "RGB"
            assert image.getexif().get(0x0112, 1) == 1
            np.testing.assert_array_equal(np.asarray(image), values)
        kept = stem == "jpeg" and layout != "mmseg"  # which wants one ending for all
        assert file.suffix == (".jpg" if kept else ".png")


def test_the_command(
    dataset: SegmentationDataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str | Path) -> int:
        monkeypatch.setattr(sys, "argv", ["isdm", "data", "export", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        return int(caught.value.code or 0)

    out = dataset.folder.parent / "out"
    assert run(dataset.folder, out) == 2
    assert run(dataset.folder, out, "--layout", "yolo") == 2
    assert "ultralytics" in capsys.readouterr().err
    assert run(dataset.folder, out, "--layout", "coco") == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert (out / "annotations" / "instances_val.json").is_file()


def test_an_unknown_layout_is_named() -> None:
    with pytest.raises(ConfigError, match="layout"):
        build(ExportConfig, {"dataset": "data", "layout": "yolo"})


def test_a_clean_copy_is_the_same_dataset(dataset: SegmentationDataset) -> None:
    copy = SegmentationDataset(export(dataset, "isdm"))
    assert copy.info.classes == dataset.info.classes
    assert copy.info.name == "isdm"
    assert copy.info.split == {"by": "group", "train": 3, "validation": 2, "test": 2}
    assert copy.splits == dataset.splits
    for split in dataset.splits:
        assert copy.fingerprint(split) == dataset.fingerprint(split)
        assert [pair.metadata for pair in copy.pairs(split)] == [pair.metadata for pair in dataset.pairs(split)]
    assert check_dataset(copy) == 7


def test_a_clean_copy_keeps_instance_maps_and_gives_equal_names_new_ones(tmp_path: Path) -> None:
    masks = {"a": blobs(0), "deep/a": blobs(1)}
    maps = {stem: np.arange(mask.size).reshape(mask.shape) for stem, mask in masks.items()}
    dataset = write_dataset(tmp_path / "data", {"train": masks}, instances=maps)
    first, second = SegmentationDataset(export(dataset, "isdm")).pairs("train")
    assert (first.stem, second.stem) == ("a", "train_a")
    for pair, mask, ids in zip((first, second), masks.values(), maps.values(), strict=True):
        assert pair.instances is not None
        np.testing.assert_array_equal(np.asarray(Image.open(pair.instances)), ids)
        np.testing.assert_array_equal(np.asarray(Image.open(pair.mask)), mask)
