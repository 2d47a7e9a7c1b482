"""Cityscapes: street scenes by split and city, with label ids that become the 19 classes of its evaluation.

    source/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png
    source/gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png      or …_gtFine_labelTrainIds.png

The class ids are the published train ids: road is 0 and no class is background. All other labels (ego vehicle,
parking, …) are ignored. Without gtFine/ the coarse masks of gtCoarse/ are read, and then train_extra/ counts as
training. Frames of one sequence, the first number in the name, are alike and make a group.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isdm.config import DataConfig
from isdm.data.dataset import IGNORE_INDEX, Split
from isdm.data.image_files import MaskArray, read_mask
from isdm.data.label_tables import CITYSCAPES, CITYSCAPES_LABELS
from isdm.data.layouts.source import Source, SourcePair, image_files, of_file
from isdm.data.pairs_on_disk import pairs_on_disk
from isdm.data.tree_files import all_different, in_either_case, is_folder, subfolders
from isdm.errors import DataError

IMAGES = "leftImg8bit"
FINE, COARSE = "gtFine", "gtCoarse"
LABEL_IDS, TRAIN_IDS = "labelIds", "labelTrainIds"
SPLITS: dict[str, Split] = {"train": "train", "train_extra": "train", "val": "validation", "test": "test"}
FINE_SPLITS = ("train", "val", "test")
TEST_MASKS_LOOKED_AT = 3

_NAME = re.compile(rf"(?P<frame>(?P<sequence>.+_\d+)_\d+)_{IMAGES}")


class Frame(NamedTuple):
    """An image and its mask."""

    image: str
    mask: str
    kind: str
    """`labelIds` or `labelTrainIds`."""
    name: str
    sequence: str
    split: Split


def recognises(source: Path) -> bool:
    """A folder with leftImg8bit/ and beside it gtFine/ or gtCoarse/."""
    return is_folder(source / IMAGES) and (is_folder(source / FINE) or is_folder(source / COARSE))


def read(source: Path, config: DataConfig) -> Source:
    """Pair images with masks, and leave the test images out where their masks show nothing."""
    if not recognises(source):
        raise DataError(f"{source} needs {IMAGES}/ and {FINE}/ (or {COARSE}/); give the folder that holds both.")
    truth = FINE if is_folder(source / FINE) else COARSE
    frames: list[Frame] = []
    problems: list[str] = []
    notes: list[str] = []
    for folder, split in SPLITS.items():
        if truth == FINE and folder not in FINE_SPLITS:
            if subfolders(source / IMAGES / folder):
                notes.append(f"{IMAGES}/{folder} was left out: {FINE} has no masks for it")
            continue
        found, wrong = _frames(source, truth, folder, split)
        why = _useless_test(found, wrong) if split == "test" else ""
        if why:
            notes.append(f"the {len(found) + len(wrong)} test images were left out: {why}")
            continue
        frames += found
        problems += wrong
    kinds = Counter(frame.kind for frame in frames)
    of_labels = "label ids become the 19 train ids, and all other labels are ignored"
    of_trains = "train ids are taken as they are, and 255 is ignored"
    for kind, meaning in ((LABEL_IDS, of_labels), (TRAIN_IDS, of_trains)):
        if kinds[kind]:
            notes.insert(0, f"{kinds[kind]} masks are read from {truth}_{kind}.png: {meaning}")
    notes.append("class 0 is road: no class is background; frames of one city's sequence are a group")
    stems = all_different([frame.name for frame in frames])
    readers = {kind: of_file(load) for kind, load in _LOADERS.items()}
    pairs = pairs_on_disk(
        SourcePair.of(Path(image), Path(mask), stem, readers[kind], group=sequence, split=split)
        for (image, mask, kind, _, sequence, split), stem in zip(frames, stems, strict=True)
    )
    return Source(
        tuple(label.name for label in CITYSCAPES),
        pairs,
        tuple(label.colour for label in CITYSCAPES),
        notes,
        problems=problems,
        has_background=False,
    )


def load_label_ids(path: Path) -> MaskArray:
    """Read a mask (H, W) of label ids as train ids; an id that is not published is a `DataError`."""
    return _through(_LABEL_TABLE, path, "label id", f"Cityscapes has 0 to {CITYSCAPES_LABELS - 1}")


def load_train_ids(path: Path) -> MaskArray:
    """Read a mask (H, W) of train ids; an id that is not published is a `DataError`."""
    expected = f"Cityscapes has 0 to {len(CITYSCAPES) - 1} and {IGNORE_INDEX} (ignored)"
    return _through(_TRAIN_TABLE, path, "train id", expected)


_LOADERS = {LABEL_IDS: load_label_ids, TRAIN_IDS: load_train_ids}


def _through(table: NDArray[np.int16], path: Path, what: str, expected: str) -> MaskArray:
    ids = table[read_mask(path)]
    if (ids < 0).any():
        unknown = [value for value in np.unique(read_mask(path)).tolist() if table[value] < 0]
        shown = ", ".join(map(str, unknown[:3]))
        raise DataError(f"{path} holds the {what} {shown}; {expected}: make the mask again.")
    return ids.astype(np.uint8)


def _tables() -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Train id (256,) of each label id, and of each train id; -1 where there is none."""
    labels, trains = np.full(256, -1, np.int16), np.full(256, -1, np.int16)
    labels[:CITYSCAPES_LABELS] = IGNORE_INDEX
    labels[[label.label_id for label in CITYSCAPES]] = np.arange(len(CITYSCAPES))
    trains[: len(CITYSCAPES)] = np.arange(len(CITYSCAPES))
    trains[IGNORE_INDEX] = IGNORE_INDEX
    return labels, trains


_LABEL_TABLE, _TRAIN_TABLE = _tables()


def _frames(source: Path, truth: str, folder: str, split: Split) -> tuple[list[Frame], list[str]]:
    """The frames of a split's folder, and a line for each image that cannot be used."""
    frames, problems = [], []
    for city in subfolders(source / IMAGES / folder):
        for image in image_files(city):
            match = _NAME.fullmatch(image.stem)
            if match is None:
                problems.append(f"{image} must be named like aachen_000000_000019_{IMAGES}.png; rename or remove it")
                continue
            name, masks = match["frame"], source / truth / folder / city.name
            files = {kind: in_either_case(masks / f"{name}_{truth}_{kind}.png") for kind in (LABEL_IDS, TRAIN_IDS)}
            kind = next((kind for kind, path in files.items() if path.is_file()), None)
            if kind is None:
                problems.append(f"{image} has no mask; expected {files[LABEL_IDS]} or …_{TRAIN_IDS}.png")
            else:
                frames.append(Frame(str(image), str(files[kind]), kind, name, match["sequence"], split))
    return frames, problems


def _useless_test(frames: Sequence[Frame], problems: Sequence[str]) -> str:
    """Why the test images cannot be used: Cityscapes keeps their masks to itself; "" where they can."""
    if not frames:
        return "they have no masks" if problems else ""
    for frame in [frames[index * len(frames) // TEST_MASKS_LOOKED_AT] for index in range(TEST_MASKS_LOOKED_AT)]:
        try:
            if (_LOADERS[frame.kind](Path(frame.mask)) != IGNORE_INDEX).any():
                return ""
        except DataError:
            return ""  # which will be reported when all masks are read
    return "their masks are dummies in which every pixel is ignored"
