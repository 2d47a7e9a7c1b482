"""JSON read piece by piece, against the standard library's reading of the whole."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isdm.data.json_lists import read_items, read_lists
from isdm.errors import DataError

SCALARS = (
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | st.text(max_size=9)
)
VALUES = st.recursive(
    SCALARS, lambda one: st.lists(one, max_size=4) | st.dictionaries(st.text(max_size=3), one, max_size=3)
)
OBJECTS = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.lists(VALUES, max_size=4) | VALUES)
CHUNKS = st.integers(1, 9)
on_a_busy_machine = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)


def read(folder: Path, text: str, chunk: int, *names: str) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """What is left of the object, and the items of the named lists."""
    path = folder / "x.json"
    path.write_text(text, "utf-8", newline="")
    taken: dict[str, list[Any]] = {name: [] for name in names}

    def take(name: str, number: int, value: Any) -> None:
        if number == 0:
            taken[name] = []  # a name that comes twice: the last counts
        assert len(taken[name]) == number
        taken[name].append(value)

    found = read_lists(path, {name: lambda *item, name=name: take(name, *item) for name in names}, chunk)  # type: ignore[misc]
    return found, taken


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("json")


@on_a_busy_machine
@given(value=OBJECTS, indent=st.none() | st.integers(0, 3), ascii_only=st.booleans(), chunk=CHUNKS)
def test_any_object_is_read_as_by_the_standard_library(
    folder: Path, value: dict[str, Any], indent: int | None, ascii_only: bool, chunk: int
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    names = [name for name, member in value.items() if isinstance(member, list)]
    rest, taken = read(folder, text, chunk, *names)
    assert rest == {name: len(member) if name in names else member for name, member in value.items()}
    assert taken == {name: value[name] for name in names}


@on_a_busy_machine
@given(value=OBJECTS, cut=st.integers(0, 60), put=st.sampled_from(list('{}[]":,0-1.eE+tnNI \\x\n')), chunk=CHUNKS)
def test_a_damaged_object_is_refused_where_the_standard_library_refuses_it(
    folder: Path, value: dict[str, Any], cut: int, put: str, chunk: int
) -> None:
    whole = json.dumps(value, indent=1)
    cut = min(cut, len(whole))
    text = whole[:cut] + put + whole[cut + 1 :]
    why = refusal(text)
    if why is None:
        assert read(folder, text, chunk)[0] == json.loads(text)
        return
    with pytest.raises(DataError, match=r"is not valid JSON") as told:
        read(folder, text, chunk)
    if why.partition(":")[0] in str(told.value):  # some messages are our own
        assert f"({why})" in str(told.value)


@on_a_busy_machine
@given(value=st.lists(VALUES, max_size=6), indent=st.none() | st.integers(0, 3), chunk=CHUNKS)
def test_any_list_is_read_as_by_the_standard_library(
    folder: Path, value: list[Any], indent: int | None, chunk: int
) -> None:
    path = folder / "list.json"
    path.write_text(json.dumps(value, indent=indent))
    assert list(read_items(path, chunk)) == value


@pytest.mark.parametrize("text", ["", "{}", "7", "[1, 2", "[1 2]", "[1],", "[1] [2]", "[1,]", '["\x00"]'])
def test_what_is_no_list_is_refused(folder: Path, text: str) -> None:
    path = folder / "list.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"list\.json is not valid JSON"):
        list(read_items(path))


def refusal(text: str) -> str | None:
    """What the standard library says against a text."""
    try:
        json.loads(text)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("chunk", [1, 7, 64, 2**20])
def test_errors_name_the_place_in_the_whole_file(folder: Path, chunk: int) -> None:
    text = '{"a": [\n  1,\r\n  2,\n\n "x" y]}'
    with pytest.raises(DataError, match=r"Expecting ',' or '\]': line 5 column 6 \(char 25\)"):
        read(folder, text, chunk, "a")
    assert text[25] == "y"


def test_memory_does_not_grow_with_the_file(folder: Path) -> None:
    path = folder / "long.json"
    item = json.dumps({"segmentation": [[1.5, 2.5] * 20], "id": 7})
    path.write_text('{"annotations": [' + ",\n".join([item] * 60_000) + "]}")
    assert path.stat().st_size > 10e6
    tracemalloc.start()
    assert read_lists(path, {"annotations": lambda *_: None}, chunk=2**16) == {"annotations": 60_000}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6
