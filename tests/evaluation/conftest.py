"""Synthetic sets that studies take."""

import pytest

from isdm.data.dataset import SegmentationDataset, write_metadata
from synthetic_sets import make_synthetic


@pytest.fixture(scope="session")
def synthetic(fruit: SegmentationDataset, tmp_path_factory: pytest.TempPathFactory) -> SegmentationDataset:
    """A stand-in for a synthetic set: the training pairs themselves, with the record of an honest origin."""
    folder = tmp_path_factory.mktemp("synthetic")
    make_synthetic(fruit, folder, fruit.fingerprint("train"))
    return SegmentationDataset(folder)


@pytest.fixture(scope="session")
def scored(fruit: SegmentationDataset, tmp_path_factory: pytest.TempPathFactory) -> SegmentationDataset:
    """The same with a score for each pair, as selection leaves it."""
    folder = tmp_path_factory.mktemp("scored")
    make_synthetic(fruit, folder, fruit.fingerprint("train"))
    pairs = SegmentationDataset(folder).pairs("train")
    scores = [{"scores": {"agreement": (5 * place % len(pairs)) / len(pairs)}} for place in range(len(pairs))]
    write_metadata(folder / "train", [dict(pair.metadata) | s for pair, s in zip(pairs, scores, strict=True)])
    return SegmentationDataset(folder)
