import json
from pathlib import Path

import pytest

from isdm.errors import DataError
from isdm.files import append_json_line
from isdm.synthesis.parts import Parts


def write(path: Path, indices: list[int], tail: str = "") -> None:
    text = "".join(json.dumps({"sample_index": index, "from": path.stem}) + "\n" for index in indices)
    path.write_text(text + tail, encoding="utf-8")


def test_lines_of_all_files_come_in_order_and_once(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    write(parts.folder / "a.jsonl", [4, 0, 7])
    write(parts.folder / "b.jsonl", [2, 4, 1], tail='{"sample_index": 3, "cut')
    assert parts.finished().tolist() == [0, 1, 2, 4, 7]
    lines = list(parts.lines())
    assert [line["sample_index"] for line in lines] == [0, 1, 2, 4, 7]
    assert [line["from"] for line in lines] == ["a", "b", "b", "a", "a"]
    parts.remove()
    assert not parts.folder.exists()


def test_a_cut_line_is_removed_before_more_is_appended(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    write(parts.folder / "0.jsonl", [0, 1], tail='{"sample_index": 22')
    append_json_line(parts.own("0"), {"sample_index": 2})
    assert parts.finished().tolist() == [0, 1, 2]


def test_a_foreign_line_is_named(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    (parts.folder / "0.jsonl").write_text('{"sample_index": 0}\n[]\n')
    with pytest.raises(DataError, match=r"0\.jsonl, line 2"):
        parts.finished()


def test_nothing_finished(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    assert parts.finished().tolist() == []
    assert list(parts.lines()) == []
