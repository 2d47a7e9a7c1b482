"""Values in a stranger's annotation file: whatever is wrong with one becomes a DataError that shows it."""

import math
import reprlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from isdm.data.dataset import MAX_CLASSES
from isdm.data.tree_files import is_file, text_lines
from isdm.errors import DataError

BACKGROUND_LABELS = ("background", "_background_")
"""Labels that mean class 0: annotators also draw background, over a shape that reaches too far."""

_brief = reprlib.Repr()
_brief.maxlevel, _brief.maxstring, _brief.maxother = 2, 80, 80


def shown(value: object) -> str:
    """A value of a stranger's file for a message: cut where it is long or deep."""
    return _brief.repr(value)


def number(value: object, name: str = "the coordinate") -> float:
    """A finite number from a JSON value."""
    try:
        result = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise DataError(f"{name} is {shown(value)}; it must be a number: redraw or remove the shape")
    return result


def point_list(value: object) -> list[tuple[float, float]]:
    """Points from a JSON value [[x, y], …]."""
    if not isinstance(value, list) or not all(isinstance(point, list) and len(point) == 2 for point in value):
        raise DataError(f"the points are {shown(value)}; they must be pairs [x, y]: redraw or remove the shape")
    return [(number(x), number(y)) for x, y in value]


def label_text(value: object) -> str:
    """A label from a JSON value: text that can be written to a file."""
    if not isinstance(value, str) or not value.strip() or "\n" in value or value != _encodable(value):
        raise DataError(f"the label is {shown(value)}; it must be one line of text: name the shape's class")
    return value


def _encodable(text: str) -> str:
    return text.encode("utf-8", "ignore").decode("utf-8")


def check_size(stated: tuple[Any, Any], size: tuple[int, int], image: Path) -> None:
    """Refuse an annotation for a height and width other than the image's; None stands for unstated."""
    if any(value is not None and value != true for value, true in zip(stated, size, strict=True)):
        raise DataError(
            f"the annotation is for an image of {shown(stated[1])}x{shown(stated[0])} but {image} is "
            f"{size[1]}x{size[0]}; annotate this image, or put back the one that was annotated"
        )


def class_ids(names: Sequence[str], told_by: Path) -> tuple[tuple[str, ...], dict[str, int]]:
    """Class names with the background first, and the id of each name; a name of the background's has id 0.

    Raises:
        DataError: a name occurs twice, or there is none beside the background, or too many.
    """
    foreground = [name for name in names if name.lower() not in BACKGROUND_LABELS]
    twice = [name for name, times in Counter(foreground).items() if times > 1]
    if twice:
        raise DataError(f"{told_by} names the class {shown(twice[0])} twice; each name must be there once.")
    if not 1 <= len(foreground) < MAX_CLASSES:
        raise DataError(
            f"{told_by} has {len(foreground)} classes beside the background; from 1 to {MAX_CLASSES - 1} can be used."
        )
    ids = {name: index for index, name in enumerate(foreground, start=1)}
    ids.update({name: 0 for name in names if name.lower() in BACKGROUND_LABELS})
    return ("background", *foreground), ids


def found_class_ids(
    labels: Iterable[str], told_by: Path, problems: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, int]]:
    """`class_ids` of the labels that were found, sorted.

    Args:
        labels: what was found.
        told_by: where.
        problems: what is wrong with pictures, which is why no label may have been found.

    Raises:
        DataError: as for `class_ids`; with all problems where they are the reason.
    """
    names = sorted(labels)
    if problems and all(name.lower() in BACKGROUND_LABELS for name in names):
        raise DataError(
            f"{told_by} has no usable label beside the background; mend these {len(problems)} problem(s):\n"
            + "\n".join(f"  {problem}" for problem in problems)
        )
    return class_ids(names, told_by)


def declared_labels(source: Path, files: Iterable[str]) -> tuple[Path, list[str]] | None:
    """The first of `files` that is in the source, and the labels in it, one a line."""
    path = next((source / name for name in files if is_file(source / name)), None)
    return None if path is None else (path, [line for line in text_lines(path) if line])
