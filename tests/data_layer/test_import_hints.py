"""What an import notices: names of one part, objects that break or vanish, pictures that are enlarged."""

from pathlib import Path

import numpy as np
import pytest

from imported import NO_SPLIT, Noise, Put, imported
from isdm.data.image_files import read_mask
from isdm.data.import_hints import parts_by_name
from isdm.data.layouts.source import SourcePair, of_file


def pairs_of(names: list[str], groups: list[str] | None = None) -> list[SourcePair]:
    read = of_file(read_mask)
    given = groups or [None] * len(names)  # type: ignore[list-item]
    return [
        SourcePair.of(Path(name), Path(name), name, read, group=group)
        for name, group in zip(names, given, strict=True)
    ]


SHEETS = [f"Blech{sheet:03d}_Foto{photo}" for sheet in range(20) for photo in range(1, 4)]


def test_names_of_one_part_are_noticed() -> None:
    (note,) = parts_by_name(pairs_of(SHEETS))
    assert note.startswith("60 names have 20 beginnings, such as Blech000 (3 of them).")
    assert r"--group-by '^(.*\d)\D+\d+$'" in note


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (SHEETS, [name[:8] for name in SHEETS]),  # they are together
        ([f"img_{number:04d}" for number in range(60)], None),
        ([f"day1_{number:04d}" for number in range(60)], None),  # a day's pictures are no part
        ([*SHEETS[:30], *(f"x{letter}" for letter in "abcdefgh")], None),
        ([f"a{number}_1" for number in range(60)], None),
    ],
)
def test_other_names_are_not(names: list[str], groups: list[str] | None) -> None:
    assert parts_by_name(pairs_of(names, groups)) == []


def test_the_import_says_so(tmp_path: Path, put: Put, noise: Noise) -> None:
    for number, name in enumerate(SHEETS[:12]):
        put(f"source/images/{name}.png", noise(number, 40, 40, 3))
        put(f"source/masks/{name}.png", np.eye(40) * 255)
    hints = [note for note in imported(tmp_path / "source").info.source["notes"] if "beginnings" in note]
    assert hints[0].startswith("Groups: 12 names have 4 beginnings, such as Blech000 (3 of them)")


@pytest.mark.parametrize(("size", "breaks"), [("16", True), ("64", False), (None, False)])
def test_thin_objects_that_break_are_told(
    tmp_path: Path, put: Put, noise: Noise, size: str | None, breaks: bool
) -> None:
    rows, columns = np.mgrid[:128, :128]
    for number in range(4):
        scratch = np.abs(rows - 0.3 * columns - 20 * number) < 1.2
        put(f"source/images/{number}.png", noise(number, 128, 128, 3))
        put(f"source/masks/{number}.png", scratch * 255.0)
    options = NO_SPLIT if size is None else NO_SPLIT | {"size": size}
    notes = imported(tmp_path / "source", **options).info.source["notes"]
    told = [note for note in notes if "thin ones break at this size" in note]
    assert bool(told) == breaks
    assert all("in 4 of the masks 4 objects became" in note for note in told)


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ([(40, 30)] * 6, True),
        ([(40, 30)] * 3 + [(64, 64)] * 3, False),
        ([(40, 30)] * 4 + [(400, 300)] * 2, True),
        ([(64, 64)] * 6, False),
        ([(128, 40)] * 6, False),  # as many pixels
    ],
)
def test_pictures_that_are_enlarged_are_told(
    tmp_path: Path, put: Put, noise: Noise, sizes: list[tuple[int, int]], told: bool
) -> None:
    for number, (height, width) in enumerate(sizes):
        put(f"source/images/{number}.png", noise(number, height, width, 3))
        put(f"source/masks/{number}.png", np.tri(height, width) * 255)
    dataset = imported(tmp_path / "source", size="64", **NO_SPLIT)
    notes = [note for note in dataset.info.source["notes"] if "were enlarged" in note]
    assert len(notes) == told
    if told:
        assert notes[0].startswith(
            "Images: half of them or more are no larger than 40x30 and were enlarged to 64x64 "
        )


@pytest.mark.parametrize(
    ("size", "lost"), [("16", "5 of 6 masks compared lost all objects of a class, 4 of them all that"), ("128", "")]
)
def test_small_objects_that_vanish_are_told(tmp_path: Path, put: Put, noise: Noise, size: str, lost: str) -> None:
    for number in range(6):
        mask = np.zeros((128, 128))
        mask[8 * number + 1, 8 * number + 1] = 2
        if number == 4:  # another class remains
            mask[60:100, 60:100] = 1
        if number == 5:  # one of its two objects remains
            mask[60:100, 60:100] = 2
        put(f"source/images/{number}.png", noise(number, 128, 128, 3))
        put(f"source/masks/{number}.png", mask)
    notes = imported(tmp_path / "source", **NO_SPLIT, size=size).info.source["notes"]
    told = [note for note in notes if "vanish at this size" in note]
    assert bool(told) == bool(lost)
    assert all(lost in note for note in told)


def test_lost_objects_do_not_hide_broken_ones(tmp_path: Path, put: Put, noise: Noise) -> None:
    rows, columns = np.mgrid[:128, :128]
    for number in range(4):
        scratch = np.where(np.abs(rows - 0.3 * columns - 20 * number) < 1.2, 1.0, 0.0)
        scratch[100:124:8, 1:128:8] = 2  # many specks
        put(f"source/images/{number}.png", noise(number, 128, 128, 3))
        put(f"source/masks/{number}.png", scratch)
    notes = imported(tmp_path / "source", **NO_SPLIT, size="16").info.source["notes"]
    assert any("in 4 of the masks 4 objects became" in note for note in notes), notes
    assert any(note.startswith("Masks: 4 of 4 masks compared lost all objects of a class: small") for note in notes)
