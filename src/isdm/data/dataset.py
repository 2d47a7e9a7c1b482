"""The dataset folder: what every stage reads and writes::

    lemons/
      dataset.json            what the whole dataset is (DatasetInfo)
      train/  images/*.png    masks/*.png    instances/*.png (optional)    metadata.jsonl
      validation/ ...         test/ ...

It is also a Hugging Face `imagefolder`. Masks are palette PNGs: the pixel is the class id, the palette shows
it. Instance maps are grey PNGs of 16 bits; all pairs have one, or none. Nothing here needs torch.
"""

import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from isdm import provenance
from isdm.data.image_files import (
    ImageArray,
    MaskArray,
    as_picture,
    read_image,
    read_mask,
    size_text,
    value_counts,
    write_png,
)
from isdm.data.judgements import read_judgements, with_judgements
from isdm.errors import DataError
from isdm.files import (
    json_lines,
    read_json,
    sha256_of_file,
    sha256_of_json,
    write_json,
    write_json_lines,
)
from isdm.on_disk import LazySequence, RecordsOnDisk
from isdm.provenance import check_format_version

DATASET_FILE = "dataset.json"
FORMAT_VERSION = 1
IGNORE_INDEX = 255
MAX_CLASSES = 255
PAIRS_PER_FOLDER = 10_000
KINDS = ((1, 8), (1, 16), (3, 8))
"""Channels and bits of the images that can be used: grey, grey of 16 bits, RGB."""

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True)
class SegmentationClass:
    """A class: its id in the masks, its name, and its colour (red, green, blue) for people."""

    id: int
    name: str
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class DatasetInfo:
    """What `dataset.json` holds."""

    name: str
    classes: tuple[SegmentationClass, ...]
    channels: int = 3
    """1 for grey images, 3 for RGB."""
    bit_depth: int = 8
    """8, or 16 for grey images."""
    ignore_index: int = IGNORE_INDEX
    source: dict[str, Any] = field(default_factory=dict)
    split: dict[str, Any] = field(default_factory=dict)
    has_background: bool = True
    """Whether class 0 means "nothing of interest"; if not, it is a class like the others."""
    format_version: int = FORMAT_VERSION

    @property
    def num_classes(self) -> int:
        """Number of classes, background included."""
        return len(self.classes)

    @property
    def first_foreground(self) -> int:
        """Id of the first class that is of interest: 1, or 0 where there is no background."""
        return 1 if self.has_background else 0

    @property
    def image_dtype(self) -> np.dtype[np.uint8 | np.uint16]:
        """Type of the decoded images' values."""
        return np.dtype(np.uint8 if self.bit_depth == 8 else np.uint16)

    def write(self, folder: Path) -> None:
        """Write `dataset.json`."""
        write_json(folder / DATASET_FILE, asdict(self))

    @staticmethod
    def read(folder: Path) -> "DatasetInfo":
        """Read and check `dataset.json`."""
        path = folder / DATASET_FILE
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder; give a dataset made by `isdm data import`.")
        if (folder / "isdm.json").is_file() and not path.is_file():
            raise DataError(
                f"{folder} is a model, not a dataset; `isdm sample {folder} --data DATASET --out SYNTH` paints one."
            )
        if not path.is_file():
            raise DataError(
                f"{folder} is not a dataset (it has no dataset.json); make one of it with "
                f"`isdm data import {folder} DST`."
            )
        values = read_json(path)
        if not isinstance(values, dict):
            raise DataError(f"{path} holds {type(values).__name__} where an object is expected; import it again.")
        check_format_version(values, path, FORMAT_VERSION, DataError)
        try:
            classes = read_classes(values["classes"])
            info = DatasetInfo(
                name=str(values["name"]),
                classes=classes,
                channels=int(values["channels"]),
                bit_depth=int(values["bit_depth"]),
                ignore_index=int(values["ignore_index"]),
                source=dict(values.get("source", {})),
                split=dict(values.get("split", {})),
                has_background=bool(values.get("has_background", True)),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{path} lacks or misstates {error}; import the dataset again.") from None
        if (info.channels, info.bit_depth) not in KINDS:
            raise DataError(
                f"{path}: {info.channels} channels of {info.bit_depth} bits; grey images (1) of 8 or 16 bits or RGB "
                f"images (3) of 8 bits can be used: import the dataset again."
            )
        return info


def read_classes(entries: Iterable[Mapping[str, Any]]) -> tuple[SegmentationClass, ...]:
    """Classes from the JSON objects that `dataset.json` and a model's `isdm.json` hold.

    Raises:
        KeyError, TypeError, ValueError: what is missing or wrong.
    """
    classes = tuple(
        SegmentationClass(int(entry["id"]), str(entry["name"]), _colour(entry["colour"])) for entry in entries
    )
    ids = [entry.id for entry in classes]
    if ids != list(range(len(ids))) or not 2 <= len(ids) <= MAX_CLASSES:
        shown = reprlib.repr(ids)
        raise ValueError(
            f"the classes: class ids are {shown}; they must be 0, 1, 2, …, at least two and at most {MAX_CLASSES}"
        )
    return classes


def _colour(values: Iterable[Any]) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in values)
    if not all(0 <= value <= 255 for value in (red, green, blue)):
        raise ValueError(f"the colour {(red, green, blue)}; its numbers go from 0 to 255")
    return red, green, blue


