"""What an import notices and cannot decide: names of one part, and what a size does to pictures and objects."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from isdm.data.image_files import ImageHeader, MaskArray
from isdm.data.layouts.source import SourcePair
from isdm.data.regions import connected_regions

MOST_NAMES = 20_000
"""Of more, the names are not compared: they would all be in memory."""
MOST_PER_PART = 20
"""Pictures that one part has on average; more are a camera's or a day's."""
BEGINNING = r"^(.*\d)\D+\d+$"
"""A name up to its last number but one: `part07` of `part07_photo3`."""
COMPARED_PAIRS = 100
GROWTH = 1.25
"""Objects made of one, on average, that are worth a word."""


def parts_by_name(pairs: Sequence[SourcePair]) -> list[str]:
    """A sentence where nearly all names have a beginning that some share, and these lie in several groups."""
    if len(pairs) > MOST_NAMES:
        return []
    groups: dict[str, set[str]] = {}
    sizes: Counter[str] = Counter()
    for pair in pairs:
        found = re.match(BEGINNING, pair.stem)
        if found is not None:
            groups.setdefault(found[1], set()).add(pair.group or pair.stem)
            sizes[found[1]] += 1
    count = sizes.total()
    is_like_parts = count >= 0.9 * len(pairs) and len(sizes) >= 2 and 1.5 <= count / len(sizes) <= MOST_PER_PART
    parted = [name for name, of_name in groups.items() if len(of_name) > 1]
    if not is_like_parts or not parted:
        return []
    return [
        f"{count} names have {len(sizes)} beginnings, such as {parted[0]} ({sizes[parted[0]]} of them). If these are "
        f"photographs of one part, a split must not separate them: import again with --group-by '{BEGINNING}'"
    ]


def enlarged_pictures(headers: Sequence[ImageHeader], size: tuple[int, int]) -> list[str]:
    """A sentence where at least half of the source's pictures are smaller than the size (height, width) they get."""
    areas = sorted((header.height * header.width, header.height, header.width) for header in headers)
    if not areas:
        return []
    area, height, width = areas[len(areas) // 2]
    if area >= size[0] * size[1]:
        return []
    return [
        f"half of them or more are no larger than {height}x{width} and were enlarged to {size[0]}x{size[1]} "
        f"(height x width), which adds work and no detail: a smaller --size is enough"
    ]


def harmed_objects(
    pairs: Sequence[SourcePair], masks: Sequence[MaskArray], table: NDArray[np.uint8], first_foreground: int
) -> list[str]:
    """A sentence each where objects of the source's masks have fallen to pieces in the dataset's, or all are gone.

    A class that a mask shows no more is judged apart from the pieces of the others, which it would hide.

    Args:
        pairs: pairs of the source, some of them.
        masks: what their masks became, (H, W) each.
        table: (256,) from the source's class ids to the dataset's.
        first_foreground: the first class that is an object.
    """
    before = after = num_losing = num_emptied = 0
    for pair, mask in zip(pairs, masks, strict=True):
        own, left = _num_objects(table[pair.load_mask()], first_foreground), _num_objects(mask, first_foreground)
        before += sum(own[class_id] for class_id in left)
        after += left.total()
        num_losing += bool(own.keys() - left.keys())
        num_emptied += bool(own) and not left
    notes = []
    if after > GROWTH * before:
        notes.append(
            f"in {len(pairs)} of the masks {before} objects became {after} pieces: thin ones break at this size. "
            f"Take a larger --size, or --fit crop"
        )
    if num_losing:
        emptied = f", {num_emptied} of them all that they had" if num_emptied else ""
        notes.append(
            f"{num_losing} of {len(pairs)} masks compared lost all objects of a class{emptied}: small ones vanish at "
            f"this size. Take a larger --size, or --fit crop with a --window"
        )
    return notes


def _num_objects(mask: MaskArray, first_foreground: int) -> Counter[int]:
    """Connected pieces of each class that there is, 8 neighbours each."""
    ids = [value for value in np.unique(mask).tolist() if first_foreground <= value < 255]
    return Counter({value: connected_regions(mask == value)[1] for value in ids})
