"""The dataset folder of isdm itself, with the kept pairs alone; files and what is known of them stay as they are."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from isdm.data.dataset import pair_names, write_metadata
from isdm.data.exporting.pairs import Decoded, Export, Item
from isdm.files import write_with


def write(export: Export, folder: Path) -> list[str]:
    """Write all splits, file by file and byte for byte."""
    for split, items in export.items.items():
        lines = export.each(split, partial(_put, folder / split, len(items)))
        write_metadata(folder / split, [line for _, line in lines])
    export.info.write(folder)
    return []


def _put(folder: Path, total: int, item: Item, _: Decoded) -> dict[str, Any]:
    """Copy a pair's files; gives its line of metadata."""
    pair = item.pair
    names = pair_names(item.name, item.place, total, instances=pair.instances is not None)
    for key, source in zip(names, (pair.image, pair.mask, pair.instances), strict=False):
        assert source is not None  # names has an instance map's only where the pair has one
        names[key] = names[key].removesuffix(".png") + source.suffix
        write_with(folder / names[key], partial(shutil.copyfile, source))
    return {**pair.metadata, **names}
