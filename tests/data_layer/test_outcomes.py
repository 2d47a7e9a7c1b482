"""What an import keeps of its pairs: columns in memory, names on disk."""

import gc
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from isdm.data.image_files import MaskArray
from isdm.data.layouts.source import SourcePair, of_memory
from isdm.data.outcomes import Outcomes, Output, Prepared
from isdm.data.pairs_on_disk import pairs_on_disk


def mask_of(value: int) -> Callable[[], MaskArray]:
    return lambda: np.full((1, 2), value, np.uint8)


def test_pairs_come_back_from_the_disk_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    shared = of_memory(mask_of(1))
    pairs = [
        SourcePair.of(Path("a/ä.png"), Path("b/ä.png"), "ä", shared),
        SourcePair.of(Path("b.png"), Path("all.json"), "b", of_memory(mask_of(2)), group="g", split="validation"),
        SourcePair.of(
            Path("c\udcff.png"),
            Path("c.png"),
            "c",
            shared,
            instances=Path("i.png"),
            train_only=True,
            more_files=[Path("x"), Path("y")],
            class_ids=frozenset({3, 1}),
        ),
    ]
    kept = pairs_on_disk(iter(pairs))
    assert list(tmp_path.iterdir()) == []
    assert list(kept) == pairs
    assert kept[1:] == pairs[1:]
    assert [pair.load_mask().tolist() for pair in kept] == [[[1, 1]], [[2, 2]], [[1, 1]]]
    assert len(pairs_on_disk([])) == 0


def test_outcomes_are_ordered_by_their_pairs_however_they_came() -> None:
    outcomes = Outcomes(5, 2)
    outcomes.add(Prepared(3, (Output("_a", (1, 2)), Output("_b", (3, 4))), "d3"))
    outcomes.add(Prepared(4, problem="four is cut off"))
    outcomes.add(Prepared(0, (Output("", (5, 6)),), "d0"))
    outcomes.add(Prepared(1, problem="one is missing"))
    assert outcomes.is_done.tolist() == [True, True, False, True, True]
    assert outcomes.is_good.tolist() == [True, False, False, True, False]
    assert outcomes.problems == ["one is missing", "four is cut off"]
    assert outcomes.digests.tolist() == [b"d0", b"", b"", b"d3", b""]
    outputs = outcomes.outputs(outcomes.is_good)
    assert outputs.indices.tolist() == [0, 3, 3]
    assert outputs.suffixes == ["", "_a", "_b"]
    assert outputs.pixels.tolist() == [[5, 6], [1, 2], [3, 4]]
    some = outputs.take(np.array([2, 0]))
    assert (some.indices.tolist(), some.suffixes, some.pixels.tolist()) == ([3, 0], ["_b", ""], [[3, 4], [5, 6]])
    assert len(outcomes.outputs(np.zeros(5, bool))) == 0


def test_without_any_pair_there_is_no_output() -> None:
    outcomes = Outcomes(0, 3)
    assert outcomes.outputs(outcomes.is_good).pixels.shape == (0, 3)
    assert outcomes.problems == []


def test_pairs_that_nobody_holds_leave_no_open_file() -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    gc.disable()
    before = open_files()
    pairs = pairs_on_disk([SourcePair.of(Path("a.png"), Path("a.png"), "a", of_memory(mask_of(1)))])
    assert open_files() == before + 1
    del pairs
    assert open_files() == before, "no circle of references keeps it"
    gc.enable()
