"""Images of every kind in every format that Pillow writes, compared with the arrays that they were made of."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from isdm.data.image_files import image_header, opened_image, read_image, read_picture
from isdm.data.image_rules import ImageFacts
from rawfiles import write_png16, write_png_rows, write_tiff

Put = Callable[..., Path]
ORIENTATION = 0x0112
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (11, 14, 3), np.uint8)
GREY = RNG.integers(0, 256, (11, 14), np.uint8)
ALPHA = RNG.integers(0, 256, (11, 14), np.uint8)
INDICES = RNG.integers(0, 6, (11, 14), np.uint8)
PALETTE = RNG.integers(0, 256, (6, 3), np.uint8)
SMOOTH = np.add.outer(np.arange(32) * 3, np.arange(48) * 2)[:, :, None] + np.array([0, 20, 40])


def palette_picture() -> Image.Image:
    picture = Image.fromarray(INDICES)
    picture.putpalette(PALETTE.ravel().tolist())
    return picture


def grey3(grey: np.ndarray) -> np.ndarray:
    return np.dstack([grey] * 3)


LOSSLESS: dict[str, dict[str, Any]] = {
    "a.png": {},
    "a.apng": {"format": "PNG"},
    "a.bmp": {},
    "a.tif": {},
    "lzw.tiff": {"compression": "tiff_lzw"},
    "deflate.tif": {"compression": "tiff_adobe_deflate"},
    "packbits.tif": {"compression": "packbits"},
    "a.webp": {"lossless": True},
}
PICTURES: dict[str, tuple[Image.Image, np.ndarray]] = {
    "1": (Image.fromarray(GREY > 127), grey3((GREY > 127) * np.uint8(255))),
    "L": (Image.fromarray(GREY), grey3(GREY)),
    "P": (palette_picture(), PALETTE[INDICES]),
    "RGB": (Image.fromarray(RGB), RGB),
    "LA": (Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)]), grey3(GREY)),
    "RGBA": (Image.fromarray(np.dstack([RGB, ALPHA])), RGB),
}


@pytest.mark.parametrize("name", LOSSLESS)
@pytest.mark.parametrize("mode", PICTURES)
def test_lossless_pictures_come_out_as_they_went_in(put: Put, mode: str, name: str) -> None:
    picture, expected = PICTURES[mode]
    if mode == "LA" and name == "a.bmp":
        pytest.skip("a BMP has no grey with alpha")
    options = LOSSLESS[name] | ({"exact": True} if name == "a.webp" else {})  # colours under transparency too
    path = put(name, picture, **options)
    np.testing.assert_array_equal(read_picture(path), expected)
    header = image_header(path)
    assert (header.width, header.height, header.is_wide) == (14, 11, False)
    if (expected != expected[:, :, :1]).any():
        assert header.maybe_coloured
    else:
        np.testing.assert_array_equal(read_image(path, 1), expected[:, :, :1])
    with opened_image(path) as image:
        assert header.has_alpha == (image.mode in ("LA", "RGBA"))


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.jpg", {"quality": 95, "subsampling": 0}), ("a.jpe", {"quality": 95}), ("a.webp", {"quality": 95})],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_lossy_pictures_come_out_nearly_as_they_went_in(
    put: Put, mode: str, name: str, options: dict[str, Any]
) -> None:
    picture = Image.fromarray(SMOOTH.astype(np.uint8)).convert(mode)
    path = put(name, picture, **options)
    difference = np.abs(read_picture(path).astype(int) - np.asarray(picture.convert("RGB")))
    assert difference.mean() < 3
    assert image_header(path)[:2] == (48, 32)


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_printers_colours_become_rgb(put: Put, name: str) -> None:
    ink = Image.fromarray(np.full((8, 8, 4), (0, 255, 255, 0), np.uint8), "CMYK")
    path = put(name, ink)
    np.testing.assert_allclose(read_picture(path), np.full((8, 8, 3), (255, 0, 0)), atol=3)
    assert image_header(path).mode == "CMYK"
    assert image_header(path).maybe_coloured


def test_a_tiff_of_tiles_and_one_of_inverted_grey(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "inverted.tif", GREY, photometric=0)
    np.testing.assert_array_equal(read_picture(path), grey3(255 - GREY))
    big = RNG.integers(0, 256, (64, 80), np.uint8)
    Image.fromarray(big).save(tmp_path / "strips.tif", compression="tiff_lzw", strip_size=512)
    np.testing.assert_array_equal(read_picture(tmp_path / "strips.tif"), grey3(big))


@pytest.mark.parametrize("transparency", [b"\x00\x80\xff", 2])
def test_transparency_of_a_palette_changes_no_colour(
    put: Put, recwarn: pytest.WarningsRecorder, transparency: bytes | int
) -> None:
    path = put("a.png", palette_picture(), transparency=transparency)
    np.testing.assert_array_equal(read_picture(path), PALETTE[INDICES])
    assert image_header(path).has_alpha
    assert not recwarn.list


def test_a_transparent_colour_changes_no_colour(put: Put) -> None:
    path = put("a.png", Image.fromarray(RGB), transparency=tuple(RGB[0, 0].tolist()))
    np.testing.assert_array_equal(read_picture(path), RGB)
    assert image_header(path).has_alpha


def test_grey_of_few_bits_spans_black_to_white(tmp_path: Path) -> None:
    """PNG says that samples of 2 bits are 0, 1/3, 2/3 and 1."""
    path = write_png_rows(tmp_path / "a.png", 4, 1, 2, bytes([0, 0b00011011]))
    assert read_picture(path)[0, :, 0].tolist() == [0, 85, 170, 255]


def test_headers_of_16_bits(tmp_path: Path) -> None:
    wide = GREY.astype(np.uint16) * 257
    for path in (write_png16(tmp_path / "a.png", wide[:, :, None]), write_tiff(tmp_path / "b.tif", wide)):
        header = image_header(path)
        assert (header.width, header.height, header.is_wide, header.maybe_coloured) == (14, 11, True, False)


def as_stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """What a camera stores with an orientation: undo what the EXIF standard says a viewer does.

    The number says where the first row and the first column of what is stored are seen: 1 top and left, 2 top and
    right, 3 bottom and right, 4 bottom and left, 5 left and top, 6 right and top, 7 right and bottom, 8 left and
    bottom.
    """
    stored = upright.swapaxes(0, 1) if orientation > 4 else upright
    if orientation in (3, 4, 6, 7):  # the first row is seen at the bottom or right
        stored = stored[::-1]
    if orientation in (2, 3, 7, 8):  # the first column is seen at the right or bottom
        stored = stored[:, ::-1]
    return np.ascontiguousarray(stored)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "lzw.tif", "a.webp", "a.jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_made_upright(put: Put, orientation: int, name: str) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24], upright[16:, :24], upright[:16, 24:] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"lzw.tif": {"compression": "tiff_lzw"}, "a.webp": {"lossless": True}}.get(
        name, {"quality": 98, "subsampling": 0}
    )
    path = put(name, as_stored(upright, orientation), exif=exif, **options)
    np.testing.assert_allclose(read_picture(path), upright, atol=12 if name == "a.jpg" else 0)
    header = image_header(path)
    assert (header.width, header.height) == (48, 32)
    assert header.is_turned == (orientation != 1)
    with opened_image(path) as image:
        assert image.size == (48, 32)


def test_orientation_behind_the_pixels_is_seen_in_the_header(put: Put) -> None:
    """A PNG may have its EXIF data after its pixels."""
    exif = Image.Exif()
    exif[ORIENTATION] = 8
    path = put("a.png", RGB, exif=exif)
    content = path.read_bytes()
    start = content.index(b"eXIf") - 4
    length = int.from_bytes(content[start : start + 4]) + 12
    chunk, rest = content[start : start + length], content[:start] + content[start + length :]
    path.write_bytes(rest[:-12] + chunk + rest[-12:])
    assert image_header(path)[:2] == (11, 14)
    assert image_header(path).is_turned
    np.testing.assert_array_equal(read_picture(path), np.rot90(RGB))


def test_a_nonsensical_orientation_means_none(put: Put) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 77
    path = put("a.png", RGB, exif=exif)
    np.testing.assert_array_equal(read_picture(path), RGB)
    assert not image_header(path).is_turned


# What is said of them


def facts(*paths: Path) -> ImageFacts:
    of_all = ImageFacts()
    for path in paths:
        of_all.add(path, read_picture(path))
    return of_all


def test_what_reading_did_is_counted_and_said(put: Put) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    paths = [
        put("d.png", PICTURES["RGBA"][0]),
        put("c.png", PICTURES["LA"][0]),
        put("b.jpg", Image.new("CMYK", (8, 8))),
        put("a.png", RGB, exif=exif),
        put("e.png", RGB, exif=exif),
    ]
    for order in (paths, paths[::-1]):
        assert facts(*order).rule().notes == (
            "2 images are transparent, such as c.png: transparency was left out and the colours under it kept",
            "1 image is in CMYK, b.jpg: converted to RGB without a colour profile",
            "2 images were stored turned, such as a.png: made upright as the EXIF orientation says",
        )


def test_nothing_is_said_where_nothing_was_done(put: Put) -> None:
    rule = facts(put("a.png", RGB), put("b.png", palette_picture()), put("c.bmp", GREY)).rule()
    assert (rule.channels, rule.notes) == (3, ())


def test_a_given_header_saves_reading_it_again(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put("a.png", PICTURES["RGBA"][0])
    header, picture = image_header(path), read_picture(path)
    monkeypatch.delattr("isdm.data.image_rules.image_header")
    of_all = ImageFacts()
    of_all.add(path, picture, header)
    assert len(of_all.rule().notes) == 1


def test_a_palette_of_greys_is_grey(put: Put) -> None:
    picture = Image.fromarray(INDICES)
    picture.putpalette([index * 40 for index in range(6) for _ in range(3)])
    path = put("a.png", picture)
    assert image_header(path).maybe_coloured
    assert facts(path).rule().channels == 1
