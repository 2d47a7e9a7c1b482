"""Image files that cannot be used: each is refused with its name, what it is, and what to do about it."""

import io
import os
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from isdm.data.image_files import image_header, opened_image, read_mask, read_picture
from isdm.data.image_opening import MOST_PAGES, MOST_PIXELS
from isdm.data.instances import read_instances
from isdm.errors import DataError
from rawfiles import png_chunk, write_png_rows, write_tiff

Put = Callable[..., Path]
Reader = Callable[[Path], object]
FORMATS = {"PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif", "BMP": ".bmp", "WebP": ".webp"}
SHOWN = np.add.outer(np.arange(40) * 5, np.arange(56) * 4)[:, :, None] % 256 + np.zeros(3)
READERS: list[Reader] = [read_picture, image_header]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # isdm's own filter, which pytest takes away


def encoded(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(SHOWN.astype(np.uint8)).save(buffer, kind, **options)
    return buffer.getvalue()


def complaint(read: Reader, path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


# Named like something else


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("named", FORMATS)
@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_must_be_named_like_what_it_is(tmp_path: Path, kind: str, named: str, read: Reader) -> None:
    path = tmp_path / f"a{FORMATS[named]}"
    path.write_bytes(encoded(kind))
    if kind == named:
        read(path)
    else:
        expected = f"{path} is a {kind} file named {path.suffix}; the name must say what it is: rename it to a"
        assert complaint(read, path) == expected + FORMATS[kind]


@pytest.mark.parametrize("name", ["a.JPG", "a.jpeg", "a.jpe", "a.jfif", "a.JPEG"])
def test_a_jpeg_has_several_names(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(encoded("JPEG"))
    assert read_picture(tmp_path / name).shape == (40, 56, 3)


def test_a_name_that_says_nothing_is_no_contradiction(tmp_path: Path) -> None:
    for name in ("a", "a.part", "a.image"):
        (tmp_path / name).write_bytes(encoded("PNG"))
        np.testing.assert_array_equal(read_picture(tmp_path / name), SHOWN)


def test_a_phones_jpeg_with_a_second_picture_gives_the_first(tmp_path: Path) -> None:
    first, second = Image.fromarray(SHOWN.astype(np.uint8)), Image.new("RGB", (20, 20))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    with Image.open(tmp_path / "a.jpg") as stored:
        assert (stored.format, stored.n_frames) == ("MPO", 2)
    assert image_header(tmp_path / "a.jpg")[:2] == (56, 40)
    assert read_picture(tmp_path / "a.jpg").shape == (40, 56, 3)


@pytest.mark.parametrize("read", [*READERS, read_mask, read_instances])
def test_masks_and_instance_maps_follow_the_same_rules(tmp_path: Path, read: Reader) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded("BMP"))
    assert "is a BMP file named .png" in complaint(read, path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "it is empty, 0 bytes"),
        (b"GIF89a" + bytes(20), "it is a GIF file, not PNG, JPEG, TIFF, BMP or WebP"),
        (b"%PDF-1.7", "it is a PDF file"),
        (b"\n <!DOCTYPE html><html>404</html>", "it is a web page's file"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "it is a Git LFS pointer file"),
        (b'{"shapes": []}', "it is a JSON file"),
        (b"\0\0\0\x1cftypavif", "it is an AVIF file"),
        (b"\0\0\0\x1cftypheic", "it is a HEIC or video file"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "it is a JPEG 2000 file"),
        (b"PK\x03\x04", "it is a ZIP file"),
        (b"not a picture", "it does not begin like PNG, JPEG, TIFF, BMP or WebP"),
        (bytes(100), "it does not begin like PNG"),
        (b"\x89PNG\r\n\x1a\n", ""),
        (b"\xff\xd8\xff", ""),
        (b"II*\0", ""),
        (b"BM", ""),
        (b"RIFF\0\0\0\0WEBP", ""),
    ],
)
@pytest.mark.parametrize("read", READERS)
def test_what_is_no_image_is_called_what_it_is(tmp_path: Path, content: bytes, what: str, read: Reader) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    if not what:  # the beginning of an image, and no more
        path = path.rename(tmp_path / "a")
    text = complaint(read, path)
    assert text.startswith(f"{path} cannot be read as an image ({what}")
    assert text.endswith("; replace or remove it.")


