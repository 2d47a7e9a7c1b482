"""Reaching a cluster, and working tasks off though workers are lost: without Ray, by a stand-in for it."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from isdm import cluster
from isdm.errors import ConfigError, OutputError


class LostError(Exception):
    """A worker was lost."""


class RaisedError(Exception):
    """A task raised `cause`."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause


class Call:
    """What Ray gives for a call: a reference to its result."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error


class Actor:
    """A worker whose calls end by these errors, one after the other; None and all later ones end well."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = iter(errors)
        self.calls: list[str] = []
        self.is_ready = SimpleNamespace(remote=lambda: self.call("ready?"))

    def call(self, task: str) -> Call:
        self.calls.append(task)
        return Call(next(self.errors, None))


class Ray:
    """As much of Ray as is asked of it; what was begun first is done first."""

    exceptions = SimpleNamespace(RayActorError=LostError, RayTaskError=RaisedError)

    def wait(self, calls: list[Call], num_returns: int) -> tuple[list[Call], list[Call]]:
        return calls[:num_returns], calls[num_returns:]

    def get(self, call: Call) -> None:
        if call.error is not None:
            raise call.error


class Log:
    """What becomes of the tasks."""

    def __init__(self, most_losses: int = 3) -> None:
        self.most_losses = most_losses
        self.finished: list[str] = []
        self.lost: list[tuple[str, int]] = []

    def is_lost(self, task: str, losses: int) -> str | None:
        self.lost.append((task, losses))
        if losses == self.most_losses:
            raise OutputError("too many")
        return task[:-1] or None  # a part of it was finished


def work_off(actors: list[Actor], tasks: list[str], log: Log) -> None:
    cluster.work_off(Ray(), actors, tasks, Actor.call, log.finished.append, log.is_lost)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "RESTART_SECONDS", 0.0)


def test_every_task_goes_to_a_worker_that_is_idle() -> None:
    actors, log = [Actor(), Actor()], Log()
    work_off(actors, ["one", "two", "three"], log)
    assert [actor.calls for actor in actors] == [["one", "three"], ["two"]]
    assert log.finished == ["one", "two", "three"]


def test_another_goes_on_with_what_a_lost_worker_left() -> None:
    actors, log = [Actor(LostError()), Actor()], Log()
    work_off(actors, ["one", "two"], log)
    assert actors[0].calls == ["one", "ready?"]
    assert actors[1].calls == ["two", "on"]
    assert log.lost == [("one", 1)]
    assert log.finished == ["two", "on"]


def test_nothing_left_is_given_to_nobody() -> None:
    actors, log = [Actor(LostError())], Log()
    work_off(actors, ["a"], log)
    assert actors[0].calls == ["a", "ready?"]
    assert log.finished == []


def test_losses_of_a_task_are_counted_over_all_workers() -> None:
    log = Log(most_losses=2)
    with pytest.raises(OutputError, match="too many"):
        work_off([Actor(LostError()), Actor(None, LostError())], ["ab", "c"], log)
    assert log.lost == [("ab", 1), ("a", 2)]


def test_a_worker_that_does_not_come_back_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "MOST_CALLS", 2)
    actor = Actor(*[LostError()] * 9)
    with pytest.raises(OutputError, match="does not come back"):
        work_off([actor], ["one"], Log())
    assert actor.calls == ["one", "ready?", "ready?", "ready?"]


def test_what_a_task_raises_is_the_users() -> None:
    with pytest.raises(OutputError, match="disk full"):
        work_off([Actor(RaisedError(OutputError("disk full")))], ["one"], Log())


def test_a_folder_is_shared_where_the_drivers_word_is_read(tmp_path: Path) -> None:
    here = SimpleNamespace(sees=SimpleNamespace(remote=cluster.Worker().sees))
    elsewhere = SimpleNamespace(
        sees=SimpleNamespace(remote=lambda folder, token: cluster.Worker().sees(folder / "other", token))
    )
    ray = SimpleNamespace(get=list)
    cluster.require_shared_folder(ray, [here, here], tmp_path)
    with pytest.raises(OutputError, match="all machines share"):
        cluster.require_shared_folder(ray, [here, elsewhere], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"isdm\[cluster\]"), cluster.connected("auto"):
        pass


@pytest.mark.parametrize(("address", "rule"), [("127.0.0.1:1", "nothing answers"), ("somewhere", "neither auto")])
def test_an_address_without_a_cluster_is_refused_at_once(address: str, rule: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match=rule), cluster.connected(address):
        pass


def test_a_cluster_that_has_only_just_been_started_is_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    answers = [ConnectionError("not yet"), ConnectionError("not yet"), None]
    monkeypatch.setattr(cluster, "_require_reachable", lambda address: None)
    monkeypatch.setattr(ray, "shutdown", lambda: None)

    def init(**_: object) -> None:
        if (answer := answers.pop(0)) is not None:
            raise answer

    monkeypatch.setattr(ray, "init", init)
    with cluster.connected("10.0.0.1:6379") as found:
        assert found is ray
    answers[:] = [ConnectionError("not at all\nmore")] * 3
    with (
        pytest.raises(ConfigError, match=r"no cluster answers there \(not at all\)"),
        cluster.connected("10.0.0.1:1"),
    ):
        pass
    assert not answers
