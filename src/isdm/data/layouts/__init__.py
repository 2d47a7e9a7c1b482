"""Layouts that `isdm data import` reads. A new one is one module here and one line in `LAYOUTS`.

A layout module has `recognises(source) -> bool` and `read(source) -> Source`; it names files and says how
their masks become class ids, but decodes no image before it is asked to.
"""

from pathlib import Path
from types import ModuleType

from isdm.config import Layout
from isdm.data.layouts import folders, isdm, magnetic_tile
from isdm.data.layouts.source import Source
from isdm.errors import DataError

LAYOUTS: dict[str, ModuleType] = {  # in the order in which `auto` asks them
    "isdm": isdm,
    "magnetic-tile": magnetic_tile,
    "folders": folders,
}


def read_source(folder: Path, layout: Layout = "auto") -> tuple[str, Source]:
    """Read the tree at `folder`; with `auto`, as the first layout that recognises it.

    Returns:
        The layout's name and what it found.

    Raises:
        DataError: when the folder is missing, no layout fits, or no pair is found.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the folder that holds the images and masks.")
    name = layout if layout != "auto" else _recognised(folder)
    source: Source = LAYOUTS[name].read(folder)
    if not source.pairs:
        why = f": {source.problems[0]}" if source.problems else ""
        raise DataError(f"{folder} holds no pair of image and mask in the layout {name!r}{why}.")
    return name, source


def _recognised(folder: Path) -> str:
    for name, module in LAYOUTS.items():
        if module.recognises(folder):
            return name
    raise DataError(
        f"{folder} has none of the known layouts. Put images into images/ and masks of the same names into "
        f"masks/, or name one with --layout: {', '.join(LAYOUTS)}."
    )
