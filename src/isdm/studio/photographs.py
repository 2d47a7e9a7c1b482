"""Real photographs to paint into: the training pictures, and what people upload."""

from collections import OrderedDict
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import NamedTuple

import numpy as np

from isdm.data.fitting import fit_pair
from isdm.data.image_files import ImageArray, MaskArray, image_header, read_image
from isdm.errors import DataError
from isdm.studio.bench import Bench
from isdm.synthesis.backgrounds import largest_crop, window_of_import
from isdm.synthesis.held_out import Fault, faults_of

MOST_BYTES = 20_000_000
MOST_PIXELS = 25_000_000
"""Of an upload: enough for a camera, too few to fill the memory (it is decoded to 75 MB)."""
MOST_UPLOADS = 32

_REFUSED: dict[Fault, str] = {
    "flat": "has a single colour",
    "shown": "shows what a validation or test image shows",
    "named": "has the name of a validation or test image (rename it if it is another picture)",
    "defect": "has the name of a training pair with a defect (rename it if it is another picture)",
}


@dataclass(frozen=True)
class Photograph:
    """A real picture at the network's size."""

    name: str
    group: str
    image: ImageArray
    """(H, W, C)."""
    mask: MaskArray
    """(H, W) what it shows already."""
    file: Path | None = None
    """An upload's file."""


class _Upload(NamedTuple):
    name: str
    file: Path


class Photographs:
    """Gives photographs by name: `train/3` is the fourth training pair, `upload/1` the first upload."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._pairs = [] if bench.dataset is None else bench.dataset.pairs("train")
        self._folder = TemporaryDirectory(prefix="isdm-studio-")
        self._uploads: OrderedDict[str, _Upload] = OrderedDict()
        self._numbers = count(1)
        self._lock = Lock()

    @property
    def names(self) -> list[str]:
        """Stems of the training pairs."""
        return [pair.stem for pair in self._pairs]

    def get(self, key: str) -> Photograph:
        """The photograph of that name.

        Raises:
            DataError: there is none.
        """
        kind, _, number = key.partition("/")
        if kind == "train" and number.isdecimal() and int(number) < len(self._pairs):
            assert self._bench.dataset is not None
            pair = self._pairs[int(number)]
            image, mask = fit_pair(*self._bench.dataset.load(pair), self._bench.size, "stretch")
            return Photograph(pair.stem, pair.group, image, mask)
        upload = self._uploads.get(key)
        if upload is None:
            raise DataError(f"There is no photograph {key!r} any more; choose or upload it again.")
        return self._fitted(upload)

    def add(self, name: str, content: bytes) -> str:
        """Keep an uploaded file; gives the name to get it by.

        Raises:
            DataError: it is no image that can be painted into, or too large.
        """
        number = next(self._numbers)
        file = Path(self._folder.name) / f"upload-{number}"
        file.write_bytes(content)
        try:
            header = image_header(file)
            if header.width * header.height > MOST_PIXELS:
                raise DataError(
                    f"{name} has {header.width}x{header.height} pixels; at most {MOST_PIXELS:,} are taken: scale it "
                    f"down first."
                )
            self._fitted(_Upload(name, file))
        except DataError as error:
            file.unlink()
            raise DataError(str(error).replace(str(file), name)) from None
        with self._lock:
            key = f"upload/{number}"
            self._uploads[key] = _Upload(name, file)
            while len(self._uploads) > MOST_UPLOADS:
                self._uploads.popitem(last=False)[1].file.unlink(missing_ok=True)
        return key

    def check_not_held_out(self, photograph: Photograph) -> None:
        """Refuse an upload that must not come into training: a held-out picture's, or one with a defect already.

        Raises:
            DataError: it does.
        """
        if photograph.file is None or self._bench.dataset is None:
            return
        info = self._bench.dataset.info
        painted = range(1, info.num_classes) if info.has_background else ()
        (fault,) = faults_of([photograph.file], [Path(photograph.name).stem], self._bench.dataset, painted)
        if fault is not None:
            raise DataError(
                f"{photograph.name} {_REFUSED[fault]}; pairs made of it would spoil the study. Paint into another "
                f"photograph."
            )

    def _fitted(self, upload: _Upload) -> Photograph:
        """The middle of an upload at the network's size.

        It is as large as the windows that the dataset was cut into, so that defects keep their size; where there are
        none or the upload is smaller, as large as the network's aspect ratio allows.
        """
        info, size = self._bench.info, self._bench.size
        image = read_image(upload.file, info.channels, info.bit_depth)
        window = None if self._bench.dataset is None else window_of_import(self._bench.dataset)
        if window is None or window[0] > image.shape[0] or window[1] > image.shape[1]:
            window = largest_crop(image.shape[:2], size)
        height, width = window
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        part = np.ascontiguousarray(image[top : top + height, left : left + width])
        fitted, mask = fit_pair(part, np.zeros((height, width), np.uint8), size, "stretch")
        return Photograph(upload.name, Path(upload.name).stem, fitted, mask, upload.file)
