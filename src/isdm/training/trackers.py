"""Curves for those who watch: TensorBoard unless told otherwise, and whatever else Accelerate knows and is installed.

`metrics.jsonl` stays the record; trackers only show it. They get lines when these are saved, so that a run that was
killed and goes on shows no step twice.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

from isdm.errors import UsageError

FOLDER = "logs"


class Trackers:
    """Open trackers of one run; `close` ends them."""

    def __init__(self, names: Sequence[str], run_name: str, folder: Path) -> None:
        """Open trackers by name; their files, where they keep any, go below `folder`/logs.

        Raises:
            UsageError: one is unknown or not installed.
        """
        check_trackers(names)
        self._trackers: list[Any] = []
        for name in names:
            kind: Any = LOGGER_TYPE_TO_CLASS[name]
            tracker = kind(run_name, folder / FOLDER) if kind.requires_logging_directory else kind(run_name)
            if hasattr(tracker, "start"):  # older versions of Accelerate start at once
                tracker.start()
            self._trackers.append(tracker)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Show the numbers among some values."""
        numbers = {key: float(value) for key, value in values.items() if isinstance(value, int | float)}
        for tracker in self._trackers:
            tracker.log(numbers, step=step)

    def close(self) -> None:
        """End all of them."""
        for tracker in self._trackers:
            tracker.finish()


def check_trackers(names: Sequence[str]) -> None:
    """Find out before the work begins whether trackers are to be had.

    Raises:
        UsageError: naming those that are.
    """
    known = sorted(LOGGER_TYPE_TO_CLASS)
    installed = {str(getattr(name, "value", name)) for name in get_available_trackers()}
    for name in names:
        if name not in known:
            raise UsageError(f"trackers: {name!r} is unknown; choose among {', '.join(known)}.")
        if name not in installed:
            raise UsageError(f"trackers: {name!r} is not installed; install its package, or leave it out.")
