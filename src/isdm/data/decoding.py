"""Pairs decoded once into arrays, in memory or, where they are many, in a temporary file."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from tempfile import gettempdir
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isdm.data.dataset import Pair, SegmentationDataset
from isdm.data.image_files import ImageArray, MaskArray, size_text
from isdm.errors import DataError
from isdm.memory import GIB, free_host_bytes
from isdm.on_disk import array_on_disk
from isdm.progress import say, track

PAIRS_AT_ONCE = 256


def load_arrays(
    dataset: SegmentationDataset, pairs: Iterable[Pair], memory_limit_bytes: int | None = None
) -> tuple[ImageArray, MaskArray]:
    """Decode pairs of one common size: images (N, H, W, C) uint8 or uint16 and masks (N, H, W) uint8.

    See `decode_all` for the limit.

    Raises:
        DataError: when the images are not all of one size.
    """
    images, masks = decode_all(dataset.load, pairs, memory_limit_bytes)
    return images, masks


def load_masks(
    dataset: SegmentationDataset, pairs: Iterable[Pair], memory_limit_bytes: int | None = None
) -> MaskArray:
    """Decode only the masks (N, H, W) uint8 of pairs of one common size; see `decode_all` for the limit."""
    (masks,) = decode_all(lambda pair: (dataset.load_mask(pair),), pairs, memory_limit_bytes)
    return masks


def in_blocks(
    dataset: SegmentationDataset, pairs: Sequence[Pair], doing: str
) -> Iterator[tuple[Sequence[Pair], ImageArray, MaskArray]]:
    """Some pairs at a time with their images and masks (see `load_arrays`), so that any number fits into memory.

    `doing` names what is done with them beside the progress.
    """
    starts = range(0, len(pairs), PAIRS_AT_ONCE)
    for start in track(starts, doing, total=len(starts), unit="blocks"):
        chunk = pairs[start : start + PAIRS_AT_ONCE]
        yield chunk, *load_arrays(dataset, chunk)


def decode_all(
    decode: Callable[[Pair], tuple[NDArray[Any], ...]], pairs: Iterable[Pair], memory_limit_bytes: int | None = None
) -> list[NDArray[Any]]:
    """Decode each pair once into arrays whose first axis counts the pairs.

    Arrays of more than `memory_limit_bytes` together (a quarter of the free memory unless given) are kept in
    a temporary file and mapped into memory; what they hold is the same.

    Args:
        decode: gives a pair's arrays, of one shape and type for all pairs.
        pairs: at least one.
        memory_limit_bytes: see above.

    Raises:
        DataError: a pair's arrays have another shape than the first one's, or the disk is full.
    """
    chosen = list(pairs)
    assert chosen, "no pairs to decode"
    stacks: list[NDArray[Any]] = []
    for index, pair in enumerate(chosen):
        arrays = decode(pair)
        if not stacks:
            stacks = _stacks_for(arrays, len(chosen), memory_limit_bytes)
        for stack, array in zip(stacks, arrays, strict=True):
            if array.shape != stack.shape[1:]:
                raise DataError(
                    f"{pair.image} is {size_text(array)} but others are {size_text(stack[0])}; networks need one "
                    f"size: import with --size."
                )
            stack[index] = array
    return stacks


def _stacks_for(arrays: Iterable[NDArray[Any]], count: int, memory_limit_bytes: int | None) -> list[NDArray[Any]]:
    """Empty arrays for `count` times each of `arrays`."""
    forms = [((count, *array.shape), array.dtype) for array in arrays]
    limit = free_host_bytes() // 4 if memory_limit_bytes is None else memory_limit_bytes
    needed = count * sum(array.nbytes for array in arrays)
    if needed <= limit:
        return [np.empty(shape, dtype) for shape, dtype in forms]
    say(
        f"{count} decoded pairs take {needed / GIB:.1f} GiB; more than {limit / GIB:.1f} are not kept in memory but "
        f"in a temporary file in {gettempdir()}."
    )
    return [array_on_disk(shape, dtype) for shape, dtype in forms]
