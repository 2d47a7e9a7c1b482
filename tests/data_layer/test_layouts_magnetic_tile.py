"""The magnetic tiles: a tiny tree made by hand, and the real photographs where they are at hand."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from isdm.config import DataConfig, build
from isdm.data.dataset import SPLITS
from isdm.data.importing import import_dataset
from isdm.data.layouts import read_source
from isdm.data.layouts.source import Source
from isdm.errors import DataError

REAL = Path(__file__).parents[3] / "shared" / "data" / "magnetic-tile"
CLASS_NAMES = ("background", "blowhole", "break", "crack", "fray", "uneven")
PAIRS_OF_KIND = {"blowhole": 115, "break": 85, "crack": 57, "fray": 32, "uneven": 103, "free": 952}
NUM_EMPTY = 4

TINY = {
    "MT_Crack/Imgs/exp1_num_100": 200,
    "MT_Crack/Imgs/exp2_num_150": 200,
    "MT_Free/Imgs/exp3_num_250": 0,  # a step of 100: still the same tile
    "MT_Uneven/Imgs/exp1_num_351": 128,  # a step of 101: another tile
    "MT_Free/Imgs/exp1_num_5000": 0,
}


@pytest.fixture
def tiny(tmp_path: Path, put: Callable[..., Path], noise: Callable[..., np.ndarray]) -> Path:
    for seed, (name, value) in enumerate(TINY.items()):
        mask = np.zeros((6, 9))
        mask[0], mask[1] = value, value // 2
        put(f"tiles/{name}.jpg", noise(seed, 6, 9))
        put(f"tiles/{name}.png", mask)
    return tmp_path / "tiles"


def test_the_layout_is_recognised_and_pairs_are_grouped_by_tile(tiny: Path) -> None:
    layout, source = read_source(DataConfig(source=tiny))
    assert layout == "magnetic-tile"
    assert source.class_names == CLASS_NAMES
    stems_of_group: dict[str | None, set[str]] = {}
    for pair in source.pairs:
        stems_of_group.setdefault(pair.group, set()).add(pair.stem)
    assert sorted(map(sorted, stems_of_group.values())) == [
        ["crack_exp1_num_100", "crack_exp2_num_150", "free_exp3_num_250"],
        ["free_exp1_num_5000"],
        ["uneven_exp1_num_351"],
    ]


def test_masks_above_127_are_of_the_folders_kind(tiny: Path) -> None:
    masks = {pair.stem: pair.load_mask() for pair in read_source(DataConfig(source=tiny))[1].pairs}
    for stem, class_id in {
        "crack_exp1_num_100": 3,
        "uneven_exp1_num_351": 5,
        "free_exp1_num_5000": 0,
    }.items():
        assert (masks[stem][0] == class_id).all()
        assert (masks[stem][1:] == 0).all(), "the anti-aliased border is background"


def test_grey_photographs_are_imported_with_one_channel(tiny: Path, tmp_path: Path) -> None:
    config = build(DataConfig, {"source": tiny, "test": 1, "validation": 0})
    dataset = import_dataset(config, tmp_path / "out")
    assert dataset.info.channels == 1
    assert tuple(entry.name for entry in dataset.info.classes) == CLASS_NAMES
    assert sum(len(dataset.pairs(split)) for split in SPLITS) == 5


def test_a_photograph_without_mask_is_named(tiny: Path, tmp_path: Path) -> None:
    (tiny / "MT_Crack" / "Imgs" / "exp2_num_150.png").unlink()
    with pytest.raises(DataError, match=r"exp2_num_150\.jpg has no mask; expected exp2_num_150\.png beside it"):
        import_dataset(build(DataConfig, {"source": tiny}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def real() -> Source:
    if not REAL.is_dir():
        pytest.skip(f"the magnetic tile photographs are not at {REAL}")
    return read_source(DataConfig(source=REAL))[1]


def test_all_real_photographs_are_found(real: Source) -> None:
    kinds = Counter(pair.stem.split("_")[0] for pair in real.pairs)
    assert kinds == PAIRS_OF_KIND
    assert len(real.pairs) == 1344
    assert real.problems == []
    assert len({pair.stem for pair in real.pairs}) == 1344


def test_the_real_tiles_are_grouped(real: Source) -> None:
    sizes = Counter(pair.group for pair in real.pairs)
    assert len(sizes) == 224
    assert max(sizes.values()) == 18
    assert Counter(sizes.values()).most_common(1)[0][0] == 6
    assert len({pair.group for pair in real.pairs if not pair.stem.startswith("free_")}) == 77


def test_four_uneven_tiles_have_an_empty_mask(real: Source) -> None:
    """The publisher's own; they are imported as photographs without defect."""
    marked = [pair for pair in real.pairs if not pair.stem.startswith("free_")]
    empty = [pair.stem for pair in marked if not pair.load_mask().any()]
    assert len(empty) == NUM_EMPTY
    assert all(stem.startswith("uneven_") for stem in empty)


def test_no_real_tile_is_in_two_splits(real: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most photographs without defect are left out, which keeps this fast."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    config = build(DataConfig, {"source": REAL, "size": 32, "max_defect_free": 0.05})
    dataset = import_dataset(config, tmp_path / "tiles")
    pairs = {split: dataset.pairs(split) for split in SPLITS}
    assert sum(map(len, pairs.values())) == (392 - NUM_EMPTY) + 19
    tiles = {split: {pair.group for pair in rows} for split, rows in pairs.items()}
    assert sum(map(len, tiles.values())) == len(set.union(*tiles.values())), "a tile is in two splits"
    group_of = {pair.stem: pair.group for rows in pairs.values() for pair in rows}
    by_tile: dict[str | None, set[str]] = {}
    for pair in real.pairs:
        if pair.stem in group_of:
            by_tile.setdefault(pair.group, set()).add(group_of[pair.stem])
    assert all(len(found) == 1 for found in by_tile.values()), "what the numbers join, pictures must not part"
    assert max(Counter(group_of.values()).values()) <= 30
    for split, rows in pairs.items():
        assert {pair.stem.split("_")[0] for pair in rows} == set(PAIRS_OF_KIND), f"{split} lacks a kind"
    assert dataset.load(pairs["test"][0])[0].shape == (32, 32, 1)
