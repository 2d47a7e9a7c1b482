"""Ctrl-C and SIGTERM: leave in order, with what is finished kept."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 10
"""Time that `held_back` allows for the work at hand before the signal takes its usual way."""


class StopRequestedError(BaseException):
    """The process was asked to end; like KeyboardInterrupt nothing but the outermost call should catch it."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.signal_number = signal_number
        self.work_is_kept = True

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as shells have it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.signal_number


def stop_on_signals() -> None:
    """Turn Ctrl-C and SIGTERM into `StopRequestedError` where the main thread is, for the rest of the process."""
    for number in SIGNALS:
        signal.signal(number, _stop)


def _stop(number: int, _: FrameType | None) -> None:
    raise StopRequestedError(number)


@contextmanager
def nothing_to_keep() -> Iterator[None]:
    """Mark what ends within as leaving nothing behind that the same command could go on from."""
    try:
        yield
    except StopRequestedError as stop:
        stop.work_is_kept = False
        raise


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Put back, on leaving, the handlers of Ctrl-C and SIGTERM that a library replaces within."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


class HeldBack:
    """A signal that has come while it was held back."""

    def __init__(self) -> None:
        self.number: int | None = None

    def is_asked(self) -> bool:
        """Whether to save and leave now; what the caller does then may take its time."""
        if self.number is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return self.number is not None


@contextmanager
def held_back() -> Iterator[HeldBack]:
    """Hold Ctrl-C and SIGTERM back, so that a step is never cut in two; on leaving, the signal takes its usual way.

    The caller asks between two steps (`is_asked`), saves, and leaves. A second signal, or a step that takes longer
    than `GRACE_SECONDS`, does not wait. Outside the main thread, where signals do not arrive, nothing is done.
    """
    held = HeldBack()
    if threading.current_thread() is not threading.main_thread():
        yield held
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    before_alarm = signal.getsignal(signal.SIGALRM)

    def restore() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.signal(signal.SIGALRM, before_alarm)

    def late(number: int, _: FrameType | None) -> None:
        restore()
        signal.raise_signal(held.number or number)

    def hold(number: int, _: FrameType | None) -> None:
        held.number = number
        for again in SIGNALS:
            signal.signal(again, late)
        signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS)

    for number in SIGNALS:
        signal.signal(number, hold)
    try:
        yield held
    finally:
        restore()
    if held.number is not None:
        signal.raise_signal(held.number)
