"""The dataset folder of isdm itself: classes, groups and splits are taken over."""

from pathlib import Path

from isdm.config import DataConfig
from isdm.data.dataset import DATASET_FILE, SegmentationDataset, Split
from isdm.data.image_files import read_mask
from isdm.data.layouts.source import Source, SourcePair, of_file
from isdm.on_disk import repeated


def recognises(source: Path) -> bool:
    """A folder with dataset.json."""
    return (source / DATASET_FILE).is_file()


def read(source: Path, config: DataConfig) -> Source:
    """Read the folder's classes and pairs."""
    dataset = SegmentationDataset(source)
    read = of_file(read_mask)
    several = repeated(lambda: (pair.stem for split in dataset.splits for pair in dataset.pairs(split)))
    stay_parted = config.splits == "source" and config.folds is None

    def own_name(split: Split, name: str) -> str:
        """A name that two splits have is two pictures."""
        return f"{split}_{name}" if name in several else name

    pairs = [
        SourcePair.of(
            *(pair.image, pair.mask, pair.stem if stay_parted else own_name(split, pair.stem), read),
            group=pair.named_group or own_name(split, pair.stem),
            split=split,
            instances=pair.instances,
        )
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
