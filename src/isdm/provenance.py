"""What made a folder: `provenance.json` in the output of every stage.

It says which stage ran with which resolved configuration, package version and inputs (by fingerprint), and
whether it finished. A stage that finds its own record goes on or is done; any other content is refused.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from isdm.differences import differences, told
from isdm.errors import IsdmError, OutputError
from isdm.files import ASIDE_MARK, LOCK_NAME, read_json, remove_abandoned, write_json
from isdm.version import __version__

FILE_NAME = "provenance.json"
FORMAT_VERSION = 1
"""Of the whole folder that a stage writes; raised when an older isdm would read it wrongly."""

State = Literal["new", "unfinished", "finished"]

_WITHOUT_OUT = ("data import", "data export")
"""Stages whose command has no --out but names its output by place."""


class Options(Protocol):
    """The options of a stage, as `isdm.config` has them."""

    def plain(self) -> dict[str, Any]:
        """Give them as JSON-ready values."""

    def completed(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """What an earlier version recorded, with the options that it did not have."""


@dataclass(frozen=True)
class Provenance:
    """The record of one stage's output folder."""

    stage: str
    config: dict[str, Any]
    inputs: dict[str, str]
    finished: bool = False
    seconds: float = 0.0
    isdm_version: str = __version__
    format_version: int = FORMAT_VERSION

    def write(self, folder: Path) -> None:
        """Write the record into `folder`."""
        write_json(folder / FILE_NAME, vars(self))


def read(folder: Path) -> Provenance | None:
    """Read a folder's record; None where there is none."""
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    values = read_json(path)
    if not isinstance(values, dict) or not {"stage", "config", "inputs"} <= values.keys():
        raise OutputError(f"{path} is not a record of isdm; give a new or empty folder.")
    check_format_version(values, path, FORMAT_VERSION, OutputError)
    if not all(isinstance(values[key], dict) for key in ("config", "inputs")):
        raise OutputError(f"{path} misstates config or inputs; give a new or empty folder.")
    known = {key: values[key] for key in Provenance.__dataclass_fields__ if key in values}
    return Provenance(**known)


def check_format_version(values: Mapping[str, Any], path: Path, newest: int, error: type[IsdmError]) -> None:
    """Refuse what a newer isdm wrote into `path`; what says nothing of its format is of the first one.

    Raises:
        IsdmError: as `error`, naming the version, the newest that can be read, and the remedy.
    """
    version = values.get("format_version", 1)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise error(f"{path} has format version {version!r}, which no isdm writes; make the folder anew.")
    if version > newest:
        raise error(
            f"{path} has format version {version}, of a newer isdm; this one, {__version__}, reads up to {newest}. "
            f"Install a newer isdm."
        )


def begin(
    folder: Path,
    stage: str,
    config: Options | Mapping[str, Any],
    inputs: Mapping[str, str],
    *,
    may_change: Collection[str] = (),
) -> State:
    """Open `folder` as the output of `stage`, or find that it is already begun or finished.

    Options in `may_change` (such as where to stop, or the device) do not make it another output.

    Raises:
        OutputError: when the folder holds something else or was made from other options or inputs.
    """
    new = Provenance(stage, _plain(config), dict(inputs))
    check(folder, stage, config, inputs, may_change=may_change)
    remove_abandoned(folder)
    old = read(folder)
    if old is None:
        folder.mkdir(parents=True, exist_ok=True)
        new.write(folder)
        return "new"
    return "finished" if old.finished else "unfinished"


def check(
    folder: Path,
    stage: str,
    config: Options | Mapping[str, Any],
    inputs: Mapping[str, str],
    *,
    may_change: Collection[str] = (),
) -> None:
    """Refuse a folder that holds anything but this stage's own output (see `begin`).

    An option that the folder's record does not have, for an earlier version wrote it, counts as that version acted.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; give a folder that does not exist yet.")
    old = read(folder)
    if old is None:
        if folder.is_dir() and any(not entry.name.startswith((ASIDE_MARK, LOCK_NAME)) for entry in folder.iterdir()):
            raise OutputError(f"{folder} holds something that isdm did not make; give a new or empty folder.")
        return
    if old.stage != stage:
        raise OutputError(f"{folder} holds the output of 'isdm {old.stage}', not of {stage!r}; give another.")
    changed = changed_options(old, config, may_change=may_change)
    changed += [f"another {key}" for key in sorted({*old.inputs, *inputs}) if old.inputs.get(key) != inputs.get(key)]
    if changed:
        place = "output folder" if stage in _WITHOUT_OUT else "--out"
        raise OutputError(
            f"{folder} was made from other options or inputs: {told(changed)}.\n"
            f"Repeat the first command's options and inputs, or give another {place}."
        )


def changed_options(
    record: Provenance,
    config: Options | Mapping[str, Any],
    *,
    may_change: Collection[str] = (),
    below: str = "",
) -> list[str]:
    """How options differ from those of a record, in words; `below` names what the keys lie in, such as `train`."""
    before = record.config if isinstance(config, Mapping) else config.completed(record.config)
    return differences(before, _plain(config), leave_out=may_change, below=below)


def _plain(config: Options | Mapping[str, Any]) -> dict[str, Any]:
    return dict(config) if isinstance(config, Mapping) else config.plain()


def go_on(folder: Path, config: Options | Mapping[str, Any]) -> None:
    """Record the options that a folder is being changed with; until `finish` it counts as unfinished again."""
    old = read(folder)
    assert old is not None, f"{folder} was never begun"
    Provenance(old.stage, _plain(config), old.inputs).write(folder)


def finish(folder: Path, config: Options | Mapping[str, Any], seconds: float) -> None:
    """Mark a stage's folder as complete; `seconds` is what it took."""
    old = read(folder)
    assert old is not None, f"{folder} was never begun"
    Provenance(old.stage, _plain(config), old.inputs, True, round(seconds, 1)).write(folder)


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start
