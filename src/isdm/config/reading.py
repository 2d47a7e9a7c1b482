"""From YAML files, presets and `key=value` settings to validated options."""

import difflib
import reprlib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from isdm.config.base import CONTRADICTION, StageConfig
from isdm.config.training import TrainConfig
from isdm.errors import ConfigError, UsageError
from isdm.yaml_text import YamlTextError, parse_yaml

Config = TypeVar("Config", bound=StageConfig)

_brief = reprlib.Repr()
_brief.maxlevel, _brief.maxstring, _brief.maxother, _brief.maxlong = 3, 120, 120, 120


def build(kind: type[Config], values: Mapping[str, Any], *, where: str = "the options") -> Config:
    """Validate `values` as a `kind`.

    Raises:
        ConfigError: naming every wrong key with its value, the rule and, for an unknown key, the nearest one; or
            each value is valid, but they contradict one another.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        keys = {str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}
        raise ConfigError(_explain(kind, error, where), keys) from None


def _explain(kind: type[StageConfig], error: ValidationError, where: str) -> str:
    lines = []
    for problem in error.errors():
        path = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            hint = _hint(str(problem["loc"][-1]), _keys_beside(kind, problem["loc"]), problem["input"])
            line = f"unknown key {path!r}; {hint}"
        elif problem["type"] == "missing":
            line = f"{path!r} is missing"
        else:
            rule = problem["msg"].removeprefix("Value error, ")
            whole = not path or problem["type"] == CONTRADICTION
            line = rule if whole else f"{path} = {_brief.repr(problem['input'])}: {rule}"
        if line not in lines:
            lines.append(line)
    told = "; ".join(lines)
    return f"In {where}: {told}{'' if told.endswith('?') else '.'}"


def _hint(key: str, known: Sequence[str], value: object) -> str:
    """What may have been meant by a key that is not among those known."""
    first, *parts = key.split(".")
    if parts and first in known:  # as --set takes it; in a file a dot may be part of a name
        is_short = isinstance(value, int | float | str) and not isinstance(value, bool) and len(str(value)) < 40
        plain = value if is_short else "…"
        return f"write {first}: {{{': {'.join(parts)}: {plain}{'}' * len(parts)}"
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"did you mean {nearest[0]!r}?" if nearest else f"known keys: {', '.join(sorted(known))}"


def _keys_beside(kind: type[StageConfig], location: Sequence[int | str]) -> list[str]:
    """Keys that the (sub-)model at `location` knows."""
    fields = kind.model_fields
    for part in location[:-1]:
        annotation = fields[str(part)].annotation if str(part) in fields else None
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        models = [kind for kind in candidates if isinstance(kind, type) and issubclass(kind, StageConfig)]
        if not models:
            break
        fields = models[0].model_fields
    return list(fields)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; an unreadable file is a `ConfigError` that names it."""
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path} is no file; give the path of a YAML file.")
    try:
        values = parse_yaml(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; give the path of a YAML file.") from None
    except (OSError, UnicodeDecodeError, YamlTextError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold 'key: value' lines, not {type(values).__name__}.")
    return values


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Turn `key=value` and `part.key=value` into nested values, each value read as YAML.

    Raises:
        UsageError: a setting has another form; it comes from the command line.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise UsageError(f"--set {setting!r} must have the form key=value.")
        *parts, last = path.strip().split(".")
        inner = values
        for part in parts:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise UsageError(f"--set {setting!r}: {part!r} was given a single value before.")
        try:
            inner[last] = parse_yaml(text)
        except YamlTextError as error:
            raise UsageError(f"--set {setting!r}: the value cannot be read as YAML: {error}") from None
    return values


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested values; later layers win."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            old = result.get(key)
            both = isinstance(old, Mapping) and isinstance(value, Mapping)
            result[key] = merged(old, value) if both else value  # type: ignore[arg-type]
    return result


def with_preset(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the settings of the preset that `values` name (default `small`); explicit values win."""
    name = values.get("preset", TrainConfig.model_fields["preset"].default)
    presets = {
        Path(entry.name).stem: entry
        for entry in resources.files("isdm.presets").iterdir()
        if entry.name.endswith(".yaml")
    }
    if not isinstance(name, str) or name not in presets:
        known = ", ".join(sorted(presets))
        raise ConfigError(f"preset {_brief.repr(name)} is unknown; choose one of {known}.", {"preset"})
    return merged(parse_yaml(presets[name].read_text("utf-8")), values)
