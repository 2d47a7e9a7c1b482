"""Instance maps: for each pixel which object it belongs to, so that the network sees where two of a class meet."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isdm.data.dataset import Pair, SegmentationDataset
from isdm.data.decoding import decode_all
from isdm.data.image_files import WIDE_MODES, MaskArray, opened_image, size_text, wide_values
from isdm.errors import DataError

InstanceArray = NDArray[np.uint16]
"""(H, W) or (N, H, W) ids of objects; only where they differ has a meaning."""


def load_instances(
    dataset: SegmentationDataset, pairs: Sequence[Pair], memory_limit_bytes: int | None = None
) -> InstanceArray | None:
    """Decode the instance maps (N, H, W) uint16 of pairs of one size; None where the dataset has none.

    See `decode_all` for the limit.

    Raises:
        DataError: some pairs have one and others not, or a map has another size than its mask or the first map.
    """
    without = [pair for pair in pairs if pair.instances is None]
    if len(without) == len(pairs):
        return None
    if without:
        raise DataError(
            f"{dataset.folder}: {without[0].image.name} has no instance map but others do; import it again."
        )
    (maps,) = decode_all(lambda pair: (load_instance_map(dataset, pair),), pairs, memory_limit_bytes)
    return maps


def load_instance_map(dataset: SegmentationDataset, pair: Pair) -> InstanceArray:
    """Decode the instance map (H, W) uint16 of a pair that has one; its size must be the mask's."""
    assert pair.instances is not None
    ids = read_instances(pair.instances)
    check_instance_size(ids, pair.instances, dataset.load_mask(pair), pair.mask)
    return ids


def read_instances(path: Path) -> InstanceArray:
    """Decode an instance map, a grey or palette image of 8 or 16 bits, as ids (H, W) uint16."""
    with opened_image(path) as image:
        if image.mode in WIDE_MODES:
            return wide_values(image, path)
        if image.mode not in ("L", "P", "1"):
            raise DataError(
                f"{path} has mode {image.mode}; instance maps hold one id a pixel: save it grey, with 8 or 16 bits."
            )
        return np.asarray(image).astype(np.uint16)


def check_instance_size(ids: InstanceArray, path: Path, mask: MaskArray, mask_path: Path) -> None:
    """Refuse an instance map (H, W) of another size than its mask (H, W)."""
    if ids.shape != mask.shape:
        raise DataError(f"{path} is {size_text(ids)} but {mask_path} is {size_text(mask)}; they must agree.")


def outside_id(instances: InstanceArray, mask: MaskArray) -> int:
    """Id of what comes into a map (H, W) from outside: that of most background, or 0 where there is none.

    With it, a border is drawn where an object was cut off and none across the background.
    """
    background = instances[mask == 0]
    return int(np.bincount(background).argmax()) if len(background) else 0
