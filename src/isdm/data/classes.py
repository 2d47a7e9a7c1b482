"""Which classes a dataset has: those of its source, merged and chosen as the user asks."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isdm.config import DataConfig
from isdm.data.dataset import IGNORE_INDEX, SegmentationClass
from isdm.data.layouts.source import Source, class_colours
from isdm.errors import ConfigError
from isdm.text import nearest

BACKGROUND = "background"


class ChosenClasses(NamedTuple):
    """The classes of a dataset to be, and how the source's ids become theirs."""

    classes: tuple[SegmentationClass, ...]
    table: NDArray[np.uint8]
    """(256,) from the source's ids to the dataset's."""
    has_background: bool
    """Whether class 0 is the background."""


def chosen_classes(source: Source, config: DataConfig) -> ChosenClasses:
    """Classes after merging and choosing.

    What is not chosen becomes background; a source without a background gets one only for that.
    """
    colour_of = dict(zip(source.class_names, source.colours or class_colours(len(source.class_names)), strict=True))
    background = source.class_names[0] if source.has_background else None
    choosable = source.class_names[1:] if source.has_background else source.class_names
    new_name = {name: name for name in choosable}
    for merged_name, parts in config.merge.items():
        for part in parts:
            require_known(part, choosable, "merge")
            new_name[part] = merged_name
            colour_of.setdefault(merged_name, colour_of[part])
    known = tuple(dict.fromkeys(new_name.values()))
    for name in config.classes or ():
        require_known(name, known, "classes")
    kept = [name for name in known if config.classes is None or name in config.classes]
    if background is None and len(kept) < len(known):
        background = BACKGROUND
        colour_of[BACKGROUND] = (0, 0, 0)
    names = kept if background is None else [background, *kept]
    if len(names) < 2:
        raise ConfigError(f"only the class {names[0]!r} would be left; a dataset needs at least two.")
    table = np.full(256, IGNORE_INDEX, np.uint8)
    # Ids that the source does not declare stay as they are, so that the check of the masks finds them.
    table[len(source.class_names) : IGNORE_INDEX] = np.arange(len(source.class_names), IGNORE_INDEX)
    for old_id, name in enumerate(source.class_names):
        target = new_name.get(name, name)
        table[old_id] = names.index(target) if target in names else 0
    classes = tuple(SegmentationClass(i, name, colour_of[name]) for i, name in enumerate(names))
    return ChosenClasses(classes, table, background is not None)


def require_known(name: str, known: Sequence[str], option: str) -> None:
    """Refuse a class name of the user's that the source does not have.

    Raises:
        ConfigError: it is not among `known`; the message lists those, the most alike first.
    """
    if name not in known:
        raise ConfigError(f"{option}: class {name!r} is unknown; the source has {nearest(name, known)}.")
