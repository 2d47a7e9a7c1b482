"""What the values of a source's images mean, found from all images at once and stated in a sentence.

no image of 16 bits, none in colour    grey, 8 bits
no image of 16 bits, some in colour    RGB, 8 bits
any grey image of 16 bits              grey, 16 bits; the bits that are really used are stretched to all 16
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isdm.data.image_files import ImageArray, read_image, read_picture
from isdm.errors import DataError

LARGEST = 2**16 - 1


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


class ImageFacts:
    """What the images of a source hold; `add` each, then ask for the `rule`."""

    def __init__(self) -> None:
        self._coloured: Path | None = None
        self._wide: Path | None = None
        self._num_eight_bits = 0
        self._largest = 0

    def add(self, path: Path, picture: ImageArray) -> None:
        """Take note of an image as `read_picture` gives it."""
        if picture.dtype == np.uint16:
            self._wide = self._wide or path
            self._largest = max(self._largest, int(picture.max()))
            return
        self._num_eight_bits += 1
        if self._coloured is None and bool((picture != picture[:, :, :1]).any()):
            self._coloured = path

    def rule(self, used_bits: int | None = None) -> ImageRule:
        """The rule that all images follow.

        Args:
            used_bits: bits that the values of 16-bit images use, where the source says so; else found.

        Raises:
            DataError: some images have 16 bits and others colours.
        """
        if self._wide is None:
            return ImageRule(1 if self._coloured is None else 3, 8, 8)
        if self._coloured is not None:
            raise DataError(
                f"{self._wide} has 16 bits but {self._coloured} is in colour; a dataset of 16 bits must be grey: "
                f"convert the ones to 8 bits or the others to grey"
            )
        bits = used_bits or max(8, self._largest.bit_length())
        notes = [f"values use {bits} of 16 bits; 0 to {2**bits - 1} became 0 to {LARGEST}"]
        if bits == 16:
            notes = ["values of 16 bits were kept as they are"]
        if self._num_eight_bits:
            notes.append(f"{self._num_eight_bits} images have 8 bits; 0 to 255 became 0 to {LARGEST}")
        return ImageRule(1, 16, bits, tuple(notes))
