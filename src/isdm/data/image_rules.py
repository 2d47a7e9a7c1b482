"""What the values of a source's images mean, found from all images at once and stated in sentences.

no image of 16 bits, none in colour    grey, 8 bits
no image of 16 bits, some in colour    RGB, 8 bits
any grey image of 16 bits              grey, 16 bits; the bits that are really used are stretched to all 16

Whatever an image loses or has done to it on the way (transparency, other colours than RGB, EXIF orientation)
is counted and said as well.
"""

from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np

from isdm.data.image_files import ImageArray, ImageHeader, image_header, read_image, read_picture
from isdm.errors import DataError

LARGEST = 2**16 - 1
_SMALLEST = np.zeros((1, 1, 1), np.uint8)
"""Stands for the pixels of an image whose header tells enough."""
CONVERTED_MODES = {"CMYK": "CMYK", "LAB": "CIE Lab", "YCbCr": "YCbCr"}


@dataclass(frozen=True)
class ImageRule:
    """How the images of one source become those of a dataset."""

    channels: int
    bit_depth: int
    used_bits: int
    """Of images of 16 bits: values up to 2**used_bits - 1 are stretched to 65535."""
    notes: tuple[str, ...] = ()

    def load(self, path: Path) -> ImageArray:
        """Decode the image at `path` as (H, W, channels) uint8 or uint16."""
        if self.bit_depth == 8:
            return read_image(path, self.channels)
        picture = read_picture(path)
        bits = 8 if picture.dtype == np.uint8 else self.used_bits
        return stretched(picture[:, :, :1], bits)


def stretched(values: ImageArray, bits: int) -> ImageArray:
    """Stretch whole values 0 to 2**bits - 1 linearly to 0 to 65535, rounded to nearest, as uint16."""
    top = 2**bits - 1
    products = values.astype(np.uint32) * LARGEST  # at most 65535**2, which 32 bits hold with half a step beside it
    whole: ImageArray = ((products + top // 2) // top).astype(np.uint16)
    return whole


@dataclass
class _Kind:
    """How many images are of a kind, and one of them: the first by path, in whatever order they are added."""

    count: int = 0
    example: Path | None = None

    def add(self, path: Path) -> None:
        self.count += 1
        self.example = path if self.example is None else min(path, self.example)

    def note(self, one: str, several: str, rest: str) -> list[str]:
        if self.example is None:
            return []
        number = f"1 image {one}, {self.example.name}" if self.count == 1 else f"{self.count} images {several}"
        return [number + (f", such as {self.example.name}" if self.count > 1 else "") + f": {rest}"]


class ImageFacts:
    """What the images of a source hold; `add` each, from any thread, then ask for the `rule`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._coloured, self._wide, self._transparent, self._turned = _Kind(), _Kind(), _Kind(), _Kind()
        self._converted: dict[str, _Kind] = {}
        self._num_eight_bits = 0
        self._largest = 0

    def look_at(self, path: Path) -> None:
        """Take note of an image file; it is decoded only where its header does not tell enough.

        Raises:
            DataError: the file cannot be used.
        """
        header = image_header(path)
        undecided = header.maybe_coloured and self._coloured.example is None
        picture = read_picture(path) if header.is_wide or undecided else _SMALLEST
        self.add(path, picture, header)

    def add(self, path: Path, picture: ImageArray, header: ImageHeader | None = None) -> None:
        """Take note of an image as `read_picture` gives it; its header is read where it is not given."""
        header = image_header(path) if header is None else header
        is_wide = picture.dtype == np.uint16
        largest = int(picture.max()) if is_wide else 0
        known = self._coloured.example
        coloured = (not is_wide and header.maybe_coloured and (known is None or path < known)) and bool(
            (picture != picture[:, :, :1]).any()
        )
        with self._lock:
            if header.has_alpha:
                self._transparent.add(path)
            if header.is_turned:
                self._turned.add(path)
            if header.mode in CONVERTED_MODES:
                self._converted.setdefault(header.mode, _Kind()).add(path)
            if is_wide:
                self._wide.add(path)
            if coloured:
                self._coloured.add(path)
            self._largest = max(self._largest, largest)
            self._num_eight_bits += not is_wide

    def rule(self, used_bits: int | None = None) -> ImageRule:
        """The rule that all images follow.

        Args:
            used_bits: bits that the values of 16-bit images use, where the source says so; else found.

        Raises:
            DataError: some images have 16 bits and others colours.
        """
        if self._wide.example is None:
            return ImageRule(1 if self._coloured.example is None else 3, 8, 8, tuple(self._changes()))
        if self._coloured.example is not None:
            raise DataError(
                f"{self._wide.example} has 16 bits but {self._coloured.example} is in colour; a dataset of 16 bits "
                f"must be grey: convert the ones to 8 bits or the others to grey"
            )
        bits = used_bits or max(8, self._largest.bit_length())
        notes = [f"values use {bits} of 16 bits; 0 to {2**bits - 1} became 0 to {LARGEST}"]
        if bits == 16:
            notes = ["values of 16 bits were kept as they are"]
        if self._num_eight_bits:
            notes.append(f"{self._num_eight_bits} images have 8 bits; 0 to 255 became 0 to {LARGEST}")
        return ImageRule(1, 16, bits, tuple(notes + self._changes()))

    def _changes(self) -> list[str]:
        """Sentences on what reading did to some of the images."""
        notes = self._transparent.note(
            "is transparent", "are transparent", "transparency was left out and the colours under it kept"
        )
        for mode, kind in sorted(self._converted.items()):
            name = CONVERTED_MODES[mode]
            notes += kind.note(f"is in {name}", f"are in {name}", "converted to RGB without a colour profile")
        return notes + self._turned.note(
            "was stored turned", "were stored turned", "made upright as the EXIF orientation says"
        )
