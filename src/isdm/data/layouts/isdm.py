"""The dataset folder of isdm itself: classes, groups and splits are taken over."""

from pathlib import Path

from isdm.config import DataConfig
from isdm.data.dataset import DATASET_FILE, SegmentationDataset
from isdm.data.image_files import read_mask
from isdm.data.layouts.source import Source, SourcePair, of_file


def recognises(source: Path) -> bool:
    """A folder with dataset.json."""
    return (source / DATASET_FILE).is_file()


def read(source: Path, config: DataConfig) -> Source:
    """Read the folder's classes and pairs."""
    dataset = SegmentationDataset(source)
    read = of_file(read_mask)
    pairs = [
        SourcePair.of(pair.image, pair.mask, pair.stem, read, group=pair.group, split=split, instances=pair.instances)
        for split in dataset.splits
        for pair in dataset.pairs(split)
    ]
    names = tuple(entry.name for entry in dataset.info.classes)
    colours = tuple(entry.colour for entry in dataset.info.classes)
    note = f"classes and splits are those of {source.name}/dataset.json"
    return Source(
        names,
        pairs,
        colours,
        [note],
        used_bits=16 if dataset.info.bit_depth == 16 else None,
        has_background=dataset.info.has_background,
    )