@dataclass(frozen=True, slots=True)
class Pair:
    """An image file, its mask file, perhaps an instance map's, and what `metadata.jsonl` says of them."""

    image: Path
    mask: Path
    metadata: Mapping[str, Any]
    instances: Path | None = None
    """The instance map's file; all pairs of a dataset have one, or none."""
    split: str = ""
    """The split's name; without it, pictures of one name in two splits would be one thing."""

    @property
    def stem(self) -> str:
        """File name of the image without its extension."""
        return self.image.stem

    @property
    def group(self) -> str:
        """What a split must not part, such as one fruit seen from many sides; the picture alone unless named."""
        return self.named_group or f"{self.split}/{self.stem}".removeprefix("/")

    @property
    def named_group(self) -> str | None:
        """The group that `metadata.jsonl` names."""
        return str(self.metadata["group"]) if self.metadata.get("group") else None


class SegmentationDataset:
    """A dataset folder opened for reading.

    Args:
        folder: a folder with `dataset.json`.

    Raises:
        DataError: when it is no dataset, or one whose making was not finished.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.info = DatasetInfo.read(self.folder)
        record = provenance.read(self.folder)
        if record is not None and not record.finished:
            raise DataError(
                f"{self.folder} is unfinished; run the same `isdm {record.stage}` command again to complete it."
            )

    @cached_property
    def splits(self) -> tuple[Split, ...]:
        """The splits that exist."""
        return tuple(split for split in SPLITS if (self.folder / split / "metadata.jsonl").is_file())

    def pairs(self, split: Split) -> Sequence[Pair]:
        """The pairs of a split in the order of `metadata.jsonl`; none where the split does not exist.

        What the file says of them is kept on disk, so that hundreds of thousands take no memory.

        Of a synthetic dataset, pairs that a person dropped are left out, and pairs that selection rejected (`kept`
        is false), unless a person kept them.

        Raises:
            DataError: a line of `metadata.jsonl` is damaged, or names a file that is not there or lies elsewhere.
        """
        judgements = self.judgements(split)
        return self._pairs(split, lambda line: judgements.get(line["image_file_name"], line.get("kept", True)))

    def all_pairs(self, split: Split) -> Sequence[Pair]:
        """The pairs of a split as `pairs` gives them, those that are left out there among them."""
        return self._pairs(split, lambda _: True)

    def judgements(self, split: Split) -> dict[str, bool]:
        """Whether a person keeps the pair of an `image_file_name`, of a synthetic dataset alone."""
        return read_judgements(self.folder / split) if self.info.source.get("synthetic") else {}

    def _pairs(self, split: Split, is_kept: Callable[[Mapping[str, Any]], bool]) -> Sequence[Pair]:
        folder = self.folder / split
        if not (folder / "metadata.jsonl").is_file():
            return []
        lines = RecordsOnDisk(_sound_lines(folder, is_kept))
        return LazySequence(len(lines), lambda place: _as_pair(folder, lines[place]))

    def require(self, split: Split) -> Sequence[Pair]:
        """The pairs of a split that must not be empty.

        Raises:
            DataError: it is.
        """
        pairs = self.pairs(split)
        if not pairs:
            raise DataError(f"{self.folder} has no {split} pairs; import it with a {split} split.")
        return pairs

    def load(self, pair: Pair) -> tuple[ImageArray, MaskArray]:
        """Decode a pair: image (H, W, C) uint8 or uint16, mask (H, W) uint8 class ids; both checked.

        Raises:
            DataError: a file cannot be read, the two differ in size, or the mask has an id that is no class.
        """
        image, mask = read_image(pair.image, self.info.channels, self.info.bit_depth), self.load_mask(pair)
        if image.shape[:2] != mask.shape:
            raise DataError(
                f"{pair.image} is {size_text(image)} but {pair.mask} is {size_text(mask)}; they must agree."
            )
        return image, mask

    def load_mask(self, pair: Pair) -> MaskArray:
        """Decode a pair's mask (H, W) uint8 of class ids alone; the ids are checked."""
        mask = read_mask(pair.mask)
        check_class_ids(value_counts(mask), self.info, pair.mask)
        return mask

    def fingerprint(self, split: Split) -> str:
        """SHA-256 over the classes, the names, the contents and the groups of a split's pairs.

        People's verdicts are no part of it: it is the same before and after somebody has judged the pairs.
        """
        classes = [asdict(entry) for entry in self.info.classes]
        lines = [
            (
                pair.image.name,
                *(sha256_of_file(file) for file in (pair.image, pair.mask, pair.instances) if file is not None),
                pair.named_group or pair.stem,
            )
            for pair in self._pairs(split, lambda line: line.get("kept", True))
        ]
        return sha256_of_json([classes, sorted(lines)])

    def judged_fingerprint(self, split: Split) -> str:
        """The fingerprint of what `pairs` gives: changed by verdicts, and `fingerprint` where there are none."""
        return with_judgements(self.fingerprint(split), self.judgements(split))


