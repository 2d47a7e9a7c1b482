"""From command-line options to the frozen configuration of a stage."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from isdm.config import StageConfig, build, merged, parse_settings, read_yaml

Config = TypeVar("Config", bound=StageConfig)


def given(**options: Any) -> dict[str, Any]:
    """Keep the options that were given (None is "not given")."""
    return {name: value for name, value in options.items() if value is not None}


def layered(file: Path | None, options: Mapping[str, Any], settings: Sequence[str] = ()) -> dict[str, Any]:
    """Values of a --config file, overridden by named options, overridden by --set."""
    return merged(read_yaml(file) if file is not None else {}, options, parse_settings(settings))


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


def config(kind: type[Config], values: Mapping[str, Any], command: str) -> Config:
    """Validate the values of a command."""
    return build(kind, values, where=f"the options of {command}")
