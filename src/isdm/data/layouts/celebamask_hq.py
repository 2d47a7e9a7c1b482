"""CelebAMask-HQ: faces, with one mask file for each part of a face.

    source/CelebA-HQ-img/0.jpg … 29999.jpg
    source/CelebAMask-HQ-mask-anno/0/00000_skin.png, 00000_hair.png, … (folder = number // 2000)

The parts, whatever is not 0 in their files, lie over one another in the order in which the publisher's own script
draws them, which is the order of the classes. Masks have half the size of the images and are scaled up to them,
nearest neighbour. With CelebA-HQ-to-CelebA-mapping.txt and CelebA's list_eval_partition.txt in the source the images
have CelebA's splits, otherwise none; who a picture shows is not known.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from isdm.config import DataConfig
from isdm.data.dataset import Split
from isdm.data.image_files import MaskArray, image_header, read_picture, size_text
from isdm.data.layouts.source import Source, SourcePair, image_files
from isdm.data.tree_files import files_in, is_folder, subfolders, text_lines
from isdm.errors import DataError

FOLDER = "CelebAMask-HQ"
IMAGES, MASKS = "CelebA-HQ-img", "CelebAMask-HQ-mask-anno"
MAPPING, PARTITION = "CelebA-HQ-to-CelebA-mapping.txt", "list_eval_partition.txt"
IMAGES_PER_FOLDER = 2000
_PARTS = "skin nose eye_g l_eye r_eye l_brow r_brow l_ear r_ear mouth u_lip l_lip hair hat ear_r neck_l neck cloth"
CLASS_NAMES = ("background", *_PARTS.split())
SPLITS: dict[str, Split] = {"0": "train", "1": "validation", "2": "test"}

_PART = re.compile(r"(?P<number>\d{5,9})_(?P<part>.+)", re.ASCII)
_NUMBER = re.compile(r"0|[1-9]\d{0,8}", re.ASCII)


def recognises(source: Path) -> bool:
    """CelebA-HQ-img/ and CelebAMask-HQ-mask-anno/, in the source or in its folder CelebAMask-HQ/."""
    return _root(source) is not None


def read(source: Path, config: DataConfig) -> Source:
    """Find the parts of each image's mask."""
    root = _root(source)
    if root is None:
        raise DataError(f"{source} needs {IMAGES}/ and {MASKS}/; give the folder that holds both.")
    problems: list[str] = []
    images = _images(root / IMAGES, problems)
    parts = _parts(root / MASKS, problems)
    problems += [
        f"{files[0]} has no image; expected {root / IMAGES / f'{number}.jpg'}"
        for number, files in sorted(parts.items())
        if files and number not in images
    ]
    splits = _splits(root)
    pairs = []
    for number, image in sorted(images.items()):
        files = parts.get(number)
        if files is None:
            folder = root / MASKS / str(number // IMAGES_PER_FOLDER)
            problems.append(f"{image} has no mask; expected {folder}/{number:05d}_skin.png and other parts")
        elif splits is not None and number not in splits:
            problems.append(f"{image} is not in {root / MAPPING}; add it, or remove that file to split anew")
        elif files:
            split = None if splits is None else splits[number]
            pairs.append(SourcePair.of(image, files[0], f"{number:05d}", _read, split=split, more_files=files[1:]))
    notes = [
        "each part's file gives its class wherever it is not 0; parts later in the list of classes lie on top",
        "masks are scaled up to their images by a whole number (2 as published), nearest neighbour",
        f"splits are CelebA's, by {MAPPING} and {PARTITION}"
        if splits is not None
        else f"there are no splits, as {MAPPING} and {PARTITION} are not both there; one person may be in several",
    ]
    return Source(CLASS_NAMES, pairs, notes=notes, problems=problems)


def _read(pair: SourcePair) -> MaskArray:
    return load_mask(pair.image, (pair.mask, *pair.more_files))


def load_mask(image: Path, parts: tuple[Path, ...]) -> MaskArray:
    """Draw the parts, in their order, into a mask (H, W) of the image's size.

    Raises:
        DataError: a part cannot be read, parts differ in size, or the image's size is no multiple of theirs.
    """
    ids: MaskArray | None = None
    for part in parts:
        values = read_picture(part)
        if values.dtype != np.uint8:
            raise DataError(f"{part} has 16 bits; a part has 0 and 255: save it with 8 bits.")
        if ids is None:
            ids = np.zeros(values.shape[:2], np.uint8)
        elif ids.shape != values.shape[:2]:
            raise DataError(f"{part} is {size_text(values)} but {parts[0]} is {size_text(ids)}; they must agree.")
        ids[(values > 0).any(axis=2)] = CLASS_NAMES.index(_part_of(part))
    assert ids is not None, "a pair has at least one part"
    header = image_header(image)
    height, width = ids.shape
    factor = header.height // height
    if factor < 1 or (header.height, header.width) != (factor * height, factor * width):
        raise DataError(
            f"{image} is {header.width}x{header.height} but {parts[0]} is {size_text(ids)}; the image must be as "
            f"large or a whole number of times larger: put back the published files."
        )
    return ids.repeat(factor, axis=0).repeat(factor, axis=1)


def _root(source: Path) -> Path | None:
    for root in (source, source / FOLDER):
        if is_folder(root / IMAGES) and is_folder(root / MASKS):
            return root
    return None


def _images(folder: Path, problems: list[str]) -> dict[int, Path]:
    """Images by their number."""
    images: dict[int, Path] = {}
    for image in image_files(folder):
        if not _NUMBER.fullmatch(image.stem):
            problems.append(f"{image} must be named by its number, such as 0.jpg; rename or remove it")
        elif int(image.stem) in images:
            problems.append(f"{image} and {images[int(image.stem)]} have one number; remove one of them")
        else:
            images[int(image.stem)] = image
    return images


def _parts(folder: Path, problems: list[str]) -> dict[int, tuple[Path, ...]]:
    """Files of each image's parts, in the order in which they are drawn; none where one of them is wrong."""
    found: dict[int, list[Path]] = {}
    bad: set[int] = set()
    for place in (folder, *subfolders(folder)):
        for path in files_in(place, (".png",)):
            match = _PART.fullmatch(path.stem)
            if match is None:
                problems.append(f"{path} must be named like 00000_hair.png; rename or remove it")
                continue
            number = int(match["number"])
            expected = folder / str(number // IMAGES_PER_FOLDER) / f"{number:05d}_{match['part']}.png"
            if match["part"] not in CLASS_NAMES[1:]:
                wrong = f"is no known part; known are {', '.join(CLASS_NAMES[1:])}: rename or remove it"
            elif path.with_suffix(".png") != expected:
                wrong = f"is in the wrong folder or misnamed; move it to {expected}"
            else:
                found.setdefault(number, []).append(path)
                continue
            problems.append(f"{path} {wrong}")
            bad.add(number)
    order = {name: index for index, name in enumerate(CLASS_NAMES)}
    parts = {number: tuple(sorted(paths, key=lambda path: order[_part_of(path)])) for number, paths in found.items()}
    return parts | dict.fromkeys(bad, ())


def _part_of(path: Path) -> str:
    return path.stem.partition("_")[2]


def _splits(root: Path) -> Mapping[int, Split] | None:
    """The split of each image by its number, where both files are there that tell it.

    Raises:
        DataError: a line of a file is malformed, or the two do not fit.
    """
    mapping, partition = root / MAPPING, root / PARTITION
    if not (mapping.is_file() and partition.is_file()):
        return None
    split_of: dict[str, Split] = {}
    for number, line in enumerate(text_lines(partition), start=1):
        name, *rest = line.split() or [""]
        if line and (len(rest) != 1 or rest[0] not in SPLITS):
            raise DataError(f"{partition}, line {number} is {line[:80]!r}; it must be like '000001.jpg 0' (0 to 2).")
        if line:
            split_of[name] = SPLITS[rest[0]]
    splits: dict[int, Split] = {}
    for number, line in enumerate(text_lines(mapping), start=1):
        cells = line.split()
        if not line or (number == 1 and cells[0] == "idx"):
            continue
        if len(cells) != 3 or not all(_NUMBER.fullmatch(cell) for cell in cells[:2]):
            raise DataError(f"{mapping}, line {number} is {line[:80]!r}; it must be like '0 119613 119614.jpg'.")
        if cells[2] not in split_of:
            raise DataError(
                f"{mapping}, line {number} names {cells[2][:80]!r}, which {partition} lacks; add it there."
            )
        splits[int(cells[0])] = split_of[cells[2]]
    return splits
