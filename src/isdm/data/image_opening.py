"""Image files opened with care, whatever they are: a file is what its first bytes say, and must be named so.

Only the formats below are opened, each by its own decoder, so that no other decoder ever sees hostile bytes.
Whatever is wrong with a file becomes a `DataError` that names it.
"""

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from isdm.errors import DataError

MOST_PIXELS = 89_478_485
"""A quarter of a GiB in RGB; beyond, Pillow itself suspects a decompression bomb."""
MOST_PAGES = 255

WIDE_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")
"""Pillow's modes of grey images with more than 8 bits."""

_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_SUBFILE = 256, 257, 258, 262, 254
_TIFF_WHITE_IS_ZERO, _TIFF_REDUCED = 0, 1
_EXIF_ORIENTATION = 0x0112
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright whose EXIF orientation is the key."""
_SWAPS_SIDES = (5, 6, 7, 8)

# What decoders raise on damaged files, found by damaging thousands. Only their calls are guarded with it.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    RuntimeError,
    EOFError,
    MemoryError,
    Warning,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

# What is odd in tags that nobody reads is no user's concern.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class Format(NamedTuple):
    """A format of image files."""

    name: str
    decoder: Callable[[IO[bytes]], ImageFile]
    suffixes: tuple[str, ...]
    """The usual one first."""


_FORMATS = (
    Format("PNG", PngImageFile, (".png", ".apng")),
    Format("JPEG", JpegImageFile, (".jpg", ".jpeg", ".jpe", ".jfif")),  # the first picture of those with several, too
    Format("TIFF", TiffImageFile, (".tif", ".tiff")),
    Format("BMP", BmpImageFile, (".bmp", ".dib")),
    Format("WebP", WebPImageFile, (".webp",)),
)
_PNG, _JPEG, _TIFF, _BMP, _WEBP = _FORMATS
READABLE = "PNG, JPEG, TIFF, BMP or WebP"

_STARTS = {
    _PNG_MAGIC: _PNG,
    b"\xff\xd8\xff": _JPEG,
    b"II*\0": _TIFF,
    b"MM\0*": _TIFF,
    b"II+\0": _TIFF,
    b"MM\0+": _TIFF,
    b"BM": _BMP,
}
_OTHER_STARTS = {
    b"GIF8": "a GIF",
    b"%PDF": "a PDF",
    b"8BPS": "a Photoshop",
    b"PK\x03\x04": "a ZIP",
    b"\x1f\x8b": "a gzip",
    b"\0\0\0\x0cjP  ": "a JPEG 2000",
    b"\xffO\xffQ": "a JPEG 2000",
    b"\x93NUMPY": "a NumPy",
    b"<svg": "an SVG",
    b"<?xml": "an XML",
    b"<!DOC": "a web page's",
    b"<html": "a web page's",
    b"{": "a JSON",
    b"version https://git-lfs": "a Git LFS pointer",
}


@contextmanager
def refused_by_name(path: Path) -> Iterator[None]:
    """Turn whatever Pillow raises about the file at `path` into a `DataError` that names it."""
    try:
        yield
    except FileNotFoundError:
        if path.is_symlink():
            raise DataError(
                f"{path} is a link to {path.readlink()}, which is missing; restore it, or remove the link."
            ) from None
        raise DataError(f"{path} is missing.") from None
    except PermissionError:
        raise DataError(f"{path} cannot be read as an image (permission denied); give yourself the right.") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder, not an image; rename or remove it.") from None
    except DAMAGE as error:
        what = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{path} cannot be read as an image ({what}); replace or remove it.") from None


@contextmanager
def undecoded_image(path: Path) -> Iterator[ImageFile]:
    """Open an image and read no more than its header; it can be decoded until the block ends.

    Raises:
        DataError: the file cannot be opened, is no image that can be read, is named like one of another format,
            has no pixels or too many, or values that Pillow would change without a word.
    """
    with refused_by_name(path):
        file = path.open("rb")
    with file:
        with refused_by_name(path):
            kind = _format(file.read(32), path)
            file.seek(0)
            image = kind.decoder(file)
        _refuse_size(*image.size, path)
        _refuse_what_pillow_changes(image, path)
        yield image


def decode(image: ImageFile, path: Path) -> Image.Image:
    """Decode an opened image, or the page of it that was sought, and turn it upright as its EXIF data say."""
    with refused_by_name(path):
        if isinstance(image, PngImageFile):
            _check_chunks(image)
        image.load()
        turn = _TURNS.get(image.getexif().get(_EXIF_ORIENTATION, 1))
        return image if turn is None else image.transpose(turn)


def refuse_pages(image: ImageFile, path: Path) -> None:
    """Refuse a file with more than one picture."""
    count = len(pages(image, path))
    if count > 1:
        many = f"{count}" if count <= MOST_PAGES else f"more than {MOST_PAGES}"
        raise DataError(
            f"{path} holds {many} pictures (pages or frames of an animation), but one a file is needed: save the one "
            f"that is meant."
        )


def pages(image: ImageFile, path: Path) -> list[int]:
    """Numbers of the pictures in an opened file, at most `MOST_PAGES` + 1; a TIFF's thumbnails are left out."""
    with refused_by_name(path):
        if not isinstance(image, TiffImageFile):
            return list(range(min(getattr(image, "n_frames", 1), MOST_PAGES + 1)))
        if not image.is_animated:
            return [0]
        found = [0]
        for number in range(1, MOST_PAGES + 1):
            try:
                image.seek(number)
            except EOFError:
                break
            kind = image.tag_v2.get(_TIFF_SUBFILE, 0)
            if not (isinstance(kind, int) and kind & _TIFF_REDUCED):
                found.append(number)
            _refuse_size(*image.size, path)
        image.seek(0)
        return found


