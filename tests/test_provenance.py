"""A stage goes on in its own folder and refuses every other."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from isdm import provenance
from isdm.errors import DataError, OutputError
from isdm.version import __version__

CONFIG = {"steps": 10, "seed": 0}
INPUTS = {"train split": "abc"}


def begin(folder: Path, may_change: Iterable[str] = (), **changes: Any) -> provenance.State:
    arguments: dict[str, Any] = {"stage": "train", "config": CONFIG, "inputs": INPUTS} | changes
    return provenance.begin(folder, **arguments, may_change=set(may_change))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_new_folder_is_made_and_says_what_made_it(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "model"
    assert begin(folder) == "new"
    record = provenance.read(folder)
    assert record == provenance.Provenance("train", CONFIG, INPUTS, False, 0.0, __version__)


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    assert begin(tmp_path) == "new"


def test_a_begun_folder_is_unfinished_until_it_is_finished(tmp_path: Path) -> None:
    begin(tmp_path)
    assert begin(tmp_path) == "unfinished"
    provenance.finish(tmp_path, CONFIG, 2.0)
    assert begin(tmp_path) == "finished"


def test_seconds_are_those_of_the_last_finish(tmp_path: Path) -> None:
    begin(tmp_path)
    provenance.finish(tmp_path, CONFIG, 2.0)
    provenance.finish(tmp_path, CONFIG, 3.5)
    record = provenance.read(tmp_path)
    assert record is not None
    assert record.seconds == 3.5


def test_what_a_killed_write_left_does_not_bar_the_folder_and_goes(
    tmp_path: Path, aside_of_dead_process: Callable[[Path], Path]
) -> None:
    left = aside_of_dead_process(tmp_path / "provenance.json")
    left.write_text("{")
    assert begin(tmp_path) == "new"
    assert not left.exists()
    deeper = aside_of_dead_process(tmp_path / "training" / "state.pt")
    deeper.parent.mkdir()
    deeper.write_text("half")
    assert begin(tmp_path) == "unfinished"
    assert not deeper.exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"config": {"steps": 20, "seed": 0}}, "steps was 10, now 20"),
        ({"config": {"steps": 10}}, "seed was 0, now not given"),
        ({"config": CONFIG | {"flip": True}}, "flip was not given, now true"),
        ({"inputs": {"train split": "def"}}, "another train split"),
        ({"inputs": INPUTS | {"init": "x"}}, "another init"),
        ({"stage": "sample"}, "holds the output of 'isdm train', not of 'sample'"),
    ],
)
def test_other_options_or_inputs_are_refused_by_name(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    begin(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(OutputError, match=named):
        begin(tmp_path, **changes)
    assert contents(tmp_path) == before


def test_only_the_changed_option_is_named(tmp_path: Path) -> None:
    begin(tmp_path)
    with pytest.raises(OutputError) as caught:
        begin(tmp_path, config={"steps": 10, "seed": 1})
    assert "seed" in str(caught.value)
    assert "steps" not in str(caught.value)


def test_a_refusal_says_what_to_do(tmp_path: Path) -> None:
    begin(tmp_path)
    with pytest.raises(OutputError) as caught:
        begin(tmp_path, config={"steps": 10, "seed": 1}, inputs={"train split": "def"})
    assert str(caught.value).splitlines() == [
        f"{tmp_path} was made from other options or inputs: seed was 0, now 1; another train split.",
        "Repeat the first command's options and inputs, or give another --out.",
    ]


def test_options_that_may_change_do_not_make_it_another_output(tmp_path: Path) -> None:
    begin(tmp_path)
    assert begin(tmp_path, may_change={"steps"}, config={"steps": 20, "seed": 0}) == "unfinished"
    with pytest.raises(OutputError, match="seed was 0, now 1"):
        begin(tmp_path, may_change={"steps"}, config={"steps": 20, "seed": 1})


def test_finishing_records_the_last_options(tmp_path: Path) -> None:
    begin(tmp_path)
    provenance.finish(tmp_path, {"steps": 20, "seed": 0}, 1.0)
    record = provenance.read(tmp_path)
    assert record is not None
    assert (record.config["steps"], record.finished) == (20, True)


def test_a_folder_with_other_content_is_refused_and_left_untouched(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo.jpg").write_bytes(b"irreplaceable")
    before = contents(tmp_path)
    with pytest.raises(OutputError, match="something that isdm did not make; give a new or empty folder"):
        begin(tmp_path)
    assert contents(tmp_path) == before


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_text("a file")
    with pytest.raises(OutputError, match="is a file"):
        begin(path)
    assert path.read_text() == "a file"


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "provenance.json").write_text('{"stage": "tr')
    with pytest.raises(DataError, match=r"provenance\.json is not valid JSON"):
        begin(tmp_path)


@pytest.mark.parametrize("content", ["[]", '{"who": "another tool"}', "5"])
def test_a_record_of_another_tool_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "provenance.json").write_text(content)
    with pytest.raises(OutputError, match=r"provenance\.json is not a record of isdm"):
        begin(tmp_path)
    assert contents(tmp_path) == {"provenance.json": content.encode()}


def test_checking_writes_nothing(tmp_path: Path) -> None:
    provenance.check(tmp_path / "new", "train", CONFIG, INPUTS)
    assert list(tmp_path.iterdir()) == []
