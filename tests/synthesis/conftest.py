"""Enough real pairs to tell what is usual among them, and pairs to select among."""

import pytest

from isdm.config import DataConfig, build
from isdm.data.builtin import write_fruit_source
from isdm.data.dataset import DatasetInfo, SegmentationDataset, write_metadata, write_pair
from isdm.data.importing import import_dataset


@pytest.fixture(scope="session")
def many_fruit(tmp_path_factory: pytest.TempPathFactory) -> SegmentationDataset:
    """Enough real pairs to tell what is usual among them."""
    folder = tmp_path_factory.mktemp("many")
    write_fruit_source(folder / "source", num_fruits=40, num_views=2, size_px=32, seed=1)
    values = {"source": folder / "source", "group_by": r"(fruit\d+)", "test": 0, "validation": 0.1}
    return import_dataset(build(DataConfig, values), folder / "data")


@pytest.fixture(scope="session")
def painted(many_fruit: SegmentationDataset, tmp_path_factory: pytest.TempPathFactory) -> SegmentationDataset:
    """Copies of real pairs; every second one with the mask of another picture."""
    folder = tmp_path_factory.mktemp("painted") / "synthetic"
    pairs = [pair for pair in many_fruit.pairs("train") if many_fruit.load_mask(pair).any()]
    info = DatasetInfo("painted", many_fruit.info.classes, source={"synthetic": True})
    lines = []
    for index, pair in enumerate(pairs):
        image, mask = many_fruit.load(pair)
        other = many_fruit.load_mask(pairs[(index + 5) % len(pairs)])
        names = {"image_file_name": f"images/{index}.png", "mask_file_name": f"masks/{index}.png"}
        write_pair(folder / "train", names, image, other if index % 2 else mask, info)
        lines.append(names | {"group": pair.group, "source_groups": [pair.group], "mask_index": index})
    write_metadata(folder / "train", lines)
    info.write(folder)
    return SegmentationDataset(folder)
