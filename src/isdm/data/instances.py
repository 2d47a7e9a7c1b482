"""Instance maps: for each pixel which object it belongs to, so that the network sees where two of a class meet."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from isdm.data.dataset import Pair, SegmentationDataset
from isdm.data.image_files import WIDE_MODES, opened_image, wide_values
from isdm.errors import DataError

InstanceArray = NDArray[np.uint16]
"""(H, W) or (N, H, W) ids of objects; only where they differ has a meaning."""


def load_instances(dataset: SegmentationDataset, pairs: Sequence[Pair]) -> InstanceArray | None:
    """Decode the instance maps (N, H, W) of pairs of one size; None where the dataset has none.

    Raises:
        DataError: some pairs have one and others not, or a map has another size than the first.
    """
    paths = [pair.instances for pair in pairs]
    if not any(paths):
        return None
    maps: list[InstanceArray] = []
    for pair, path in zip(pairs, paths, strict=True):
        if path is None:
            raise DataError(
                f"{dataset.folder}: {pair.image.name} has no instance map but others do; import it again."
            )
        with opened_image(path) as image:
            maps.append(read_instance_ids(image, path))
        if maps[-1].shape != maps[0].shape:
            raise DataError(f"{path} is of another size than {paths[0]}; import with --size.")
    return np.stack(maps)


def read_instance_ids(image: Image.Image, path: Path) -> InstanceArray:
    """Ids (H, W) of a grey or palette image of 8 or 16 bits."""
    if image.mode in WIDE_MODES:
        return wide_values(image, path)
    if image.mode not in ("L", "P", "1"):
        raise DataError(f"{path} has mode {image.mode}; an instance map holds one id a pixel (grey, 8 or 16 bits).")
    return np.asarray(image).astype(np.uint16)
