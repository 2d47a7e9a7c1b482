"""A signal waits for the step at hand, once, and then takes its usual way."""

import os
import signal
import threading
import time

import pytest

from isdm import signals
from isdm.signals import StopRequestedError, handlers_kept, held_back, stop_on_signals


@pytest.fixture(autouse=True)
def handlers_stay() -> object:
    before = {number: signal.getsignal(number) for number in signals.SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests of the command line leave another
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # handlers run between two instructions of the main thread


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_held_back_until_the_end_of_the_step(number: int, code: int) -> None:
    stop_on_signals()
    done = []
    with pytest.raises(StopRequestedError) as stopped, held_back() as held:
        assert not held.is_asked()
        send(number)
        done.append("step")
        assert held.is_asked()
        done.append("saved")
    assert done == ["step", "saved"]
    assert stopped.value.exit_code == code


def test_without_our_handlers_ctrl_c_is_pythons_own() -> None:
    with pytest.raises(KeyboardInterrupt), held_back():
        send(signal.SIGINT)


def test_a_second_signal_does_not_wait() -> None:
    stop_on_signals()
    with pytest.raises(StopRequestedError), held_back():
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        raise AssertionError("went on")


def test_a_long_step_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "GRACE_SECONDS", 0.05)
    stop_on_signals()
    with pytest.raises(StopRequestedError), held_back():
        send(signal.SIGTERM)
        time.sleep(10)
        raise AssertionError("went on")


def test_saving_may_take_longer_than_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "GRACE_SECONDS", 0.05)
    stop_on_signals()
    saved = False
    with pytest.raises(StopRequestedError), held_back() as held:
        send(signal.SIGTERM)
        assert held.is_asked()
        time.sleep(0.2)
        saved = True
    assert saved


def test_other_threads_are_left_alone() -> None:
    seen = []

    def work() -> None:
        with held_back() as held:
            seen.append(held.number)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None]


def test_a_library_does_not_keep_the_handlers() -> None:
    stop_on_signals()
    with handlers_kept():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with pytest.raises(StopRequestedError):
        send(signal.SIGTERM)
