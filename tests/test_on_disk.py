"""Arrays, rows and records in files, and what only looks like a list."""

import resource
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from isdm.errors import DataError
from isdm.on_disk import LazySequence, RecordsOnDisk, RowsOnDisk, array_on_disk, distinct_sorted, repeated


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may become larger than 4 KiB, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_an_array_on_disk_holds_what_is_put_into_it_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    array = array_on_disk((3, 4, 5), np.uint16)
    values = np.arange(60, dtype=np.uint16).reshape(3, 4, 5) * 1000
    array[:] = values
    assert list(tmp_path.iterdir()) == []
    mapped = Path("/proc/self/maps").read_text()
    assert any(str(tmp_path) in line for line in mapped.splitlines()), "its pages are those of a file"
    np.testing.assert_array_equal(array, values)
    assert torch.from_numpy(array[1:]).float().sum() == values[1:].sum()


def test_a_full_disk_is_found_before_it_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(DataError, match=r"8192\.0 GiB do not fit into .* set TMPDIR to a folder with more space"):
        array_on_disk((2**43,), np.uint8)


def test_rows_on_disk_are_read_and_written_by_number_and_never_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    values = np.arange(60, dtype=np.uint16).reshape(5, 3, 4) * 1000
    rows = RowsOnDisk(5, (3, 4), np.uint16)
    rows.write(0, values[:2])
    rows.write(3, values[3:].astype(np.int64)[:, ::1])
    expected = values.copy()
    expected[2] = 0
    np.testing.assert_array_equal(rows[0:99], expected)
    np.testing.assert_array_equal(rows[1:4], expected[1:4])
    np.testing.assert_array_equal(rows[np.array([4, 0, 4])], expected[[4, 0, 4]])
    assert rows[2:2].shape == (0, 3, 4)
    assert (len(rows), rows.shape) == (5, (5, 3, 4))
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()


def test_rows_in_a_named_file_are_there_again(tmp_path: Path) -> None:
    RowsOnDisk(4, (2,), np.uint8, tmp_path / "rows").write(1, np.array([[7, 8]], np.uint8))
    np.testing.assert_array_equal(
        RowsOnDisk(4, (2,), np.uint8, tmp_path / "rows")[:], [[0, 0], [7, 8], [0, 0], [0, 0]]
    )


def test_rows_that_no_disk_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"GiB do not fit into .*make room there"):
        RowsOnDisk(2**33, (1024,), np.uint8, tmp_path / "rows")
    assert (tmp_path / "rows").stat().st_blocks == 0, "the disk is not filled to see whether it suffices"


def test_records_come_back_in_their_order_from_any_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    count = 20_000  # more than is written at once
    records = RecordsOnDisk([number, "\udcff\n", None, [True, {"a": number}]] for number in range(count))
    assert list(tmp_path.iterdir()) == []
    assert len(records) == count
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(records.__getitem__, range(count)))
    assert found == [[number, "\udcff\n", None, [True, {"a": number}]] for number in range(count)]
    assert records[-1][0] == count - 1
    with pytest.raises(IndexError):
        records[count]


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("length", [1, 10_000], ids=["at the end", "on the way"])
def test_records_that_no_disk_holds_are_refused_with_the_remedy(length: int) -> None:
    with pytest.raises(DataError, match="set TMPDIR to a folder with more space"):
        RecordsOnDisk("x" * length for _ in range(3000))


def test_different_values_come_sorted_by_their_bytes() -> None:
    rng = np.random.default_rng(0)
    values = [rng.integers(0, 256, rng.integers(0, 4), np.uint8).tobytes() for _ in range(5000)]
    assert list(distinct_sorted(iter(values))) == sorted(set(values))


def test_a_lazy_sequence_behaves_as_a_list() -> None:
    asked: list[int] = []

    def square(place: int) -> int:
        asked.append(place)
        return place * place

    lazy = LazySequence(5, square)
    assert asked == []
    assert (lazy[3], lazy[-1], lazy[np.int64(2)], lazy[1:3], lazy[::-2]) == (9, 16, 4, [1, 4], [16, 4, 0])
    assert (list(lazy), len(lazy), 9 in lazy) == ([0, 1, 4, 9, 16], 5, True)
    assert not LazySequence(0, square)
    with pytest.raises(IndexError):
        lazy[5]


def test_repeated_values_are_counted_and_those_of_one_hash_are_told_apart() -> None:
    values = [*np.random.default_rng(0).integers(0, 500, 600).tolist()]
    assert repeated(lambda: values) == {value: n for value, n in Counter(values).items() if n > 1}
    assert hash(-1) == hash(-2)
    assert repeated(lambda: [-1, -2, 5, 5]) == {5: 2}
    assert repeated(lambda: iter(())) == {}