# Damaged


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("BMP", {}),
        ("WebP", {"lossless": True}),
        ("WebP", {}),
    ],
)
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path, kind: str, options: dict[str, object]) -> None:
    content = encoded(kind, **options)
    path = tmp_path / f"a{FORMATS[kind]}"
    for length in {*range(0, len(content), max(len(content) // 60, 1)), *range(len(content) - 12, len(content))}:
        path.write_bytes(content[:length])
        assert "cannot be read as an image" in complaint(read_picture, path)


def test_a_single_changed_bit_in_a_png_is_found(tmp_path: Path) -> None:
    """Pillow compares no check sum of pixels; their compression hides many changes."""
    content = encoded("PNG")
    path = tmp_path / "a.png"
    for place in range(8, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 4
        path.write_bytes(damaged)
        complaint(read_picture, path)


def test_what_follows_a_png_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded("PNG") + b"more")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), SHOWN)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_file_is_read_or_refused_by_name_and_never_else(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(len(kind))
    content = np.frombuffer(encoded(kind), np.uint8)
    path = tmp_path / f"a{FORMATS[kind]}"
    for _ in range(150):
        damaged = content.copy()
        places = rng.integers(0, min(len(content), rng.choice([64, 400, 10**6])), rng.choice([1, 2, 8]))
        damaged[places] = rng.integers(0, 256, len(places))
        path.write_bytes(damaged.tobytes())
        sizes = set()
        for read in READERS:
            outcome = size_or_complaint(read, path)
            if isinstance(outcome, str):
                assert str(path) in outcome
            else:
                sizes.add(outcome)
        assert len(sizes) <= 1, "the header tells another size than the pixels"


def size_or_complaint(read: Reader, path: Path) -> tuple[int, int] | str:
    try:
        result = read(path)
    except DataError as error:
        return str(error)
    width, height, *_ = result if isinstance(result, tuple) else np.shape(result)[1::-1]
    return width, height


# Too large, or without pixels


def zeros_tiff(path: Path, width: int, height: int) -> Path:
    """A TIFF that says it has this size, with a few pixels."""
    content = bytearray(write_tiff(path, np.zeros((2, 2), np.uint8)).read_bytes())
    for index, value in ((0, width), (1, height)):
        content[8 + 2 + 12 * index + 8 : 8 + 2 + 12 * index + 12] = struct.pack("<I", value)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("size", [(9_460, 9_460), (14_000, 14_000), (60_000, 60_000)])
@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "JPEG"])
@pytest.mark.parametrize("read", [*READERS, read_mask])
def test_a_decompression_bomb_is_refused_from_its_header(
    tmp_path: Path, kind: str, size: tuple[int, int], read: Reader
) -> None:
    """At the first size Pillow would warn and go on, at the others refuse."""
    width, height = size
    path = tmp_path / f"a{FORMATS[kind]}"
    content = bytearray(encoded(kind))
    if kind == "PNG":
        write_png_rows(path, width, height, 8, bytes(1000))
    elif kind == "TIFF":
        zeros_tiff(path, width, height)
    elif kind == "BMP":
        content[18:26] = struct.pack("<2i", width, height)
        path.write_bytes(content)
    else:
        start = content.index(b"\xff\xc0") + 5
        content[start : start + 4] = struct.pack(">2H", height, width)
        path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = complaint(read, path)
    assert f"says it has {width}x{height} pixels, which is too large to be decoded safely" in text
    assert f"(at most {MOST_PIXELS:,} pixels, or it may be a decompression bomb): cut it" in text


