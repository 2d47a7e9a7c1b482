"""Pictures without any defect: nobody has to draw masks for them, as all of each is background."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from isdm.data.image_files import MaskArray, read_picture
from isdm.data.layouts.source import SourcePair, image_files, of_file
from isdm.errors import DataError

ENDING = "_defect_free"


def read_defect_free(folder: Path, taken_stems: Collection[str]) -> list[SourcePair]:
    """Make a pair for the training split of each picture in a folder and below.

    Args:
        folder: pictures of any names; a name in `taken_stems` gets an ending.
        taken_stems: names of the source's own pairs.

    Raises:
        DataError: the folder is missing or holds no picture.
    """
    if not folder.is_dir():
        raise DataError(f"defect_free = {folder} is not a folder; give one with pictures without any defect.")
    pairs = []
    read = of_file(background_mask)
    for path in image_files(folder):
        stem = path.relative_to(folder).with_suffix("").as_posix().replace("/", "_")
        while stem in taken_stems:
            stem += ENDING
        pairs.append(SourcePair.of(path, path, stem, read, train_only=True))
    if not pairs:
        raise DataError(f"defect_free = {folder} holds no picture; put them there, or leave the option out.")
    return pairs


def background_mask(image: Path) -> MaskArray:
    """The mask (H, W) of a picture that shows background alone."""
    return np.zeros(read_picture(image).shape[:2], np.uint8)