def _as_pair(folder: Path, line: dict[str, Any]) -> Pair:
    """The pair that a line of the `metadata.jsonl` in a split's folder names."""
    instances = folder / line["instance_file_name"] if "instance_file_name" in line else None
    return Pair(folder / line["image_file_name"], folder / line["mask_file_name"], line, instances, folder.name)


def _sound_lines(folder: Path, is_kept: Callable[[Mapping[str, Any]], bool]) -> Iterator[dict[str, Any]]:
    """The kept lines of the `metadata.jsonl` in a split's folder, checked."""
    path = folder / "metadata.jsonl"
    has_maps = False
    without_map: Path | None = None
    for number, line in enumerate(json_lines(path), start=1):
        try:
            pair = _as_pair(folder, line)
        except (KeyError, TypeError):
            raise DataError(f"{path}, line {number} must name image_file_name and mask_file_name.") from None
        for file in (pair.image, pair.mask, pair.instances):
            if file is not None and not _lies_in(file, folder):
                raise DataError(f"{path}, line {number}: {file} lies outside the dataset.")
        if is_kept(line):
            has_maps |= pair.instances is not None
            without_map = without_map or (pair.image if pair.instances is None else None)
            yield line
    if has_maps and without_map is not None:
        raise DataError(f"{path}: {without_map.name} has no instance map but others do; import it again.")


def _lies_in(file: Path, folder: Path) -> bool:
    """Whether a file is below a folder, links followed; what can be no file is nowhere."""
    try:
        return file.resolve().is_relative_to(folder.resolve())
    except (ValueError, OSError, RuntimeError):  # a null byte, a name too long, links in a circle
        return False


def check_class_ids(counts: NDArray[np.int64], info: DatasetInfo, path: Path) -> None:
    """Refuse a mask, given as pixels (256,) of each value, with a class id that `info` does not declare."""
    ids = np.flatnonzero(counts)
    wrong = ids[(ids >= info.num_classes) & (ids != info.ignore_index)]
    if len(wrong):
        raise DataError(
            f"{path} holds class id {', '.join(map(str, wrong))}; declared are 0 to {info.num_classes - 1} and "
            f"{info.ignore_index} (ignored)."
        )


def pair_names(stem: str, index: int, total: int, *, instances: bool = False) -> dict[str, str]:
    """Relative file names of a pair; above 10,000 pairs they are spread over numbered folders."""
    part = f"{index // PAIRS_PER_FOLDER:05d}/" if total > PAIRS_PER_FOLDER else ""
    names = {"image_file_name": f"images/{part}{stem}.png", "mask_file_name": f"masks/{part}{stem}.png"}
    return names | {"instance_file_name": f"instances/{part}{stem}.png"} if instances else names


def write_pair(
    split_folder: Path,
    names: Mapping[str, str],
    image: ImageArray,
    mask: MaskArray,
    info: DatasetInfo,
    instances: NDArray[np.uint16] | None = None,
) -> None:
    """Write an image (H, W, C), its mask and instance map (H, W) as PNG files, each whole or not at all."""
    assert image.dtype == info.image_dtype, f"{image.dtype} in a dataset of {info.bit_depth} bits"
    write_png(split_folder / names["image_file_name"], as_picture(image))
    write_png(split_folder / names["mask_file_name"], palette_image(mask, info))
    if instances is not None:
        write_png(split_folder / names["instance_file_name"], Image.fromarray(instances))


def palette_image(mask: MaskArray, info: DatasetInfo) -> Image.Image:
    """Show a mask (H, W) of class ids as a palette image; ignored pixels are mid-grey."""
    palette = np.zeros((256, 3), np.uint8)
    palette[info.ignore_index] = 127
    for entry in info.classes:
        palette[entry.id] = entry.colour
    image = Image.fromarray(mask)  # mode L; a palette makes it mode P without touching the ids
    image.putpalette(palette.ravel().tolist())
    return image


def write_metadata(split_folder: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write `metadata.jsonl`, line by line and yet whole or not at all."""
    write_json_lines(split_folder / "metadata.jsonl", (dict(line) for line in lines))
