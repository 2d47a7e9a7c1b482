"""The notes of what an import has finished, from which it goes on when it was killed."""

from pathlib import Path

from isdm.data.outcomes import Output, Prepared
from isdm.data.preparing import _note, _noted


def test_an_import_that_was_killed_twice_goes_on(tmp_path: Path) -> None:
    """Each kill may cut the note that is being written."""
    notes = tmp_path / "prepared.jsonl"
    records = [Prepared(index, (Output("", (5, 4)),), "d") for index in range(4)]
    for first in (0, 1, 2):
        _note(notes, records[first : first + 2])
        notes.write_bytes(notes.read_bytes()[:-10])
        assert list(_noted(notes)) == records[: first + 1]
