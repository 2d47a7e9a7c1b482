"""Files are whole or absent, and what is damaged is named."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from isdm.errors import DataError
from isdm.files import (
    append_json_line,
    append_json_lines,
    read_json,
    read_json_lines,
    remove_abandoned,
    sha256_of_file,
    sha256_of_json,
    sha256_of_json_with,
    write_bytes,
    write_json,
    write_text,
    write_with,
    write_yaml,
    written_aside,
)


def write_half_and_fail(path: Path) -> None:
    path.write_text("half of the n")
    raise RuntimeError("the disk is full")


def write_and_interrupt(path: Path) -> None:
    with written_aside(path) as aside:
        aside.write_text("new")
        raise KeyboardInterrupt


def fill_folder_and_fail(path: Path) -> None:
    with written_aside(path) as aside:
        (aside / "deep").mkdir(parents=True)
        (aside / "deep" / "file").write_text("x")
        raise RuntimeError


def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "state.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="disk is full"):
        write_with(path, write_half_and_fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_first_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        write_with(tmp_path / "state.txt", write_half_and_fail)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "state.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_and_interrupt(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_stands_under_the_final_name_while_writing(tmp_path: Path) -> None:
    path = tmp_path / "state.txt"
    with written_aside(path) as aside:
        aside.write_text("new")
        assert not path.exists()
        assert aside.parent == path.parent, "a rename across file systems is not atomic"
    assert path.read_text() == "new"
    assert not aside.exists()


def test_a_failing_folder_is_removed_with_all_that_is_in_it(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        fill_folder_and_fail(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with written_aside(tmp_path / "new" / "folder") as aside:
        aside.mkdir()
        (aside / "file").write_text("x")
    assert (tmp_path / "new" / "folder" / "file").read_text() == "x"


@pytest.mark.parametrize(
    ("write", "content", "expected"),
    [
        (write_bytes, b"\x00\xff", b"\x00\xff"),
        (write_text, "Äpfel\n", "Äpfel\n".encode()),
        (write_json, {"ü": [1, None]}, '{\n  "ü": [\n    1,\n    null\n  ]\n}\n'.encode()),
        (write_yaml, {"b": 1, "a": [2]}, b"b: 1\na:\n- 2\n"),
    ],
)
def test_writers_replace_the_whole_file(
    tmp_path: Path, write: Callable[[Path, object], None], content: object, expected: bytes
) -> None:
    path = tmp_path / "below" / "file"
    path.parent.mkdir()
    path.write_bytes(b"something much longer than what is written now" * 100)
    write(path, content)
    assert path.read_bytes() == expected


def test_json_that_no_other_tool_could_read_is_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"iou": 0.5})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"iou": float("nan")})
    assert json.loads(path.read_text()) == {"iou": 0.5}


@pytest.mark.parametrize("content", [b"{", b"", b"{'a': 1}", b"\xff\xfe\x00"])
def test_bad_json_is_a_data_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.json is not valid JSON"):
        read_json(path)


@pytest.mark.parametrize("read", [read_json, read_json_lines])
def test_a_missing_file_is_a_data_error_that_names_it(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(DataError, match=r"nowhere\.json does not exist"):
        read(tmp_path / "nowhere.json")


def test_appended_lines_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    values = [{"n": 0, "text": "über\nzwei Zeilen"}, {"n": 1}, [2]]
    for value in values:
        append_json_line(path, value)
    assert read_json_lines(path) == values
    assert [json.loads(line) for line in path.read_text("utf-8").splitlines()] == values


@pytest.mark.parametrize("cut", [1, 5, 10])
def test_a_cut_last_line_is_left_out_where_that_is_tolerated(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "log.jsonl"
    append_json_line(path, {"n": 0})
    append_json_line(path, {"n": 1, "text": "ü"})
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_json_lines(path, tolerate_cut_tail=True) == [{"n": 0}]


@pytest.mark.parametrize("length", [0, 1, 8191, 8192, 8193, 20_000])
@pytest.mark.parametrize("whole", [0, 2])
def test_a_cut_last_line_is_removed_before_more_is_appended(tmp_path: Path, length: int, whole: int) -> None:
    path = tmp_path / "log.jsonl"
    append_json_lines(path, [{"n": n} for n in range(whole)])
    with path.open("ab") as file:
        file.write(b"{" * length)
    append_json_lines(path, [{"n": 7}, {"n": 8}])
    assert read_json_lines(path) == [*({"n": n} for n in range(whole)), {"n": 7}, {"n": 8}]


def test_a_cut_last_line_is_an_error_where_it_is_not_tolerated(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"n": 0}\n{"n": 1')
    with pytest.raises(DataError, match=r"log\.jsonl, line 2 is not valid JSON"):
        read_json_lines(path)


def test_a_broken_middle_line_is_never_tolerated(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"n": 0}\n\n{"n": \n{"n": 3}\n')
    with pytest.raises(DataError, match=r"log\.jsonl, line 3 is not valid JSON"):
        read_json_lines(path, tolerate_cut_tail=True)


def test_file_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 100_000)
    assert sha256_of_file(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_json_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert sha256_of_json({"a": 1, "b": [2]}) == sha256_of_json({"b": [2], "a": 1})
    assert sha256_of_json({"a": 1}) != sha256_of_json({"a": 2})
    assert sha256_of_json([1, 2]) != sha256_of_json([2, 1])


def test_only_what_dead_processes_left_is_removed(
    tmp_path: Path, aside_of_dead_process: Callable[[Path], Path]
) -> None:
    out = tmp_path / "out"
    dead = [aside_of_dead_process(path) for path in (out, out / "deep" / "file", out / "with-dash")]
    kept = [
        aside_of_dead_process(tmp_path / "other-out"),  # another folder's
        out / ".aside-import-out",  # an import's work, which goes on
        out / f".aside-000000-{dead[0].name.split('-')[2]}-file",  # another host's
        out / f"{'-'.join(dead[0].name.split('-')[:2])}-{os.getppid()}-file",  # of a living process
    ]
    for path in [*dead, *kept]:
        path.mkdir(parents=True, exist_ok=True)
        (path / "half").write_text("x")
    remove_abandoned(out)
    assert not [path for path in dead if path.exists()]
    assert all((path / "half").exists() for path in kept)
    remove_abandoned(tmp_path / "new")


def test_a_name_as_long_as_file_systems_allow_is_written(tmp_path: Path) -> None:
    path = tmp_path / f"{251 * 'x'}.png"
    with written_aside(path) as aside:
        assert aside.suffix == ".png", "libraries choose the format by it"
        aside.write_text("new")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_hash_of_many_items_is_that_of_their_list() -> None:
    items = [["ä.png", "0" * 64], ["b.png", "1" * 64], {"b": 1, "a": [2.5, None]}]
    for count in range(len(items) + 1):
        assert sha256_of_json_with(("x", "y"), iter(items[:count])) == sha256_of_json([["x", "y"], items[:count]])
