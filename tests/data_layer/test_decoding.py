"""Decoding whole splits, in memory and on disk."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isdm.data import dataset as dataset_module
from isdm.data import decoding
from isdm.data.dataset import SegmentationDataset
from isdm.data.decoding import load_arrays, load_masks
from isdm.errors import DataError

PIXEL_BYTES = 32 * 32 * (3 + 1)


def test_beyond_the_limit_the_same_arrays_come_from_disk(
    fruit: SegmentationDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pairs = fruit.pairs("train")
    in_memory = load_arrays(fruit, pairs, memory_limit_bytes=len(pairs) * PIXEL_BYTES)
    assert "temporary file" not in capsys.readouterr().err
    on_disk = load_arrays(fruit, pairs, memory_limit_bytes=len(pairs) * PIXEL_BYTES - 1)
    assert f"are not kept in memory but in a temporary file in {tmp_path}" in capsys.readouterr().err
    for mine, expected in zip(on_disk, in_memory, strict=True):
        assert isinstance(mine, np.memmap)
        assert not isinstance(expected, np.memmap)
        assert mine.dtype == expected.dtype
        np.testing.assert_array_equal(mine, expected)
    for index, pair in enumerate(pairs):
        np.testing.assert_array_equal(on_disk[0][index], fruit.load(pair)[0])
    assert list(tmp_path.iterdir()) == []


def test_a_quarter_of_the_free_memory_is_the_limit(
    fruit: SegmentationDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = fruit.pairs("train")
    for free, on_disk in ((4 * len(pairs) * PIXEL_BYTES, False), (4 * len(pairs) * PIXEL_BYTES - 4, True)):
        monkeypatch.setattr(decoding, "free_host_bytes", lambda free=free: free)
        assert isinstance(load_arrays(fruit, pairs)[0], np.memmap) == on_disk


def test_each_file_is_decoded_once(fruit: SegmentationDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    real, read = dataset_module.read_image, []

    def counted(path: Path, *arguments: int) -> np.ndarray:
        read.append(path)
        return real(path, *arguments)

    monkeypatch.setattr(dataset_module, "read_image", counted)
    pairs = fruit.pairs("train")
    load_arrays(fruit, pairs, memory_limit_bytes=0)
    assert read == [pair.image for pair in pairs]


def test_masks_alone_need_no_image(
    fruit: SegmentationDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = fruit.pairs("train")
    expected = load_arrays(fruit, pairs)[1]
    monkeypatch.delattr(dataset_module, "read_image")
    np.testing.assert_array_equal(load_masks(fruit, pairs), expected)
    assert isinstance(load_masks(fruit, pairs, memory_limit_bytes=0), np.memmap)


def test_masks_alone_are_checked(fruit: SegmentationDataset, tmp_path: Path) -> None:
    copy = SegmentationDataset(shutil.copytree(fruit.folder, tmp_path / "copy"))
    pair = copy.pairs("train")[0]
    Image.fromarray(np.full((32, 32), 9, np.uint8)).save(pair.mask)
    with pytest.raises(DataError, match="holds class id 9"):
        load_masks(copy, [pair])
