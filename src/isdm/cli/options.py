"""From command-line options to the frozen configuration of a stage."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from isdm.config import StageConfig, build, merged, parse_settings, read_yaml
from isdm.errors import ConfigError, UsageError

Config = TypeVar("Config", bound=StageConfig)


def given(**options: Any) -> dict[str, Any]:
    """Keep the options that were given (None is "not given")."""
    return {name: value for name, value in options.items() if value is not None}


def layered(
    file: Path | None, named: Mapping[str, Any], settings: Sequence[str] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options typed on the command line (--set over named ones), and all of them, over those of a --config file."""
    typed = merged(named, parse_settings(settings or ()))
    return typed, merged(read_yaml(file) if file is not None else {}, typed)


def comma_list(text: str | None) -> list[str] | None:
    """Split `a,b,c`; None stays None."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def counts(text: str | None) -> list[int | str] | None:
    """Split `0,100,all` into numbers and words; None stays None."""
    parts = comma_list(text)
    return None if parts is None else [int(part) if part.isdigit() else part for part in parts]


def number(text: str | None) -> float | int | str | None:
    """Read a count or a share; what is neither is left for validation to complain about."""
    if text is None or not text.replace(".", "", 1).isdigit():
        return text
    return int(text) if text.isdigit() else float(text)


def config(
    kind: type[Config],
    command: str,
    named: Mapping[str, Any],
    file: Path | None = None,
    settings: Sequence[str] | None = None,
    complete: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> Config:
    """Validate the options of a command.

    Args:
        kind: what they make.
        command: its name, for messages.
        named: options of the command line, each by its name.
        file: the YAML file of --config; options of the command line win over it.
        settings: the texts of --set, which win over all.
        complete: fills in what was not given, such as a preset's values.

    Raises:
        UsageError: an option of the command line is wrong, or it contradicts another.
        ConfigError: one of the file is, or the file cannot be read.
    """
    typed, values = layered(file, named, settings)
    with wrong_usage(typed, from_file=file is not None):
        return build(kind, complete(values), where=f"the options of {command}")


@contextmanager
def wrong_usage(typed: Collection[str], from_file: bool) -> Iterator[None]:
    """Call a `ConfigError` about the options `typed` on the command line wrong usage.

    With `from_file` (a --config file was given too) it stays the file's where none of those is at fault.
    """
    try:
        yield
    except ConfigError as error:
        blamed = error.keys.intersection(typed) if error.keys else typed
        if from_file and not blamed:
            raise
        raise UsageError(str(error), error.keys) from None


@contextmanager
def options_of_a_file() -> Iterator[None]:
    """Call a `UsageError` a `ConfigError`: the options stand in a file that the command was given rightly."""
    try:
        yield
    except UsageError as error:
        raise ConfigError(str(error), error.keys) from None
