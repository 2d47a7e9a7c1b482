"""A JSON object with long lists, read one item at a time.

The parsed form of a large annotation file takes several times its size. Here only the text is held, and each
item of the long lists is handed on and forgotten.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from isdm.errors import DataError

Take = Callable[[int, Any], None]
"""Receives the number and value of an item."""

_SPACE = re.compile(r"[ \t\r\n]*")


def read_lists(path: Path, take: Mapping[str, Take]) -> dict[str, Any]:
    """Read the JSON object in `path` and hand the items of some of its lists to functions.

    Args:
        path: a JSON file in UTF-8.
        take: for the name of a list, what receives the number and value of each of its items.

    Returns:
        The object's members; of a list that was handed on, the number of its items.

    Raises:
        DataError: the file cannot be read, is no JSON object, or a member in `take` is no list.
    """
    try:
        return _members(path.read_text("utf-8-sig"), take)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); make it readable.") from None
    except RecursionError:
        raise DataError(f"{path} is nested too deeply to be an annotation file; export it again.") from None
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        raise DataError(f"{path} is not valid JSON ({error}); export it again.") from None


def _members(text: str, take: Mapping[str, Take]) -> dict[str, Any]:
    decoder = json.JSONDecoder()
    found: dict[str, Any] = {}
    place = _past(text, 0, "{")
    closed = text.startswith("}", place)
    place += closed
    while not closed:
        key, place = decoder.raw_decode(text, place)
        if not isinstance(key, str):
            raise json.JSONDecodeError("Expecting a member's name", text, place)
        place = _past(text, place, ":")
        if key in take:
            found[key], place = _items(text, place, decoder, take[key])
        else:
            found[key], place = decoder.raw_decode(text, place)
        closed, place = _next(text, place, "}")
    place = _skipped(text, place)
    if place < len(text):
        raise json.JSONDecodeError("Extra data", text, place)
    return found


def _items(text: str, place: int, decoder: json.JSONDecoder, take: Take) -> tuple[int, int]:
    """Hand on the items of the list at `place`; gives their number and where the list ends."""
    place = _past(text, place, "[")
    if text.startswith("]", place):
        return 0, place + 1
    number, closed = 0, False
    while not closed:
        value, place = decoder.raw_decode(text, place)
        take(number, value)
        number += 1
        closed, place = _next(text, place, "]")
    return number, place


def _next(text: str, place: int, closing: str) -> tuple[bool, int]:
    """Whether `closing` comes after a value, otherwise a comma; and the place after it."""
    place = _skipped(text, place)
    if not text.startswith((closing, ","), place):
        raise json.JSONDecodeError(f"Expecting ',' or '{closing}'", text, place)
    closed = text.startswith(closing, place)
    return closed, place + 1 if closed else _skipped(text, place + 1)


def _past(text: str, place: int, mark: str) -> int:
    """The place after `mark`, which must come next, and after the space around it."""
    place = _skipped(text, place)
    if not text.startswith(mark, place):
        kind = {"{": "an object {…}", "[": "a list […]"}.get(mark, repr(mark))
        raise json.JSONDecodeError(f"Expecting {kind}", text, place)
    return _skipped(text, place + 1)


def _skipped(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place
