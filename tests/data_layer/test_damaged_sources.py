"""Damaged sources of every layout: each is imported all the same, or refused by name; the source is never touched."""

import shutil
from pathlib import Path

import pytest

from damage import damaged
from isdm.config import DataConfig, build
from isdm.data.checking import check_dataset
from isdm.data.importing import LEFT_OUT_FILE, import_dataset
from isdm.errors import DataError, IsdmError
from source_trees import TREES

SEEDS_A_LAYOUT = 3
TECHNICAL = ("NoneType", "object has no attribute", "unsupported operand", "Traceback", "KeyError", "list index")


def state(root: Path) -> dict[str, tuple[str, bytes | str, int]]:
    """Kind, content or target, and time of everything in a tree."""
    found: dict[str, tuple[str, bytes | str, int]] = {}
    for path in sorted(root.rglob("*")):
        name, changed = path.relative_to(root).as_posix(), path.lstat().st_mtime_ns
        if path.is_symlink():
            found[name] = "link", str(path.readlink()), changed
        else:
            found[name] = ("folder", "", changed) if path.is_dir() else ("file", path.read_bytes(), changed)
    return found


def try_source(source: Path, layout: str) -> str:
    """Import a source, with the problems left out where there are any; gives the message of the first try."""
    before = state(source)
    out = source.parent / "out"
    options = {"source": source, "layout": layout, "size": 16, "near_duplicates": False}
    message = ""
    try:
        check_dataset(import_dataset(build(DataConfig, options), out))
    except IsdmError as error:
        message = str(error)
        assert sorted(source.parent.iterdir()) == [source], "a refused import leaves nothing"
        refused_well(message, source)
        try:
            kept = import_dataset(build(DataConfig, options | {"skip_bad": True}), out)
        except DataError as error:  # nothing sound is left, or what all pairs need is damaged
            refused_well(str(error), source)
            assert sorted(source.parent.iterdir()) == [source]
        else:
            check_dataset(kept)
            listed = (out / LEFT_OUT_FILE).read_text().splitlines()
            assert listed
            assert all(line in message for line in listed), "what is left out is what was refused"
    assert state(source) == before, "the source is never written to"
    return message


def refused_well(message: str, source: Path) -> None:
    assert str(source) in message, f"no file is named: {message}"
    assert not any(word in message for word in TECHNICAL), message


@pytest.mark.parametrize("layout", TREES)
@pytest.mark.parametrize("seed", range(SEEDS_A_LAYOUT))
def test_what_is_damaged_is_refused_by_name_or_imported(tmp_path: Path, layout: str, seed: int) -> None:
    TREES[layout](tmp_path / "source")
    damaged(tmp_path / "source", seed)
    try_source(tmp_path / "source", layout)


def test_all_damaged_files_are_named_at_once(tmp_path: Path) -> None:
    TREES["folders"](tmp_path / "source")
    for number, content in enumerate([b"", b"BM", b"\xff\xd8\xff\xe0 cut", b"{}"]):
        (tmp_path / "source" / "images" / f"{number}.jpg").write_bytes(content)
    (tmp_path / "source" / "masks" / "4.png").unlink()
    message = try_source(tmp_path / "source", "auto")
    for name in ("0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.png"):
        assert name in message
    shutil.rmtree(tmp_path / "source")
