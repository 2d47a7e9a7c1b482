"""Photographs that nothing may be painted into: those of held-out pictures, and those that show a defect already."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from isdm import provenance
from isdm.config import Fit
from isdm.data.dataset import SPLITS, Pair, SegmentationDataset
from isdm.data.fitting import fit_pair
from isdm.data.image_files import ImageArray, image_header, picture_digest, read_image
from isdm.data.near_duplicates import find_near_duplicates
from isdm.data.similarity import SIDE_PX, thumbnail
from isdm.errors import DataError
from isdm.progress import say, track

TELLING_PX = 64
"""Pictures with a shorter side show too little to recognise another photograph of the same thing."""
WINDOW = re.compile(r"_y\d{5,}_x\d{5,}$")
"""What the import adds to a picture's name for each window of it."""

Fault = Literal["flat", "shown", "named", "defect"]

WHY: dict[Fault, str] = {
    "flat": "have a single colour",
    "shown": "show what validation or test images show",
    "named": "have the name of a validation or test image (rename those that are other pictures)",
    "defect": "have the name of a training pair with a defect (rename those that are other pictures)",
}


def without_held_out(files: Sequence[Path], dataset: SegmentationDataset, painted: Sequence[int]) -> list[Path]:
    """Leave out photographs that would leak into training or are not free of defects, and say how many.

    Args:
        files: the photographs.
        dataset: the real dataset.
        painted: ids of the classes that are painted into them.

    Raises:
        DataError: nothing is left.
    """
    faults = faults_of(files, [path.stem for path in files], dataset, painted)
    _say_where_too_small(dataset)
    for fault, why in WHY.items():
        count = faults.count(fault)
        if count:
            say(f"{count} of {len(files)} photographs {why}: left out.")
    kept = [path for path, fault in zip(files, faults, strict=True) if fault is None]
    if not kept:
        raise DataError(
            "Every photograph has one colour, shows what a held-out image shows, or has the name of one or of a "
            "pair with a defect; give others."
        )
    return kept


def faults_of(
    files: Sequence[Path], stems: Sequence[str], dataset: SegmentationDataset, painted: Sequence[int]
) -> list[Fault | None]:
    """What is wrong with each of the photographs; None where nothing is.

    They are brought to the dataset's size as its import did it: the fine grain by which pictures are recognised
    is another one in a large photograph than in the small picture that was made of it. Files of a single colour,
    such as the empty masks that some datasets keep beside their photographs, are no photographs.

    Args:
        files: the photographs.
        stems: (N,) their names without extensions.
        dataset: the real dataset.
        painted: ids of the classes that are painted into them.
    """
    held_out = [pair for split in SPLITS if split != "train" for pair in dataset.pairs(split)]
    shown, flat = _shown(files, [pair.image for pair in held_out], dataset)
    named = {_source_name(pair) for pair in held_out} | {pair.stem for pair in held_out}
    asked = set(stems) - named
    with_defect = {
        name
        for pair in dataset.pairs("train")
        for name in {pair.stem, _source_name(pair)} & asked
        if np.isin(dataset.load_mask(pair), painted).any()
    }

    def fault(row: int, stem: str) -> Fault | None:
        if row in flat:
            return "flat"
        if row in shown:
            return "shown"
        return "named" if stem in named else "defect" if stem in with_defect else None

    return [fault(row, stem) for row, stem in enumerate(stems)]


def _say_where_too_small(dataset: SegmentationDataset) -> None:
    held_out = (pair for split in SPLITS if split != "train" for pair in dataset.pairs(split))
    header = next((image_header(pair.image) for pair in held_out), None)
    if header is not None and min(header.width, header.height) < TELLING_PX:
        say(
            f"The dataset's pictures are {header.width}x{header.height} pixels; only from {TELLING_PX} on is another "
            f"photograph of what a held-out one shows recognised: see to it that there is none among these."
        )


def _source_name(pair: Pair) -> str:
    """The name of the picture that a pair is, or is a window of."""
    return WINDOW.sub("", pair.stem)


def _shown(
    files: Sequence[Path], held_out: Sequence[Path], dataset: SegmentationDataset
) -> tuple[set[int], set[int]]:
    """Rows of the photographs that show what held-out pictures show, and of those of a single colour."""
    info, fit = dataset.info, _fit_of(dataset)
    everything = [*held_out, *files]
    thumbnails = np.zeros((len(everything), SIDE_PX, SIDE_PX), np.uint8)
    digests: list[str] = []
    sizes: set[tuple[int, int]] = set()
    flat = set()
    for row, path in enumerate(track(everything, "Reading photographs", total=len(everything))):
        image = read_image(path, info.channels, info.bit_depth)
        if row < len(held_out):
            sizes.add((image.shape[0], image.shape[1]))
        else:
            if image.min() == image.max():
                flat.add(row - len(held_out))
            image = _fitted(image, sizes, fit)
        thumbnails[row] = thumbnail(image)
        digests.append(picture_digest(image))
    same = {match.second for match in find_near_duplicates(thumbnails) if match.first < len(held_out)}
    known = set(digests[: len(held_out)])
    same |= {row for row, digest in enumerate(digests) if digest in known}
    return {row - len(held_out) for row in same if row >= len(held_out)}, flat


def _fitted(image: ImageArray, sizes: set[tuple[int, int]], fit: Fit) -> ImageArray:
    """A photograph at the one size that all pictures of the dataset have; as it is where they have several."""
    if len(sizes) != 1:
        return image
    return fit_pair(image, np.zeros(image.shape[:2], np.uint8), min(sizes), fit)[0]


def _fit_of(dataset: SegmentationDataset) -> Fit:
    """How the dataset's import brought pictures to its size; tiles are recognised by their names alone."""
    record = provenance.read(dataset.folder)
    fit = None if record is None else record.config.get("fit")
    return "pad" if fit == "pad" else "crop" if fit == "crop" else "stretch"