def orientation_of(image: ImageFile, path: Path) -> int:
    """The EXIF orientation of an image that is not decoded yet: 1 is upright."""
    with refused_by_name(path):
        if isinstance(image, PngImageFile) and "exif" not in image.info:
            _read_late_exif(image)
        orientation = Image.Image.getexif(image).get(_EXIF_ORIENTATION, 1)  # PngImageFile's own would decode
        return orientation if orientation in _TURNS else 1


def upright_size(image: ImageFile, path: Path) -> tuple[int, int]:
    """Width and height that an image will have when it is decoded and upright."""
    width, height = image.size
    if isinstance(image, TiffImageFile):  # whose size Pillow may have turned already
        width, height = image.tag_v2[_TIFF_WIDTH], image.tag_v2[_TIFF_HEIGHT]
    return (height, width) if orientation_of(image, path) in _SWAPS_SIDES else (width, height)


def _format(head: bytes, path: Path) -> Format:
    """The format that the first bytes tell; it must be the one that the file's name tells."""
    kind = next((found for start, found in _STARTS.items() if head.startswith(start)), None)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        kind = _WEBP
    suffix = path.suffix.lower()
    if kind is None:
        raise DataError(f"{path} cannot be read as an image ({_content(head)}); replace or remove it.")
    named = next((other for other in _FORMATS if suffix in other.suffixes), kind)
    if named is not kind:
        raise DataError(
            f"{path} is a {kind.name} file named {path.suffix}; the name must say what it is: rename it to "
            f"{path.stem}{kind.suffixes[0]}"
        )
    return kind


def _content(head: bytes) -> str:
    if not head:
        return "it is empty, 0 bytes"
    start = head.lstrip().lower()
    told = next((what for magic, what in _OTHER_STARTS.items() if start.startswith(magic.lower())), None)
    if head[4:8] == b"ftyp":
        told = "an AVIF" if head[8:12] in (b"avif", b"avis") else "a HEIC or video"
    return f"it is {told} file, not {READABLE}" if told else f"it does not begin like {READABLE}"


def _refuse_size(width: int, height: int, path: Path) -> None:
    if width < 1 or height < 1:
        raise DataError(f"{path} cannot be read as an image (it has {width}x{height} pixels); replace or remove it.")
    if width * height > MOST_PIXELS:
        raise DataError(
            f"{path} says it has {width}x{height} pixels, which is too large to be decoded safely (at most "
            f"{MOST_PIXELS:,} pixels, or it may be a decompression bomb): cut it into parts or scale it down."
        )


def _refuse_what_pillow_changes(image: ImageFile, path: Path) -> None:
    """Refuse files of 16 bits that Pillow would decode to other values without a word."""
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    if image.mode in (*WIDE_MODES, "F"):
        if tags.get(_TIFF_PHOTOMETRIC) == _TIFF_WHITE_IS_ZERO:
            raise DataError(f"{path} stores more than 8 bits with white as zero; save it with black as zero.")
        return
    with refused_by_name(path):
        bits = max(tags.get(_TIFF_BITS, (8,)))
        stored = [str(part[3]) for part in image.tile] if isinstance(image, PngImageFile) else []
    if any(kind.endswith(";16B") for kind in stored):
        bits = 16
    if bits > 8:
        kind = "grey with transparency" if stored == ["LA;16B"] else "colour"
        raise DataError(
            f"{path} has {bits} bits a channel in {kind}; only grey images can have more than 8: save it as "
            f"16-bit grey, or with 8 bits a channel."
        )


def _check_chunks(image: PngImageFile) -> None:
    """Check that a PNG file is whole: Pillow does not compare the check sums of pixels, nor miss the end."""
    file = image.fp
    assert file is not None
    here = file.tell()
    file.seek(0)
    content = memoryview(file.read())
    file.seek(here)
    at, kind = len(_PNG_MAGIC), b""
    while kind != b"IEND":
        end = at + 12 + int.from_bytes(content[at : at + 4])
        kind = bytes(content[at + 4 : at + 8])
        if at + 12 > len(content) or end > len(content):
            raise OSError("image file is truncated")
        if zlib.crc32(content[at + 4 : end - 4]) != int.from_bytes(content[end - 4 : end]):
            raise OSError(f"the check sum of its part {kind.decode('latin-1')} is wrong")
        at = end


def _read_late_exif(image: PngImageFile) -> None:
    """Note EXIF data that stand behind the pixels, without decoding these."""
    file = image.fp
    assert file is not None
    here, at = file.tell(), len(_PNG_MAGIC)
    while True:
        file.seek(at)
        start = file.read(8)
        if len(start) < 8 or start[4:] == b"IEND":
            break
        if start[4:] == b"eXIf":
            image.info["exif"] = b"Exif\0\0" + file.read(int.from_bytes(start[:4]))
            break
        at += 12 + int.from_bytes(start[:4])
    file.seek(here)
