"""Image files of 8 and 16 bits: files made byte by byte, and what was written read by another decoder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isdm.data.dataset import DatasetInfo, SegmentationClass, write_pair
from isdm.data.image_files import as_shown, opened_image, read_image, read_picture
from isdm.errors import DataError
from rawfiles import read_png16, write_png16, write_tiff

Put = Callable[..., Path]
GREY = np.array([[0, 1, 255, 256], [4095, 32767, 32768, 65535]], np.uint16)


@pytest.mark.parametrize("big_endian", [False, True])
def test_grey_tiff_of_16_bits_in_both_byte_orders(tmp_path: Path, big_endian: bool) -> None:
    picture = read_picture(write_tiff(tmp_path / "a.tif", GREY, big_endian=big_endian))
    assert picture.dtype == np.uint16
    assert picture.dtype.isnative
    np.testing.assert_array_equal(picture, GREY[:, :, None])


def test_grey_png_of_16_bits(tmp_path: Path) -> None:
    path = write_png16(tmp_path / "a.png", GREY[:, :, None])
    np.testing.assert_array_equal(read_picture(path), GREY[:, :, None])
    np.testing.assert_array_equal(read_image(path, 1, 16), GREY[:, :, None])


def test_values_of_32_bits_that_fit_into_16_are_taken(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", GREY.astype(np.int32))
    picture = read_picture(path)
    assert picture.dtype == np.uint16
    np.testing.assert_array_equal(picture, GREY[:, :, None])


@pytest.mark.parametrize(("value", "text"), [(65536, "from 0 to 65536"), (-1, "from -1 to 0")])
def test_values_that_16_bits_cannot_hold_are_refused(tmp_path: Path, value: int, text: str) -> None:
    path = write_tiff(tmp_path / "a.tif", np.array([[0, value]], np.int32))
    with pytest.raises(DataError, match=rf"a\.tif has values {text}; 16 bits hold 0 to 65535: save it"):
        read_picture(path)


def test_fractions_are_refused(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", np.array([[0.5, 1.0]], np.float32))
    with pytest.raises(DataError, match=r"a\.tif holds fractions .* save it with whole values"):
        read_picture(path)


@pytest.mark.parametrize(
    ("channels", "kind"), [(2, "grey with transparency"), (3, "colour"), (4, "colour")], ids=["LA", "RGB", "RGBA"]
)
def test_png_of_16_bits_that_is_not_grey_is_refused(tmp_path: Path, channels: int, kind: str) -> None:
    """Pillow would give its upper 8 bits without a word."""
    path = write_png16(tmp_path / "a.png", GREY[:, :, None].repeat(channels, axis=2))
    with pytest.raises(DataError, match=rf"a\.png has 16 bits a channel in {kind}; only grey .* save it as 16-bit"):
        read_picture(path)


@pytest.mark.parametrize("big_endian", [False, True])
def test_colour_tiff_of_16_bits_is_refused(tmp_path: Path, big_endian: bool) -> None:
    values = GREY[:, :, None].repeat(3, axis=2)
    path = write_tiff(tmp_path / "a.tif", values, big_endian=big_endian, photometric=2)
    with pytest.raises(DataError, match=r"a\.tif has 16 bits a channel in colour"):
        read_picture(path)


def test_inverted_tiff_of_16_bits_is_refused(tmp_path: Path) -> None:
    """Pillow would give the negative without a word."""
    path = write_tiff(tmp_path / "a.tif", GREY, photometric=0)
    with pytest.raises(DataError, match=r"a\.tif stores more than 8 bits with white as zero; save it"):
        read_picture(path)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.jpg"])
def test_8_bits_in_any_file_are_taken(put: Put, name: str) -> None:
    path = put(name, np.full((8, 8, 3), 90))
    assert read_picture(path).dtype == np.uint8
    assert abs(int(read_image(path, 3)[0, 0, 0]) - 90) <= 1


def test_a_bitmap_of_16_bits_a_pixel_has_few_bits_a_channel(tmp_path: Path) -> None:
    """5 bits a channel; its 16 bits are those of a whole pixel."""
    header = b"BM" + np.array([54 + 4, 0, 54, 40, 2, 1], "<u4").tobytes() + np.array([1, 16], "<u2").tobytes()
    pixels = np.array([0x7C00, 0x001F], "<u2").tobytes()
    (tmp_path / "a.bmp").write_bytes(header + np.array([0, 4, 0, 0, 0, 0], "<u4").tobytes() + pixels)
    assert read_picture(tmp_path / "a.bmp").tolist() == [[[255, 0, 0], [0, 0, 255]]]


def test_another_bit_depth_than_the_datasets_is_refused(put: Put, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.png has 16 bits a channel but the dataset has 8; save it with 8"):
        read_image(write_png16(tmp_path / "a.png", GREY[:, :, None]), 1)
    with pytest.raises(DataError, match=r"b\.png has 8 bits a channel but the dataset has 16; save it with 16"):
        read_image(put("b.png", GREY // 257), 1, 16)


def test_a_photograph_of_16_bits_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(GREY)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png")[:, :, 0], GREY)


def test_another_decoder_reads_all_16_bits_that_were_written(tmp_path: Path) -> None:
    classes = (SegmentationClass(0, "background", (0, 0, 0)), SegmentationClass(1, "crack", (230, 159, 0)))
    info = DatasetInfo("wide", classes, channels=1, bit_depth=16)
    names = {"image_file_name": "images/a.png", "mask_file_name": "masks/a.png"}
    write_pair(tmp_path, names, GREY[:, :, None], np.zeros(GREY.shape, np.uint8), info)
    np.testing.assert_array_equal(read_png16(tmp_path / "images" / "a.png"), GREY)


def test_pictures_are_shown_in_8_bits() -> None:
    picture = as_shown(GREY[:, :, None])
    assert picture.mode == "L"
    assert np.asarray(picture).tolist() == [[0, 0, 1, 1], [16, 127, 128, 255]]  # 65535 / 255 = 257 to a step
    colour = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert np.asarray(as_shown(colour)).tolist() == colour.tolist()


def test_masks_of_16_bits_in_colour_are_refused_too(tmp_path: Path) -> None:
    path = write_png16(tmp_path / "mask.png", GREY[:, :, None].repeat(3, axis=2))
    with pytest.raises(DataError, match="16 bits a channel in colour"), opened_image(path):
        pass
