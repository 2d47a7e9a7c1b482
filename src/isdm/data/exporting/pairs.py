"""What all formats share: the pairs with their names, and their pictures."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from isdm.data.dataset import DatasetInfo, Pair, SegmentationDataset, Split
from isdm.data.image_files import ImageArray, MaskArray, as_picture, image_header, write_png
from isdm.data.instances import InstanceArray, check_instance_size, read_instances
from isdm.files import write_with
from isdm.parallel import in_threads
from isdm.progress import track

SHORT_NAMES: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}
"""What other formats call the splits."""

COPIED_SUFFIXES = (".png", ".jpg", ".jpeg")
"""Pictures that all tools read; others become PNG files."""

Result = TypeVar("Result")


class Item(NamedTuple):
    """A pair, its file name without an ending in the export, and its place among those of its split."""

    pair: Pair
    name: str
    place: int


class Decoded(NamedTuple):
    """A pair's arrays: image (H, W, C), mask (H, W) and perhaps the instance map (H, W)."""

    image: ImageArray
    mask: MaskArray
    instances: InstanceArray | None


@dataclass(frozen=True)
class Export:
    """What is exported: the kept pairs of each split, and what `info` says of them all."""

    dataset: SegmentationDataset
    info: DatasetInfo
    items: dict[Split, list[Item]]

    def each(self, split: Split, work: Callable[[Item, Decoded], Result]) -> Iterator[tuple[Item, Result]]:
        """Decode and check the pairs of a split and give each with the result of `work`, in their order.

        It runs on all cores, in threads, and shows how far it is.
        """
        items = self.items[split]
        results = in_threads(lambda item: work(item, self._decoded(item.pair)), items)
        tracked = track(results, f"Exporting {split}", total=len(items), unit="pairs")
        yield from zip(items, tracked, strict=True)

    def _decoded(self, pair: Pair) -> Decoded:
        image, mask = self.dataset.load(pair)
        instances = None
        if pair.instances is not None:
            instances = read_instances(pair.instances)
            check_instance_size(instances, pair.instances, mask, pair.mask)
        return Decoded(image, mask, instances)

    @property
    def has_instances(self) -> bool:
        """Whether the pairs have instance maps."""
        return any(item.pair.instances for items in self.items.values() for item in items)


def named_pairs(dataset: SegmentationDataset, *, foreign: bool) -> dict[Split, list[Item]]:
    """The kept pairs of each split that has any, named by their stems: different ones within a split.

    Args:
        dataset: what to export.
        foreign: names also differ over all splits and are one line of text, as other formats and tables list them.
    """
    items: dict[Split, list[Item]] = {}
    taken: set[str] = set()
    for split in dataset.splits:
        if not foreign:
            taken = set()
        of_split = [
            Item(pair, _free_name(pair.stem, split, taken, foreign), place)
            for place, pair in enumerate(dataset.pairs(split))
        ]
        if of_split:
            items[split] = of_split
    return items


def _free_name(stem: str, split: Split, taken: set[str], foreign: bool) -> str:
    wanted = "_".join(stem.strip().splitlines()) or "_" if foreign else stem
    name, number = wanted, 1
    while name in taken:
        name = f"{split}_{wanted}" if number == 1 else f"{split}_{wanted}_{number}"
        number += 1
    taken.add(name)
    return name


def put_image(item: Item, image: ImageArray, info: DatasetInfo, folder: Path, *, suffix: str | None = None) -> Path:
    """Copy a pair's picture into `folder`, byte for byte where every program decodes it to `image` (H, W, C).

    Others (turned by EXIF, palettes, rare formats) become PNG files, as does one whose ending is not `suffix`.

    Returns:
        The file.
    """
    source = item.pair.image
    ending = source.suffix.lower()
    if suffix in (None, ending) and is_plain(source, info):
        target = folder / f"{item.name}{ending}"
        write_with(target, partial(shutil.copyfile, source))
    else:
        target = folder / f"{item.name}.png"
        write_png(target, as_picture(image))
    return target


def is_plain(path: Path, info: DatasetInfo) -> bool:
    """Whether a picture is a PNG or JPEG file that holds what `info` says, and is not turned by EXIF."""
    header = image_header(path)
    mode = "RGB" if info.channels == 3 else "L" if info.bit_depth == 8 else "I;16"
    known = path.suffix.lower() in COPIED_SUFFIXES
    return known and header.mode == mode and not header.has_alpha and not header.is_turned
