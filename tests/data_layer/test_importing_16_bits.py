"""Importing grey images of 16 bits: which bits are used, what becomes of others, and what is refused."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from imported import NO_SPLIT, Noise, Put, imported, loaded
from isdm.config import DataConfig, build
from isdm.data.checking import check_dataset
from isdm.data.dataset import SegmentationDataset
from isdm.data.decoding import load_arrays
from isdm.data.image_rules import stretched
from isdm.data.importing import import_dataset
from isdm.errors import DataError
from rawfiles import read_png16, write_png16, write_tiff


def camera(seed: int, bits: int = 12, size: int = 8) -> np.ndarray:
    """A grey picture with values of so many bits, the largest among them."""
    values = np.random.default_rng(seed).integers(0, 2**bits, (size, size), np.uint16)
    values[0, 0] = 2**bits - 1
    return values


@pytest.fixture
def wide_source(tmp_path: Path, put: Put) -> Path:
    """Two pictures of 12 bits in files of 16, a PNG and a TIFF."""
    write_png16(tmp_path / "source/images/a.png", camera(0)[:, :, None])
    write_tiff(tmp_path / "source/images/b.tif", camera(1) // 2, big_endian=True)
    for stem in "ab":
        put(f"source/masks/{stem}.png", np.eye(8) * 255)
    return tmp_path / "source"


def notes(dataset: SegmentationDataset) -> str:
    return "; ".join(dataset.info.source["notes"])


def test_the_bits_that_are_used_are_stretched_to_all_16(wide_source: Path) -> None:
    dataset = imported(wide_source, **NO_SPLIT)
    assert (dataset.info.channels, dataset.info.bit_depth) == (1, 16)
    assert "values use 12 of 16 bits; 0 to 4095 became 0 to 65535" in notes(dataset)
    images = {stem: image for stem, (image, _) in loaded(dataset).items()}
    for stem, source in {"a": camera(0), "b": camera(1) // 2}.items():
        expected = [[round(Fraction(int(value) * 65535, 4095)) for value in row] for row in source]
        assert images[stem][:, :, 0].tolist() == expected
    assert check_dataset(dataset) == 2


def test_another_decoder_reads_the_imported_images(wide_source: Path) -> None:
    path = imported(wide_source, **NO_SPLIT).pairs("train")[0].image
    np.testing.assert_array_equal(read_png16(path), np.rint(camera(0) / 4095 * 65535))


def test_the_arrays_have_16_bits(wide_source: Path) -> None:
    dataset = imported(wide_source, **NO_SPLIT)
    images, _ = load_arrays(dataset, dataset.pairs("train"))
    assert (images.shape, images.dtype) == ((2, 8, 8, 1), np.uint16)
    assert images.max() == 65535


@pytest.mark.parametrize(("largest", "bits"), [(100, 8), (255, 8), (256, 9), (1023, 10), (1024, 11), (32768, 16)])
def test_the_number_of_bits_follows_from_the_largest_value(tmp_path: Path, put: Put, largest: int, bits: int) -> None:
    values = np.zeros((8, 8, 1), np.uint16)
    values[3, 4] = largest
    write_png16(tmp_path / "source/images/a.png", values)
    put("source/masks/a.png", np.eye(8) * 255)
    dataset = imported(tmp_path / "source", **NO_SPLIT)
    assert loaded(dataset)["a"][0].max() == round(Fraction(largest * 65535, 2**bits - 1))
    if bits == 16:
        assert "values of 16 bits were kept as they are" in notes(dataset)
    else:
        assert f"values use {bits} of 16 bits; 0 to {2**bits - 1} became" in notes(dataset)


@pytest.mark.parametrize("bits", range(8, 17))
def test_stretching_rounds_to_nearest_without_overflow(bits: int) -> None:
    values = np.arange(2**bits, dtype=np.uint16)
    expected = np.rint(values.astype(np.float64) * 65535 / (2**bits - 1))
    np.testing.assert_array_equal(stretched(values, bits), expected)


def test_images_of_8_bits_among_them_are_scaled_and_said(wide_source: Path, put: Put, noise: Noise) -> None:
    grey = noise(3, 8, 8)
    put("source/images/c.png", grey)
    put("source/images/d.png", np.dstack([grey] * 3))
    for stem in "cd":
        put(f"source/masks/{stem}.png", np.eye(8) * 255)
    dataset = imported(wide_source, **NO_SPLIT)
    images = {stem: image for stem, (image, _) in loaded(dataset).items()}
    for stem in "cd":
        np.testing.assert_array_equal(images[stem][:, :, 0], grey.astype(int) * 257)
    np.testing.assert_array_equal(images["a"][:, :, 0], np.rint(camera(0) / 4095 * 65535))
    assert "2 images have 8 bits; 0 to 255 became 0 to 65535" in notes(dataset)


def test_colour_beside_16_bits_is_refused_with_both_files(wide_source: Path, put: Put, noise: Noise) -> None:
    put("source/images/c.png", noise(3))
    put("source/masks/c.png", np.eye(8) * 255)
    with pytest.raises(DataError, match=r"a\.png has 16 bits but .*c\.png is in colour; .* must be grey: convert"):
        imported(wide_source)
    assert [path.name for path in wide_source.parent.iterdir()] == ["source"]


def test_colour_of_16_bits_is_refused(wide_source: Path) -> None:
    write_png16(wide_source / "images" / "a.png", camera(0)[:, :, None].repeat(3, axis=2))
    with pytest.raises(DataError, match=r"1 problem.*\n.*a\.png has 16 bits a channel in colour"):
        imported(wide_source)


def test_a_dataset_of_16_bits_imported_again_is_not_stretched_again(tmp_path: Path, put: Put) -> None:
    """The largest value of the second import's pictures need not reach 65535."""
    write_png16(tmp_path / "source/images/a.png", camera(0)[:, :, None])
    write_png16(tmp_path / "source/images/b.png", camera(1)[:, :, None] // 4)
    for stem in "ab":
        put(f"source/masks/{stem}.png", np.eye(8) * 255)
    first = imported(tmp_path / "source", **NO_SPLIT)
    path = first.folder / "train" / "metadata.jsonl"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "b.png" in line))
    second = import_dataset(build(DataConfig, {"source": first.folder} | NO_SPLIT), tmp_path / "second")
    assert second.info.bit_depth == 16
    np.testing.assert_array_equal(loaded(second)["b"][0], loaded(first)["b"][0])
    assert loaded(second)["b"][0].max() < 65535 / 3


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_sizes(wide_source: Path, fit: str) -> None:
    image, mask = loaded(imported(wide_source, size="4x6", fit=fit, **NO_SPLIT))["a"]
    assert (image.shape, image.dtype, mask.shape) == ((4, 6, 1), np.uint16, (4, 6))
    assert image.max() > 20_000


def test_what_is_done_is_said(wide_source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imported(wide_source, **NO_SPLIT)
    assert "Images: values use 12 of 16 bits; 0 to 4095 became 0 to 65535." in capsys.readouterr().err
