"""Sources with more classes than a mask can hold: those that the user keeps are enough."""

from collections.abc import Sequence
from pathlib import Path

from isdm.config import DataConfig
from isdm.data.classes import require_known
from isdm.data.dataset import MAX_CLASSES
from isdm.data.recipes import kept_categories
from isdm.errors import DataError

_SHOWN = 3


def fitting_classes(names: Sequence[str], config: DataConfig, told_by: Path) -> list[str]:
    """The classes of a source that get an id: all, or where these are too many, those named by the user's options.

    Args:
        names: classes beside the background, all different; the usual ones first, for the message.
        config: whose `classes` and `merge` choose.
        told_by: the file or folder that names the classes.

    Returns:
        Names in the order of `names`; pixels of all others are to become background.

    Raises:
        DataError: too many, and nothing is chosen, or more than a mask can hold.
        ConfigError: a chosen class is unknown.
    """
    most = MAX_CLASSES - 1
    if len(names) <= most:
        return list(names)
    kept = kept_categories(config)
    if kept is None:
        raise DataError(
            f"{told_by} has {len(names)} classes beside the background; a mask can hold {most}: choose some with "
            f"--classes, such as --classes '{','.join(names[:_SHOWN])}'."
        )
    merged = {part for parts in config.merge.values() for part in parts}
    wanted = (kept | merged) - set(config.merge).difference(names)
    for name in sorted(wanted):
        require_known(name, names, "classes")
    if len(wanted) > most:
        raise DataError(f"{len(wanted)} classes of {told_by} were chosen; a mask can hold {most}: choose fewer.")
    return [name for name in names if name in wanted]
