"""Layouts that `isdm data import` reads. A new one is one module here: its name is the layout's.

A layout module has

    recognises(source) -> bool     cheap and certain: by folders and file names, without decoding images
    read(source, config) -> Source names files and says how their masks become class ids; decodes no image

and perhaps `GENERIC = True`, when it should be asked only where no other layout recognises the source. Code outside
this package adds a layout of its own with `register`.
"""

import os
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

from isdm.config import DataConfig
from isdm.data.layouts.source import Source, SourcePair
from isdm.data.listing import led_out
from isdm.data.pairs_on_disk import pairs_on_disk
from isdm.errors import ConfigError, DataError, UsageError

_registered: dict[str, ModuleType] = {}


def register(name: str, layout: ModuleType) -> None:
    """Make a layout known under `name` until the process ends, as `--layout` and `layout` take it.

    Args:
        name: lower case with hyphens, such as `defect-list`; the name of another layout is no choice.
        layout: a module with `recognises` and `read`, see above.

    Raises:
        ConfigError: another layout has that name, or the module lacks one of the two functions.
    """
    lacking = [function for function in ("recognises", "read") if not callable(getattr(layout, function, None))]
    if lacking:
        raise ConfigError(f"layout {name!r}: {layout.__name__} lacks {' and '.join(lacking)}; define them there.")
    if name == "auto" or layouts().get(name, layout) is not layout:
        raise ConfigError(f"layout {name!r} is there already; choose another name.")
    _registered[name] = layout


def layouts() -> dict[str, ModuleType]:
    """Every layout's module by the layout's name, in the order of the names; then those that were registered."""
    return {**_own_layouts(), **_registered}


@cache
def _own_layouts() -> dict[str, ModuleType]:
    modules = {info.name: import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__)}
    return {name.replace("_", "-"): module for name, module in sorted(modules.items()) if hasattr(module, "read")}


def read_source(config: DataConfig) -> tuple[str, Source]:
    """Read the tree at `config.source`; with layout `auto`, as the one layout that recognises it.

    Returns:
        The layout's name and what it found.

    Raises:
        UsageError: the layout's name is unknown.
        DataError: the folder is missing, no layout or more than one fits, or no pair is found.
    """
    folder = config.source
    if config.layout not in ("auto", *layouts()):
        raise UsageError(f"layout = {config.layout!r} is unknown; choose auto, {', '.join(layouts())}.")
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the folder or archive with the images and masks.")
    name = config.layout if config.layout != "auto" else recognised(folder)
    source = _without_links_out(folder, layouts()[name].read(folder, config))
    if not source.pairs:
        why = "".join(f"\n  {problem}" for problem in source.problems)
        raise DataError(f"{folder} holds no sound pair of image and mask in the layout {name!r}.{why}")
    return name, source


def _without_links_out(folder: Path, source: Source) -> Source:
    """Leave out pairs with a file that a link takes out of the source, and name each such file."""
    limit = os.path.realpath(folder)
    problems: dict[str, None] = {}

    def stays(pair: SourcePair) -> bool:
        files = (pair.image, pair.mask, pair.instances, *pair.more_files)
        outside = [line for path in files if path is not None and (line := led_out(path, limit)) is not None]
        problems.update(dict.fromkeys(outside))
        return not outside

    pairs = pairs_on_disk(filter(stays, source.pairs))
    return replace(source, pairs=pairs, problems=[*source.problems, *problems])


def recognised(folder: Path) -> str:
    """The name of the layout that `folder` has."""
    special = [name for name, module in layouts().items() if not _generic(module) and module.recognises(folder)]
    names = special or [name for name, module in layouts().items() if _generic(module) and module.recognises(folder)]
    if len(names) > 1:
        raise DataError(f"{folder} could have the layouts {' and '.join(names)}; name the right one with --layout.")
    if not names:
        raise DataError(
            f"{folder} has none of the known layouts. Put images into images/ and masks of the same names into "
            f"masks/, or name one with --layout: {', '.join(layouts())}."
        )
    return names[0]


def _generic(module: ModuleType) -> bool:
    return bool(getattr(module, "GENERIC", False))
