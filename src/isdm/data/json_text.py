"""The text of a JSON file, decoded value by value; only the part around the current value is in memory."""

import json
import re
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CHUNK = 2**20
"""Characters that are read at once, or as many as wait already."""

_SPACE = re.compile(r"[ \t\r\n]*")
_LONGEST_WORD = len("-Infinity")
_NUMBER_MAY_GO_ON = len("e+0")
"""Fewer characters than these behind a number can still belong to it."""


class JsonText:
    """A JSON file in UTF-8, read from its beginning; to be used in a `with` statement.

    Args:
        path: the file.
        chunk: characters that are read at once.

    Raises:
        OSError: the file cannot be read; so do the methods.
    """

    def __init__(self, path: Path, chunk: int = CHUNK) -> None:
        self._file = path.open(encoding="utf-8-sig", newline="")
        self._chunk = chunk
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._place = 0
        self._lines_before = self._columns_before = self._characters_before = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def skip_space(self) -> None:
        """Go on to what comes after space, or to the end."""
        while True:
            space = _SPACE.match(self._text, self._place)
            assert space is not None, "no space is space, too"
            self._place = space.end()
            if self._place < len(self._text) or not self._read_more():
                return

    def comes(self, mark: str) -> bool:
        """Whether the character `mark` comes next after space."""
        self.skip_space()
        return self._text.startswith(mark, self._place)

    def takes(self, mark: str) -> bool:
        """Whether the character `mark` comes next after space; it is passed then."""
        found = self.comes(mark)
        self._place += found
        return found

    def is_at_end(self) -> bool:
        """Whether nothing but space comes any more."""
        self.skip_space()
        return self._place == len(self._text)

    def value(self) -> Any:
        """Decode the value that comes next.

        Raises:
            ValueError: it is no JSON, or a number of thousands of digits; `json.JSONDecodeError` names the place.
            RecursionError: it is nested too deeply.
        """
        self.skip_space()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                if not (self._may_be_cut(error) and self._read_more()):
                    raise self.error(error.msg, error.pos) from None
                continue
            is_whole = len(self._text) - end >= _NUMBER_MAY_GO_ON or not isinstance(value, int | float)
            if is_whole or not self._read_more():
                self._place = end
                return value

    def error(self, message: str, place: int | None = None) -> json.JSONDecodeError:
        """An error at a place of the text in memory, the current one unless given; line and column are the file's."""
        place = self._place if place is None else place
        error = json.JSONDecodeError(message, self._text, place)
        line_starts_here = "\n" in self._text[:place]
        line, column = error.lineno + self._lines_before, error.colno + (not line_starts_here) * self._columns_before
        error.args = (f"{message}: line {line} column {column} (char {place + self._characters_before})",)
        return error

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        """Whether the error may come from the end of what is in memory; anything else is not read on for."""
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - _LONGEST_WORD

    def _read_more(self) -> bool:
        """Forget what lies behind and read at least as much as waits: so a long value takes linear time."""
        waiting = len(self._text) - self._place
        more = self._file.read(max(self._chunk, waiting))
        if not more:
            return False
        passed = self._text[: self._place]
        self._characters_before += len(passed)
        self._lines_before += passed.count("\n")
        self._columns_before = len(passed) - passed.rfind("\n") - 1 + ("\n" not in passed) * self._columns_before
        self._text = self._text[self._place :] + more
        self._place = 0
        return True
