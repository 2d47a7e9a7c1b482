"""What a dataset holds, against counts made by hand and by walking over the pixels."""

import gc
import json
import shlex
import subprocess
import sys
import weakref
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from described import object_areas, pixels_of, write_dataset
from isdm.cli.options import comma_list
from isdm.data.dataset import (
    DatasetInfo,
    Pair,
    SegmentationClass,
    SegmentationDataset,
    pair_names,
    write_metadata,
    write_pair,
)
from isdm.data.describing import (
    ObjectSizes,
    SplitStatistics,
    Statistics,
    _add_objects,
    _object_sizes,
    as_json,
    choose_shown,
    equivalent_diameter_px,
    gather,
)
from isdm.data.describing_text import ClassChoice, area_text, class_choice, share_text
from isdm.errors import DataError
from isdm.files import read_json_lines

NAMES = ("background", "crack", "fray", "stain")


def drawn(rows: str) -> np.ndarray:
    """A mask from a drawing: digits are class ids, dots background, x ignored."""
    values = {".": 0, "x": 255}
    return np.array([[values.get(c, 0 if c == "." else c) for c in row] for row in rows.split()], np.int64)


MASKS = {
    "train": [
        drawn("11..2 1...2 ....2 2...2"),  # one crack of 3 px, two frays of 4 and 1 px
        drawn("1..1. .11.. ..... xx1x1"),  # by corners one crack of 4 px; two of 1 px that ignored pixels part
        drawn("..... ....."),
    ],
    "validation": [drawn("2222 2222")],
    "test": [drawn("....1 xx..."), drawn(".... ....")],
}
GROUPS = {"train": ["a", "b", "b"], "validation": ["a"], "test": ["c", "d"]}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SegmentationDataset:
    return write_dataset(tmp_path_factory.mktemp("described") / "tiles", MASKS, NAMES, groups=GROUPS)


@pytest.fixture(scope="module")
def statistics(dataset: SegmentationDataset) -> Statistics:
    return gather(dataset)


def test_counts_of_every_split(statistics: Statistics) -> None:
    assert list(statistics.splits) == list(MASKS)
    for split, masks in MASKS.items():
        held = statistics.splits[split]
        assert held.num_pairs == len(masks)
        assert held.class_px.tolist() == [pixels_of(masks, i) for i in range(4)]
        assert held.class_pairs.tolist() == [sum((mask == i).any() for mask in masks) for i in range(4)]
        assert held.ignored_px == pixels_of(masks, 255)
    assert [held.num_without_foreground for held in statistics.splits.values()] == [1, 0, 1]
    assert (statistics.num_pairs, statistics.num_without_foreground, statistics.ignored_px) == (6, 2, 5)
    every = [mask for masks in MASKS.values() for mask in masks]
    assert statistics.class_px.tolist() == [pixels_of(every, i) for i in range(4)]
    assert statistics.class_pairs.tolist() == [5, 3, 2, 0]
    assert statistics.image_sizes == {(5, 4): 2, (5, 2): 2, (4, 2): 2}


def test_groups_and_those_in_two_splits(statistics: Statistics) -> None:
    assert [(held.num_groups, held.largest_group) for held in statistics.splits.values()] == [(2, 2), (1, 1), (2, 1)]
    assert statistics.splits["train"].group_sizes == {1: 1, 2: 1}
    assert (statistics.num_groups, statistics.largest_group_size, statistics.num_parted_groups) == (4, 2, 1)
    assert statistics.largest_group == "a"  # as large as b, and first


def test_objects_by_hand(statistics: Statistics) -> None:
    assert [sizes.areas_px.tolist() for sizes in statistics.objects] == [[1, 3, 4], [1, 4, 8], []]
    assert [sizes.counts.tolist() for sizes in statistics.objects] == [[3, 1, 1], [1, 1, 1], []]
    assert [sizes.quantile(0.5) for sizes in statistics.objects] == [1, 4, None]


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 2, 255])))
def test_objects_are_those_that_a_walk_finds(mask: np.ndarray) -> None:
    areas: list[Counter[int]] = [Counter(), Counter()]
    _add_objects(areas, mask, 1)
    assert [sorted(of_class.elements()) for of_class in areas] == [object_areas([mask], i) for i in (1, 2)]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.floats(0, 1))
def test_quantiles_are_numpys(areas: list[int], share: float) -> None:
    sizes = _object_sizes(Counter(areas))
    assert sizes.count == len(areas)
    assert sizes.quantile(share) == pytest.approx(np.quantile(areas, share), abs=1e-9)


