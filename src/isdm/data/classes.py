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
ALWAYS_IGNORED = "__ignore__"
"""LabelMe's name for pixels that nobody knows, in annotations of any layout."""
UNKNOWN_NAMES = frozenset({"ignore", "ignored", "void", "unknown", "unlabeled", "unlabelled", "unannotated"})
"""Names that no class of things has."""


class ChosenClasses(NamedTuple):
    """The classes of a dataset to be, and how the source's ids become theirs."""

    classes: tuple[SegmentationClass, ...]
    table: NDArray[np.uint8]
    """(256,) from the source's ids to the dataset's."""
    has_background: bool
    """Whether class 0 is the background."""
    notes: list[str]
    """Sentences on what is ignored, and what perhaps should be."""


def chosen_classes(source: Source, config: DataConfig) -> ChosenClasses:
    """Classes after merging and choosing.

    What is not chosen becomes background; a source without a background gets one only for that. What is ignored is no
    class.
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
    for name in config.ignore:
        require_known(name, tuple(dict.fromkeys(new_name.values())), "ignore")
    ignored = {*config.ignore, ALWAYS_IGNORED}.intersection(new_name.values())
    known = tuple(name for name in dict.fromkeys(new_name.values()) if name not in ignored)
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
        table[old_id] = IGNORE_INDEX if target in ignored else names.index(target) if target in names else 0
    classes = tuple(SegmentationClass(i, name, colour_of[name]) for i, name in enumerate(names))
    return ChosenClasses(classes, table, background is not None, _notes(sorted(ignored), kept))


def _notes(ignored: Sequence[str], kept: Sequence[str]) -> list[str]:
    notes = [f"pixels of {' and '.join(ignored)} are ignored"] if ignored else []
    doubtful = [name for name in kept if name.lower() in UNKNOWN_NAMES]
    if doubtful:
        notes.append(
            f"{doubtful[0]!r} counts as a class to be found; if its pixels are of no known class, import again with "
            f"--ignore {','.join(doubtful)}"
        )
    return notes


def require_known(name: str, known: Sequence[str], option: str) -> None:
    """Refuse a class name of the user's that the source does not have.

    Raises:
        ConfigError: it is not among `known`; the message lists those, the most alike first.
    """
    if name not in known:
        raise ConfigError(f"{option}: class {name!r} is unknown; the source has {nearest(name, known)}.")
