"""Long lists of a JSON file, or a file that is one, read one item at a time.

The parsed form of a large annotation file takes several times its size, and the text alone may be half a gigabyte.
Here each item of the long lists is handed on and forgotten, and so is the text around it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from isdm.data.json_text import CHUNK, JsonText
from isdm.errors import DataError

Take = Callable[[int, Any], None]
"""Receives the number and value of an item."""


def read_lists(path: Path, take: Mapping[str, Take], chunk: int = CHUNK) -> dict[str, Any]:
    """Read the JSON object in `path` and hand the items of some of its lists to functions.

    Args:
        path: a JSON file in UTF-8.
        take: for the name of a list, what receives the number and value of each of its items.
        chunk: characters that are read at once.

    Returns:
        The object's members; of a list that was handed on, the number of its items.

    Raises:
        DataError: the file cannot be read, is no JSON object, or a member in `take` is no list.
    """
    with _refused_as_annotations(path), JsonText(path, chunk) as text:
        return _members(text, take)


def read_items(path: Path, chunk: int = CHUNK) -> Iterator[Any]:
    """Read the JSON list in `path` item by item; arguments and errors as of `read_lists`."""
    with _refused_as_annotations(path), JsonText(path, chunk) as text:
        yield from _items(text)
        if not text.is_at_end():
            raise text.error("Extra data")


@contextmanager
def _refused_as_annotations(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); make it readable.") from None
    except RecursionError:
        raise DataError(f"{path} is nested too deeply to be an annotation file; export it again.") from None
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        raise DataError(f"{path} is not valid JSON ({error}); export it again.") from None


def _members(text: JsonText, take: Mapping[str, Take]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if not text.takes("{"):
        raise text.error("Expecting an object {…}")
    closed = text.takes("}")
    while not closed:
        if not text.comes('"'):
            raise text.error("Expecting a member's name")
        key = text.value()
        if not text.takes(":"):
            raise text.error("Expecting ':' delimiter")
        found[key] = _hand_on(text, take[key]) if key in take else text.value()
        closed = _ends(text, "}")
    if not text.is_at_end():
        raise text.error("Extra data")
    return found


def _hand_on(text: JsonText, take: Take) -> int:
    """Hand on the items of the list that comes next; gives their number."""
    number = 0
    for item in _items(text):
        take(number, item)
        number += 1
    return number


def _items(text: JsonText) -> Iterator[Any]:
    """The items of the list that comes next."""
    if not text.takes("["):
        raise text.error("Expecting a list […]")
    closed = text.takes("]")
    while not closed:
        yield text.value()
        closed = _ends(text, "]")


def _ends(text: JsonText, closing: str) -> bool:
    """Whether `closing` comes after a value, otherwise a comma."""
    if text.takes(closing):
        return True
    if not text.takes(","):
        raise text.error(f"Expecting ',' or '{closing}'")
    return False
