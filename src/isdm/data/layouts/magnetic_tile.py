"""The magnetic tile photographs in their publisher's layout.

`MT_<kind>/Imgs/exp<E>_num_<N>.jpg` with a mask `.png` of the same stem, 0 to 255 with anti-aliased borders.
One tile was photographed about six times with consecutive numbers N, under other light and partly in other
folders: a step of more than 100 between sorted numbers starts a new tile.
"""

import re
from functools import partial
from pathlib import Path

import numpy as np

from isdm.config import DataConfig
from isdm.data.image_files import MaskArray, read_mask
from isdm.data.layouts.source import Source, SourcePair, of_file
from isdm.data.tree_files import files_in, in_either_case

KINDS = ("MT_Blowhole", "MT_Break", "MT_Crack", "MT_Fray", "MT_Uneven")
CLASS_NAMES = ("background", "blowhole", "break", "crack", "fray", "uneven")
PHOTOGRAPHS = (".jpg", ".jpeg")
MASK_THRESHOLD = 127
LARGEST_STEP_WITHIN_TILE = 100

_NUMBER = re.compile(r"_num_(\d+)$")


def recognises(source: Path) -> bool:
    """A folder with at least one of the publisher's defect folders."""
    return any((source / kind / "Imgs").is_dir() for kind in KINDS)


def read(source: Path, config: DataConfig) -> Source:
    """Pair photographs with masks and group them by tile."""
    images = [image for folder in sorted(source.glob("MT_*/Imgs")) for image in files_in(folder, PHOTOGRAPHS)]
    tiles = _tile_of_number({_number(image) for image in images})
    pairs, problems = [], []
    readers = [of_file(partial(load_mask, class_id=class_id)) for class_id in range(len(CLASS_NAMES))]
    for image in images:
        mask = in_either_case(image.with_suffix(".png"))
        if not mask.is_file():
            problems.append(f"{image} has no mask; expected {mask.name} beside it")
            continue
        kind = image.parent.parent.name
        class_id = KINDS.index(kind) + 1 if kind in KINDS else 0
        tile = f"tile{tiles[_number(image)]:04d}"
        stem = f"{kind.removeprefix('MT_').lower()}_{image.stem}"
        pairs.append(SourcePair.of(image, mask, stem, readers[class_id], group=tile))
    note = f"mask values above {MASK_THRESHOLD} are defect, of the kind that the folder names"
    return Source(CLASS_NAMES, pairs, notes=[note], problems=problems)


def load_mask(path: Path, class_id: int) -> MaskArray:
    """Read a 0-to-255 mask as the folder's class."""
    return np.where(read_mask(path) > MASK_THRESHOLD, class_id, 0).astype(np.uint8)


def _number(image: Path) -> int:
    match = _NUMBER.search(image.stem)
    return int(match.group(1)) if match else -1


def _tile_of_number(numbers: set[int]) -> dict[int, int]:
    tiles: dict[int, int] = {}
    tile, previous = 0, None
    for number in sorted(numbers):
        if previous is not None and number - previous > LARGEST_STEP_WITHIN_TILE:
            tile += 1
        tiles[number] = tile
        previous = number
    return tiles
