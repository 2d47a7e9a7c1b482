"""Progress of long steps: a bar in a terminal, plain lines elsewhere.

Both show what is done, the rate and the time left. Results go to standard output, progress to standard error,
so a command's result can be piped.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from isdm.text import printable, printable_lines

_PLAIN_INTERVAL_SECONDS = 15.0

Item = TypeVar("Item")


class Reporter(Protocol):
    """What a long step calls."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count `count` more as done; `note` (such as the loss) is shown beside."""


class _RateColumn(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{format_rate(task.speed or 0.0)} {self.unit}/s")


class _Bar:
    def __init__(self, progress: Progress, task_id: object) -> None:
        self._progress, self._task_id = progress, task_id

    def advance(self, count: int = 1, note: str = "") -> None:
        self._progress.update(self._task_id, advance=count, note=printable(note))  # type: ignore[arg-type]


class _Silence:
    def advance(self, count: int = 1, note: str = "") -> None:
        pass


class _PlainLines:
    def __init__(self, description: str, total: int, done: int, unit: str) -> None:
        self._description, self._total, self._unit = description, total, unit
        self._first, self._done = done, done
        self._start = self._last_shown = time.monotonic()

    def advance(self, count: int = 1, note: str = "") -> None:
        self._done += count
        now = time.monotonic()
        if now - self._last_shown < _PLAIN_INTERVAL_SECONDS and self._done < self._total:
            return
        self._last_shown = now
        rate = (self._done - self._first) / max(now - self._start, 1e-9)
        left = (self._total - self._done) / max(rate, 1e-9)
        line = (
            f"{self._description}: {self._done}/{self._total} {self._unit}, {format_rate(rate)}/s, "
            f"{format_seconds(left)} left"
        )
        print(f"{line}  {printable(note)}".rstrip(), file=sys.stderr, flush=True)


def _speaks() -> bool:
    """Of several processes that `torchrun` started, the first alone speaks."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def progress(description: str, *, total: int, done: int = 0, unit: str = "steps") -> Iterator[Reporter]:
    """Show the progress of a step of `total` units, of which `done` were finished by an earlier run."""
    console = Console(stderr=True)
    if not _speaks():
        yield _Silence()
        return
    if not console.is_terminal:
        yield _PlainLines(description, total, done, unit)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        _RateColumn(unit),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
    )
    with Progress(*columns, console=console) as bars:
        yield _Bar(bars, bars.add_task(description, total=total, completed=done, note=""))


def track(items: Iterable[Item], description: str, *, total: int, unit: str = "images") -> Iterator[Item]:
    """Iterate over `items` and show how far it is."""
    with progress(description, total=total, unit=unit) as reporter:
        for item in items:
            yield item
            reporter.advance()


def say(message: str) -> None:
    """Print one line of explanation beside the progress (standard error).

    Names in it may be a stranger's: nothing is taken for markup, and a terminal sees no control character.
    """
    if not _speaks():
        return
    plain_console(stderr=True).print(printable_lines(message))


def answer(message: str, style: str = "") -> None:
    """Print a line of a command's result (standard output), harmless like that of `say`."""
    if not _speaks():
        return
    plain_console().print(printable_lines(message), style=style)


def plain_console(*, stderr: bool = False, wraps: bool = False) -> Console:
    """A console that shows text as it is: no markup, no emoji codes, no colours of its own."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=not wraps)


def format_rate(rate: float) -> str:
    """A rate with about three digits."""
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.1f}" if rate >= 1 else f"{rate:.2f}"


def format_seconds(seconds: float) -> str:
    """A duration as a person says it: `42 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
