"""Stand-ins for synthetic sets, without any generator."""

from dataclasses import replace
from pathlib import Path

from isdm.data.dataset import SegmentationDataset, write_metadata, write_pair


def make_synthetic(fruit: SegmentationDataset, folder: Path, seen: str) -> None:
    """The training pairs as a synthetic set that claims to have seen data of the fingerprint `seen`."""
    pairs = fruit.pairs("train")
    source = {
        "synthetic": True,
        "model_trained_on": {"fingerprint": seen, "num_images": len(pairs)},
        "masks_from": seen,
    }
    info = replace(fruit.info, source=source)
    for pair in pairs:
        write_pair(folder / "train", dict(pair.metadata), *fruit.load(pair), info)
    write_metadata(folder / "train", [pair.metadata for pair in pairs])
    info.write(folder)
