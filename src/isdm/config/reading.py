"""From YAML files, presets and `key=value` settings to validated options."""

import difflib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from isdm.config.base import CONTRADICTION, StageConfig
from isdm.config.training import TrainConfig
from isdm.errors import ConfigError, UsageError

Config = TypeVar("Config", bound=StageConfig)


def build(kind: type[Config], values: Mapping[str, Any], *, where: str = "the options") -> Config:
    """Validate `values` as a `kind`.

    Raises:
        ConfigError: naming every wrong key with its value, the rule and, for an unknown key, the nearest one.
        UsageError: each value is valid, but they contradict one another.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        contradict = all(problem["type"] == CONTRADICTION for problem in error.errors())
        raise (UsageError if contradict else ConfigError)(_explain(kind, error, where)) from None


def _explain(kind: type[StageConfig], error: ValidationError, where: str) -> str:
    lines = []
    for problem in error.errors():
        path = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _keys_beside(kind, problem["loc"])
            nearest = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.5)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known keys: {', '.join(sorted(known))}"
            line = f"unknown key {path!r}; {hint}"
        elif problem["type"] == "missing":
            line = f"{path!r} is missing"
        else:
            rule = problem["msg"].removeprefix("Value error, ")
            whole = not path or problem["type"] == CONTRADICTION
            line = rule if whole else f"{path} = {problem['input']!r}: {rule}"
        if line not in lines:
            lines.append(line)
    return f"In {where}: " + "; ".join(lines) + "."


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
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; give the path of a YAML file.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold 'key: value' lines, not {type(values).__name__}.")
    return values


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Turn `key=value` and `part.key=value` into nested values, each value read as YAML."""
    values: dict[str, Any] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise ConfigError(f"--set {setting!r} must have the form key=value.")
        *parts, last = path.strip().split(".")
        inner = values
        for part in parts:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"--set {setting!r}: {part!r} was given a single value before.")
        try:
            inner[last] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(
                f"--set {setting!r}: the value cannot be read as YAML: {' '.join(str(error).split())}"
            ) from None
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
    file = resources.files("isdm.presets").joinpath(f"{name}.yaml")
    if not file.is_file():
        known = sorted(
            Path(entry.name).stem
            for entry in resources.files("isdm.presets").iterdir()
            if entry.name.endswith(".yaml")
        )
        raise ConfigError(f"preset {name!r} is unknown; choose one of {', '.join(known)}.")
    return merged(yaml.safe_load(file.read_text("utf-8")), values)