def test_no_mask_is_kept(dataset: SegmentationDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[Any]] = []
    most = 0
    load = SegmentationDataset.load_mask

    def watched(self: SegmentationDataset, pair: Pair) -> np.ndarray:
        nonlocal most
        mask = load(self, pair).copy()
        alive.append(weakref.ref(mask))
        gc.collect()
        most = max(most, sum(one() is not None for one in alive))
        return mask

    monkeypatch.setattr(SegmentationDataset, "load_mask", watched)
    gather(dataset)
    assert len(alive) == 6, "one pass"
    assert most <= 2, "the new one and, until it is replaced, the last"


def test_rejected_pairs_do_not_count(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", {"train": [drawn("11"), drawn("22")]}, NAMES)
    path = tmp_path / "d" / "train" / "metadata.jsonl"
    lines = read_json_lines(path)
    path.write_text(json.dumps(lines[0]) + "\n" + json.dumps(lines[1] | {"kept": False}) + "\n")
    assert gather(dataset).class_px.tolist() == [0, 2, 0, 0]
    path.write_text("")
    with pytest.raises(DataError, match="holds no pairs"):
        gather(dataset)


def test_an_undeclared_class_is_named(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", {"train": [drawn("17")]}, NAMES)
    with pytest.raises(DataError, match=r"p0-train\.png holds class id 7"):
        gather(dataset)


def with_pixels(*pixels: int, names: tuple[str, ...] = ()) -> Statistics:
    """Statistics with these pixels of each class, split over two splits."""
    classes = tuple(
        SegmentationClass(i, names[i - 1] if names and i else f"c{i}", (0, 0, 0)) for i in range(len(pixels))
    )
    none = np.zeros(len(pixels), np.int64)
    first = np.array(pixels, np.int64) // 3
    halves = {"train": first, "test": np.array(pixels, np.int64) - first}
    splits = {name: SplitStatistics(1, {1: 1}, half, none, 0, 0) for name, half in halves.items()}
    objects = tuple(ObjectSizes(none[:0], none[:0]) for _ in pixels[1:])
    return Statistics(DatasetInfo("d", classes), splits, objects, {(1, 1): 2}, 2, "a", 1, 0, ())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pixels", "kept"),
    [
        ((10**9, 95, 5), ["c1"]),  # exactly 5 % is not above; the background does not count
        ((0, 94999, 5001), ["c1", "c2"]),
        ((0, 95001, 4999), ["c1"]),
        ((7, 5 * 10**16, 95 * 10**16), ["c2"]),  # beyond what a float tells apart
        ((7, 5 * 10**16 + 1, 95 * 10**16), ["c1", "c2"]),
        ((7, *([1] * 40)), []),
        ((7, 0, 3), ["c2"]),
    ],
)
def test_classes_above_five_percent(pixels: tuple[int, ...], kept: list[str]) -> None:
    assert [entry.name for entry in with_pixels(*pixels).frequent] == kept


def test_the_classes_line_says_what_it_keeps() -> None:
    choice = class_choice(with_pixels(900, 60, 36, 4))
    assert choice is not None
    assert choice.option == "--classes c1,c2"
    assert (
        choice.sentence
        == "keeps the classes above 5 % of the defective pixels: c1 60.00 %, c2 36.00 %; drops 1 other"
    )


def test_no_classes_line_where_nothing_is_dropped() -> None:
    assert class_choice(with_pixels(5, 3)) is None
    assert class_choice(with_pixels(5, 0, 0)) is None
    assert class_choice(with_pixels(0, 5, 5)) == ClassChoice(
        "", "All 2 classes are above 5 % of the defective pixels."
    )
    none = class_choice(with_pixels(0, *([1] * 30)))
    assert none == ClassChoice("", "None of the 30 classes is above 5 % of the defective pixels.")


@pytest.mark.parametrize("name", ["crack", "fine crack", "it's", "$HOME `x`", "<script>", "-v", "裂纹"])
def test_the_option_can_be_pasted_into_a_shell(name: str) -> None:
    choice = class_choice(with_pixels(1, 50, 50, 1, names=(name, "b", "c")))
    assert choice is not None
    option, value = shlex.split(choice.option)
    assert (option, comma_list(value)) == ("--classes", [name, "b"])


@pytest.mark.parametrize("name", ["a,b", " a", "", "a\nb", 'q"\x1b[31m,', "\u202eb", "\U0001f600,裂"])
def test_names_that_an_option_cannot_hold_are_given_for_a_file(name: str) -> None:
    choice = class_choice(with_pixels(1, 50, 50, 1, names=(name, "b", "c")))
    assert choice is not None
    assert choice.option.isprintable()
    assert yaml.safe_load(choice.option) == {"classes": [name, "b"]}


def test_the_sheet_shows_every_class_once_before_any_twice() -> None:
    rng = np.random.default_rng(3)
    presence = np.zeros((5000, 199), bool)
    presence[np.arange(5000), rng.integers(0, 29, 5000)] = True
    presence[rng.permutation(5000)[:171], np.arange(28, 199)] = True  # most classes occur in one pair alone
    presence[7] = False
    chosen = choose_shown(presence, np.arange(5000))
    assert presence[chosen].any(axis=0).all()
    assert 7 in chosen
    assert len(chosen) == len(set(chosen))
    assert chosen == choose_shown(presence, np.arange(5000))


def test_the_sheet_is_full_but_no_fuller() -> None:
    presence = np.zeros((300, 2), bool)
    presence[:100, 0] = presence[95:200, 1] = True
    chosen = choose_shown(presence, np.arange(300) // 5)
    assert len(chosen) == 24
    assert len({index // 5 for index in chosen}) == 24, "no group twice while there are others"
    assert chosen[-1] >= 200, "one pair without foreground, at the end"
    assert all(index < 200 for index in chosen[:-1])
    assert abs(sum(index < 100 for index in chosen) - 12) <= 1, "classes take turns"
    assert choose_shown(presence[:2], np.arange(2)) == [0, 1]
    assert choose_shown(presence[200:], np.arange(100)) == sorted(choose_shown(presence[200:], np.arange(100)))
    assert len(choose_shown(presence[200:], np.arange(100))) == 24


def test_the_shown_pairs_are_named_with_their_split(statistics: Statistics) -> None:
    found = {(split, pair.stem) for split, pair in statistics.shown}
    assert found == {(split, f"p{i}-{split}") for split, masks in MASKS.items() for i in range(len(masks))}


def test_json_holds_the_counts(statistics: Statistics) -> None:
    values = json.loads(json.dumps(as_json(statistics), allow_nan=False))
    assert values["groups"] == {"num_groups": 4, "largest": "a", "largest_size": 2, "num_in_several_splits": 1}
    assert values["splits"]["train"]["class_px"] == statistics.splits["train"].class_px.tolist()
    crack = values["classes"][1]
    assert (crack["px"], crack["num_pairs"], crack["num_objects"]) == (10, 3, 5)
    assert crack["areas_px"] == {"1": 3, "3": 1, "4": 1}
    assert [entry.get("above_5_percent") for entry in values["classes"]] == [None, True, True, False]
    assert values["image_sizes"][0] == {"width": 5, "height": 4, "num_pairs": 2}


def test_half_characters_do_not_stop_the_numbers() -> None:
    values = as_json(with_pixels(1, 2, names=("\ud800",)))
    assert json.dumps(values, ensure_ascii=False).encode("utf-8")


def test_words() -> None:
    assert [share_text(*pair) for pair in ((0, 0), (0, 5), (1, 10**7), (1, 300), (1, 3))] == [
        "–", "0 %", "< 0.001 %", "0.33 %", "33.33 %",
    ]  # fmt: skip
    assert (area_text(3998.5), area_text(12.0)) == ("3,998.5", "12")
    assert equivalent_diameter_px(np.pi * 25) == pytest.approx(10)


def test_the_statistics_need_neither_torch_nor_matplotlib() -> None:
    code = "import sys, isdm.data.describing_text; assert not {'torch', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_a_background_class_0_counts_like_the_others(tmp_path: Path) -> None:
    road = np.zeros((6, 8), np.uint8)
    road[:, 4:], road[0, 0] = 1, 255
    info = DatasetInfo("streets", (SegmentationClass(0, "road", (1, 2, 3)), SegmentationClass(1, "sky", (4, 5, 6))))
    for has_background in (True, False):
        folder = tmp_path / f"streets-{has_background}"
        names = pair_names("a", 0, 1)
        write_pair(folder / "train", names, np.zeros((6, 8, 3), np.uint8), road, info)
        write_metadata(folder / "train", [names])
        replace(info, has_background=has_background).write(folder)
        found = gather(SegmentationDataset(folder))
        assert [entry.name for entry in found.foreground] == (["sky"] if has_background else ["road", "sky"])
        assert found.foreground_px == (24 if has_background else 47)
        assert [sizes.quantile(0.5) for sizes in found.objects] == ([24] if has_background else [23, 24])
        areas = {entry["name"]: entry.get("areas_px") for entry in as_json(found)["classes"]}
        assert areas == {"road": None if has_background else {"23": 1}, "sky": {"24": 1}}