def test_a_large_page_of_a_tiff_is_refused(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.tif", save_all=True, append_images=[Image.new("L", (30, 4))])
    content = (tmp_path / "a.tif").read_bytes()
    entry = struct.pack("<HHI", 256, 4, 1) + struct.pack("<I", 30)
    if entry not in content:
        entry = struct.pack("<HHI", 256, 3, 1) + struct.pack("<I", 30)
    assert content.count(entry) == 1
    (tmp_path / "a.tif").write_bytes(content.replace(entry, struct.pack("<HHII", 256, 4, 1, 10**9)))
    assert "says it has 1000000000x4 pixels" in complaint(image_header, tmp_path / "a.tif")


def test_almost_too_large_is_not_too_large(tmp_path: Path) -> None:
    header = image_header(write_png_rows(tmp_path / "a.png", 9_459, 9_459, 8, bytes(1000)))
    assert header[:2] == (9_459, 9_459)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_an_image_without_pixels_is_refused(tmp_path: Path, size: tuple[int, int], read: Reader) -> None:
    assert "cannot be read" in complaint(read, write_png_rows(tmp_path / "a.png", *size, 8, b""))
    assert "cannot be read" in complaint(read, zeros_tiff(tmp_path / "a.tif", *size))


def test_a_text_that_swells_is_refused(tmp_path: Path) -> None:
    import zlib

    content = encoded("PNG")
    text = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80 * 2**20)))
    (tmp_path / "a.png").write_bytes(content[:33] + text + content[33:])
    complaint(read_picture, tmp_path / "a.png")


# Several pictures in one


@pytest.mark.parametrize("read", [*READERS, read_mask])
@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.tif"])
def test_several_pictures_in_a_file_are_refused(tmp_path: Path, name: str, read: Reader) -> None:
    frames = [Image.fromarray(np.full((8, 8, 3), 50 * index, np.uint8)) for index in range(3)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    text = complaint(read, tmp_path / name)
    assert "holds 3 pictures (pages or frames of an animation), but one a file is needed: save the one" in text


def test_very_many_pages_are_not_all_counted(tmp_path: Path) -> None:
    pages = [Image.new("1", (1, 1))] * (MOST_PAGES + 20)
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert f"holds more than {MOST_PAGES} pictures" in complaint(image_header, tmp_path / "a.tif")


def test_thumbnails_and_smaller_copies_do_not_count(tmp_path: Path) -> None:
    small = Image.new("RGB", (20, 28))
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[254] = 1
    small.encoderinfo = {"tiffinfo": tags}
    picture = Image.fromarray(SHOWN.astype(np.uint8))
    with TiffImagePlugin.AppendingTiffWriter(str(tmp_path / "a.tif"), True) as writer:
        picture.save(writer, "TIFF")
        writer.newFrame()
        small.save(writer, "TIFF", tiffinfo=tags)
        writer.newFrame()
    with Image.open(tmp_path / "a.tif") as stored:
        assert stored.n_frames == 2
    assert image_header(tmp_path / "a.tif")[:2] == (56, 40)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif"), SHOWN)


# Not there, or not to be opened


@pytest.mark.parametrize("read", READERS)
def test_what_is_not_there_is_told_from_what_leads_nowhere(tmp_path: Path, read: Reader) -> None:
    assert complaint(read, tmp_path / "a.png").endswith("a.png is missing.")
    (tmp_path / "b.png").symlink_to("gone.png")
    text = complaint(read, tmp_path / "b.png")
    assert text.endswith("b.png is a link to gone.png, which is missing; restore it, or remove the link.")
    (tmp_path / "c.png").symlink_to("c.png")
    assert "c.png cannot be read as an image" in complaint(read, tmp_path / "c.png")
    (tmp_path / "d.png").mkdir()
    assert complaint(read, tmp_path / "d.png").endswith("d.png is a folder, not an image; rename or remove it.")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("read", READERS)
def test_what_must_not_be_read_is_told(put: Put, read: Reader) -> None:
    path = put("a.png", SHOWN)
    path.chmod(0)
    assert "cannot be read as an image (permission denied); give yourself the right" in complaint(read, path)


def test_what_must_not_be_read_is_told_to_root_too(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = put("a.png", SHOWN)
    monkeypatch.setattr(Path, "open", denied)
    assert "cannot be read as an image (permission denied)" in complaint(read_picture, path)


def test_the_file_is_closed_and_never_written(put: Put) -> None:
    path = put("a.tif", SHOWN)
    before = path.read_bytes()
    with opened_image(path) as image:
        path.unlink()
        assert np.asarray(image).shape == (40, 56, 3)
    path.write_bytes(before[:200])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        complaint(read_picture, path)
    assert path.read_bytes() == before[:200]
