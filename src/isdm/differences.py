"""What differs between two sets of options, in words for a person: `unet.norm_groups was 8, now 32`."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

MOST_NAMED = 4
"""Differences that a message names before it only counts."""
LONGEST_VALUE = 60
"""Characters of a value."""
_MISSING = object()


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], *, leave_out: Collection[str] = (), below: str = ""
) -> list[str]:
    """Every key, with those of the mappings that it lies in, that has another value.

    Args:
        before: JSON-ready values.
        now: the same for what is compared with them.
        leave_out: keys of the outermost mapping that may differ.
        below: what the keys lie in, such as `train`.
    """
    wanted = [key for key in dict.fromkeys([*before, *now]) if key not in leave_out]
    start = f"{below}." if below else ""
    return [
        f"{start}{path} was {_told(old)}, now {_told(new)}"
        for key in wanted
        for path, old, new in _different(key, before.get(key, _MISSING), now.get(key, _MISSING))
    ]


def told(changed: Collection[str]) -> str:
    """The first few differences on one line, and how many more there are."""
    first = list(changed)[:MOST_NAMED]
    more = len(changed) - len(first)
    return "; ".join(first) + (f"; and {more} more" if more else "")


def _different(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from _different(f"{path}.{key}", old.get(key, _MISSING), new.get(key, _MISSING))
    elif _plain(old) != _plain(new):
        yield path, old, new


def _plain(value: Any) -> Any:
    """A value as JSON would give it back: a key that is not there is one without a value, a tuple is a list."""
    if value is _MISSING:
        return None
    return [_plain(part) for part in value] if isinstance(value, tuple | list) else value


def _told(value: Any) -> str:
    """A value, cut where it is long."""
    text = written(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def written(value: Any) -> str:
    """A JSON-ready value as people write it in a YAML file."""
    if value is None or value is _MISSING:
        return "not given"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {written(part)}" for key, part in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(written, value)) + "]"
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value) or "empty"
