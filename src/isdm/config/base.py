"""What every stage's options share, and values that people write in their own way (sizes, durations)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PositiveInt
from pydantic_core import PydanticCustomError

CONTRADICTION = "contradiction"

MOST_SEED = 2**63 - 1
"""Largest seed that every random generator in use takes."""


def contradiction(message: str) -> PydanticCustomError:
    """The error of options that are each valid but do not go together; the command line calls it wrong usage."""
    return PydanticCustomError(CONTRADICTION, "{message}", {"message": message})


def parse_size(value: object) -> object:
    """Read `256` or `96x128` (height x width) as (height, width); other values pass on to validation."""
    if isinstance(value, int):
        return (value, value)
    if isinstance(value, str):
        parts = value.lower().split("x")
        if len(parts) in (1, 2) and all(part.strip().isdigit() for part in parts):
            return (int(parts[0]), int(parts[-1]))
        raise ValueError(f"{value!r} is not a size; write 256 or HEIGHTxWIDTH such as 96x128")
    return value


def parse_duration(value: object) -> object:
    """Read `90s`, `45m`, `2h` or a number of seconds as seconds; other values pass on to validation."""
    if isinstance(value, str):
        units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
        number, unit = (value[:-1], value[-1]) if value[-1:] in units else (value, "s")
        try:
            return float(number) * units[unit]
        except ValueError:
            raise ValueError(f"{value!r} is not a duration; write 90s, 45m or 2h") from None
    return value


def _can_be_recorded(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("a path has no null byte")
    str(path).encode("utf-8")  # a stage's record names its paths
    return path


PathOption = Annotated[Path, AfterValidator(_can_be_recorded)]
"""A path that a record can hold: text in UTF-8."""
Size = Annotated[tuple[PositiveInt, PositiveInt], BeforeValidator(parse_size)]
Seconds = Annotated[float, BeforeValidator(parse_duration)]


class StageConfig(BaseModel):
    """What every stage's options share: frozen, no unknown keys, defaults validated too."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True)

    BEFORE: ClassVar[Mapping[str, Any]] = {}
    """What stages did before they had an option, where that is not the option's default."""
    DROPPED: ClassVar[Mapping[str, Any]] = {}
    """Options that earlier versions had, with the value at which they changed nothing."""

    def plain(self) -> dict[str, Any]:
        """Give the options as JSON-ready values, for provenance and comparison."""
        return self.model_dump(mode="json")

    @classmethod
    def completed(cls, record: Mapping[str, Any]) -> dict[str, Any]:
        """Options that an earlier version recorded, with those that it did not have yet as it would have acted."""
        kept = {
            name: value for name, value in record.items() if name not in cls.DROPPED or value != cls.DROPPED[name]
        }
        defaults = cls.model_construct().model_dump(mode="json", warnings=False)
        whole = {**defaults, **cls.BEFORE, **kept}
        for name, value in whole.items():
            annotation = cls.model_fields[name].annotation if name in cls.model_fields else None
            for kind in (annotation, *get_args(annotation)):  # also of options that may be None
                if isinstance(value, Mapping) and isinstance(kind, type) and issubclass(kind, StageConfig):
                    whole[name] = kind.completed(value)
        return whole
