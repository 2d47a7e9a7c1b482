"""The dataset folder: what it holds, who can read it, and what is refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from isdm import provenance
from isdm.data.checking import check_dataset
from isdm.data.dataset import (
    DatasetInfo,
    SegmentationClass,
    SegmentationDataset,
    pair_names,
    write_metadata,
    write_pair,
)
from isdm.data.decoding import load_arrays
from isdm.data.image_files import read_image
from isdm.errors import DataError

INFO = DatasetInfo(
    "tiles",
    (
        SegmentationClass(0, "background", (0, 0, 0)),
        SegmentationClass(1, "crack", (230, 159, 0)),
        SegmentationClass(2, "fray", (86, 180, 233)),
    ),
)
PAIRS = {"train": 3, "validation": 2, "test": 1}


def mask_of(index: int) -> np.ndarray:
    """Every declared class and an ignored row, elsewhere in each mask."""
    mask = np.zeros((6, 5), np.uint8)
    mask[index % 4, :3] = 1
    mask[5, 1:] = 2
    mask[4] = 255
    return mask


@pytest.fixture
def folder(tmp_path: Path, noise: Callable[..., np.ndarray]) -> Path:
    """A dataset of six pairs of 5x6 pixels, two photographs a group."""
    root = tmp_path / "tiles"
    for offset, (split, count) in enumerate(PAIRS.items()):
        lines = []
        for index in range(count):
            names = pair_names(f"{split}{index}", index, count)
            write_pair(root / split, names, noise(10 * offset + index, 6, 5, 3), mask_of(index), INFO)
            lines.append({**names, "group": f"{split}-tile{index // 2}"})
        write_metadata(root / split, lines)
    INFO.write(root)
    return root


def edit_first_line(folder: Path, **changes: Any) -> None:
    path = folder / "train" / "metadata.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0] |= changes
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def load_first(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    dataset = SegmentationDataset(folder)
    return dataset.load(dataset.pairs("train")[0])


def test_what_was_written_is_read_back(folder: Path, noise: Callable[..., np.ndarray]) -> None:
    dataset = SegmentationDataset(folder)
    assert dataset.info == INFO
    assert {split: len(dataset.pairs(split)) for split in dataset.splits} == PAIRS
    images, masks = load_arrays(dataset, dataset.pairs("train"))
    np.testing.assert_array_equal(images, [noise(index, 6, 5, 3) for index in range(3)])
    np.testing.assert_array_equal(masks, [mask_of(index) for index in range(3)])


def test_any_tool_reads_the_mask_as_class_ids_and_a_person_sees_colours(folder: Path) -> None:
    with Image.open(folder / "train" / "masks" / "train0.png") as mask:
        assert mask.mode == "P"
        np.testing.assert_array_equal(np.asarray(mask), mask_of(0))
        seen = np.asarray(mask.convert("RGB"))
    assert seen[0, 0].tolist() == [230, 159, 0]
    assert seen[5, 4].tolist() == [86, 180, 233]
    assert seen[4, 0].tolist() == [127, 127, 127]


def test_hugging_face_reads_it_unchanged(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    loaded = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))
    assert {split: rows.num_rows for split, rows in loaded.items()} == PAIRS
    for split, rows in loaded.items():
        assert {"image", "mask", "group"} <= set(rows.column_names)
        for index, row in enumerate(rows):
            np.testing.assert_array_equal(np.asarray(row["mask"]), mask_of(index))
            own = Image.open(folder / split / "images" / f"{split}{index}.png")
            np.testing.assert_array_equal(np.asarray(row["image"]), np.asarray(own))


def test_grey_images_have_one_channel(tmp_path: Path, put: Callable[..., Path]) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert read_image(put("grey.png", grey), 1).tolist() == grey[:, :, None].tolist()
    assert read_image(put("grey.png", grey), 3).shape == (3, 4, 3)


def test_above_ten_thousand_pairs_the_files_are_spread_over_folders() -> None:
    assert pair_names("a", 9_999, 10_000)["image_file_name"] == "images/a.png"
    assert pair_names("a", 9_999, 10_001)["image_file_name"] == "images/00000/a.png"
    assert pair_names("a", 20_000, 20_001)["mask_file_name"] == "masks/00002/a.png"


def test_rejected_pairs_are_left_out(folder: Path) -> None:
    edit_first_line(folder, kept=False, reason="follows its mask badly")
    assert [pair.stem for pair in SegmentationDataset(folder).pairs("train")] == ["train1", "train2"]


def test_a_split_that_is_missing_is_empty_and_can_be_required(folder: Path) -> None:
    (folder / "test" / "metadata.jsonl").unlink()
    dataset = SegmentationDataset(folder)
    assert dataset.splits == ("train", "validation")
    assert dataset.pairs("test") == []
    with pytest.raises(DataError, match="has no test pairs"):
        dataset.require("test")


def test_the_fingerprint_changes_with_a_single_mask_pixel(folder: Path) -> None:
    dataset = SegmentationDataset(folder)
    before = {split: dataset.fingerprint(split) for split in dataset.splits}
    path = folder / "train" / "masks" / "train1.png"
    with Image.open(path) as mask:
        mask.putpixel((0, 0), 2)
        mask.save(path)
    after = {split: dataset.fingerprint(split) for split in dataset.splits}
    assert after["train"] != before["train"]
    assert (after["validation"], after["test"]) == (before["validation"], before["test"])


@pytest.mark.parametrize("change", [{"group": "another"}, {"kept": False}])
def test_the_fingerprint_changes_with_groups_and_selection(folder: Path, change: dict[str, Any]) -> None:
    before = SegmentationDataset(folder).fingerprint("train")
    edit_first_line(folder, **change)
    assert SegmentationDataset(folder).fingerprint("train") != before


def test_the_fingerprint_ignores_the_record_judgements_and_the_order(folder: Path) -> None:
    before = SegmentationDataset(folder).fingerprint("train")
    provenance.begin(folder / "x", "train", {}, {})
    (folder / "x" / "provenance.json").rename(folder / "provenance.json")
    provenance.finish(folder, {"seed": 1}, 5.0)
    (folder / "train" / "judgements.jsonl").write_text('{"image": "train0", "verdict": "bad"}\n')
    path = folder / "train" / "metadata.jsonl"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    assert SegmentationDataset(folder).fingerprint("train") == before


def test_a_moved_dataset_keeps_its_fingerprint(folder: Path) -> None:
    before = SegmentationDataset(folder).fingerprint("train")
    moved = folder.rename(folder.with_name("elsewhere"))
    assert SegmentationDataset(moved).fingerprint("train") == before


def test_an_undeclared_class_id_is_named_with_its_file(folder: Path) -> None:
    write_pair(
        folder / "train",
        pair_names("train0", 0, 3),
        np.zeros((6, 5, 3), np.uint8),
        np.full((6, 5), 7, np.uint8),
        INFO,
    )
    with pytest.raises(DataError, match=r"masks/train0\.png holds class id 7; declared are 0 to 2 and 255"):
        load_first(folder)


def test_sizes_that_differ_are_named_with_both_files(folder: Path) -> None:
    Image.fromarray(np.zeros((6, 4), np.uint8)).save(folder / "train" / "masks" / "train0.png")
    with pytest.raises(DataError, match=r"images/train0\.png is 5x6 but .*masks/train0\.png is 4x6"):
        load_first(folder)


@pytest.mark.parametrize("part", ["images", "masks"])
def test_a_truncated_file_is_named(folder: Path, part: str) -> None:
    path = folder / "train" / part / "train0.png"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=rf"{part}/train0\.png cannot be read as an image"):
        load_first(folder)


@pytest.mark.parametrize("part", ["images", "masks"])
def test_a_missing_file_is_named(folder: Path, part: str) -> None:
    (folder / "train" / part / "train0.png").unlink()
    with pytest.raises(DataError, match=rf"{part}/train0\.png is missing"):
        load_first(folder)


@pytest.mark.parametrize("key", ["image_file_name", "mask_file_name"])
@pytest.mark.parametrize("name", ["../x.png", "../../x.png", "/tmp/x.png", "images/../../../x.png"])
def test_a_path_outside_the_dataset_is_refused(folder: Path, key: str, name: str) -> None:
    edit_first_line(folder, **{key: name})
    with pytest.raises(DataError, match=r"metadata\.jsonl, line 1: .*x\.png lies outside the dataset"):
        SegmentationDataset(folder).pairs("train")


def test_a_colour_mask_is_refused(folder: Path) -> None:
    Image.new("RGB", (5, 6)).save(folder / "train" / "masks" / "train0.png")
    with pytest.raises(DataError, match=r"train0\.png has mode RGB; a mask must hold one class id a pixel"):
        load_first(folder)


def test_an_image_of_16_bits_is_refused(folder: Path) -> None:
    Image.fromarray(np.full((6, 5), 40_000, np.uint16)).save(folder / "train" / "images" / "train0.png")
    with pytest.raises(DataError, match=r"train0\.png has 16 bits a channel but the dataset has 8"):
        load_first(folder)


def test_images_of_different_sizes_cannot_be_stacked(folder: Path) -> None:
    wide = np.zeros((6, 9), np.uint8)
    write_pair(folder / "train", pair_names("train1", 1, 3), np.zeros((6, 9, 3), np.uint8), wide, INFO)
    dataset = SegmentationDataset(folder)
    with pytest.raises(DataError, match=r"train1\.png is 9x6 but others are 5x6; .* import with --size"):
        load_arrays(dataset, dataset.pairs("train"))


def test_an_unfinished_dataset_is_refused_with_the_command_to_repeat(folder: Path) -> None:
    (folder / "x").mkdir()
    provenance.begin(folder / "x", "sample", {}, {})
    (folder / "x" / "provenance.json").rename(folder / "provenance.json")
    with pytest.raises(DataError, match="is unfinished; run the same `isdm sample` command again"):
        SegmentationDataset(folder)
    provenance.finish(folder, {}, 1.0)
    assert SegmentationDataset(folder).pairs("train")


def test_a_folder_without_dataset_json_is_refused_with_the_command_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not a dataset .* `isdm data import"):
        SegmentationDataset(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        SegmentationDataset(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, r"format version 2, of a newer isdm; .* Install a newer isdm"),
        ({"channels": 4}, "4 channels of 8 bits"),
        ({"bit_depth": 16}, r"3 channels of 16 bits; grey images \(1\) of 8 or 16 bits"),
        ({"channels": 1, "bit_depth": 12}, "1 channels of 12 bits"),
        ({"classes": [{"id": 0, "name": "a", "colour": [0, 0, 0]}]}, r"class ids are \[0\]"),
        ({"classes": [{"id": 1, "name": "a", "colour": [0, 0]}]}, "lacks or misstates"),
        ({"classes": None}, "lacks or misstates"),
    ],
)
def test_a_wrong_dataset_json_is_named(folder: Path, change: dict[str, Any], message: str) -> None:
    path = folder / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=r"dataset\.json.*" + message):
        SegmentationDataset(folder)


@pytest.mark.parametrize("line", ["[]", "5", '"x"', '{"image_file_name": "a.png"}', '{"image_file_name": 1}'])
def test_a_metadata_line_without_file_names_is_named(folder: Path, line: str) -> None:
    (folder / "train" / "metadata.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=r"metadata\.jsonl, line 1 must name image_file_name"):
        SegmentationDataset(folder).pairs("train")


def test_checking_counts_the_pairs_of_a_sound_dataset(folder: Path) -> None:
    assert check_dataset(SegmentationDataset(folder)) == 6


def test_checking_lists_all_problems_at_once(folder: Path) -> None:
    (folder / "train" / "masks" / "train0.png").unlink()
    (folder / "test" / "images" / "test0.png").write_bytes(b"not a picture")
    edit_first_line(folder, group="validation-tile0")
    with pytest.raises(DataError) as caught:
        check_dataset(SegmentationDataset(folder))
    message = str(caught.value)
    assert message.startswith("3 problem(s)")
    assert "masks/train0.png is missing" in message
    assert "images/test0.png cannot be read" in message
    assert "group 'validation-tile0' lies in train and validation" in message


@given(place=st.floats(0, 1), byte=st.integers(0, 255), cut=st.booleans(), jpeg=st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_image_is_read_or_named_but_never_crashes(
    tmp_path: Path, place: float, byte: int, cut: bool, jpeg: bool
) -> None:
    path = tmp_path / ("broken.jpg" if jpeg else "broken.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray((np.arange(300) % 256).astype(np.uint8).reshape(10, 10, 3)).save(path, exif=exif, dpi=(72, 72))
    content = bytearray(path.read_bytes())
    at = int(place * (len(content) - 1))
    content[at] = byte
    path.write_bytes(content[:at] if cut else content)
    outcome = picture_or_complaint(path)
    assert path.name in outcome if isinstance(outcome, str) else outcome.shape[2] == 3


def picture_or_complaint(path: Path) -> np.ndarray | str:
    try:
        return read_image(path, 3)
    except DataError as error:
        return str(error)


def test_damaged_orientation_data_is_named(tmp_path: Path) -> None:
    path = tmp_path / "turned.webp"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    content = path.read_bytes()
    assert content.count(b"II*\x00") + content.count(b"MM\x00*") == 1
    path.write_bytes(content.replace(b"II*\x00", b"IJ*\x00").replace(b"MM\x00*", b"MN\x00*"))
    with pytest.raises(DataError, match=r"turned\.webp cannot be read as an image"):
        read_image(path, 3)
