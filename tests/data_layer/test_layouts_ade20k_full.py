"""The full ADE20K of 2021: three bytes a pixel, and a JSON file of objects beside each picture."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imported import NO_SPLIT, Noise, Put, imported, loaded, names
from isdm.config import DataConfig
from isdm.data.layouts import read_source
from isdm.data.layouts.source import Source
from isdm.errors import ConfigError, DataError

CAR, DOOR, PERSON, ROAD, WHEEL = 401, 774, 1831, 2131, 2940
NAMES = {
    CAR: "car, auto, automobile, machine, motorcar",
    DOOR: "door",
    PERSON: "person, individual, someone, somebody, mortal, soul",
    ROAD: "road, route",
    WHEEL: "wheel",
}
STREET = "training/urban/street/ADE_train_00016869"
HALL = "training/home_or_hotel/entrance_hall/ADE_train_00000004"
VALIDATION = "validation/urban/street/ADE_val_00000012"
NUMBERS = {
    STREET: [[0, CAR, CAR, PERSON], [ROAD, ROAD, ROAD, ROAD]],
    HALL: [[DOOR, DOOR, PERSON, 0], [0, 0, 0, 0]],
    VALIDATION: [[ROAD, ROAD, CAR, CAR], [ROAD, ROAD, 0, 0]],
}


def described(number: int, name: str, part_level: int = 0) -> dict[str, Any]:
    """An object as the published files describe it."""
    return {
        "id": 0,
        "name": name,
        "name_ndx": number,
        "hypernym": [name, "artifact, artefact"],
        "raw_name": name.split(",", maxsplit=1)[0],
        "attributes": [],
        "depth_ordering_rank": 1,
        "occluded": "no",
        "crop": "0",
        "parts": {"hasparts": [], "ispartof": [], "part_level": part_level},
        "instance_mask": "x/instance_000_x.png",
        "polygon": {"x": [1, 2, 2], "y": [0, 0, 1]},
        "saved_date": "18-Dec-2005 07:56:42",
    }


def write_description(path: Path, objects: object, encoding: str = "utf-8") -> None:
    text = json.dumps(
        {"annotation": {"filename": path.name, "scene": ["urban"], "object": objects}}, ensure_ascii=False
    )
    path.write_bytes(text.encode(encoding))


@pytest.fixture
def root(put: Put, noise: Noise, tmp_path: Path) -> Path:
    root = tmp_path / "ADE20K_2021_17_01"
    for seed, (place, numbers) in enumerate(NUMBERS.items()):
        values = np.array(numbers)
        instances = np.arange(values.size).reshape(values.shape)
        base = f"ADE20K_2021_17_01/images/ADE/{place}"
        put(f"{base}.jpg", noise(seed, *values.shape, 3))
        put(f"{base}_seg.png", np.stack([values // 256 * 10, values % 256, instances], axis=2))
        put(f"{base}_parts_1.png", np.stack([values // 256 * 10, values % 256, instances], axis=2))
        put(f"{base}/instance_000_{Path(place).name}.png", values > 0)
        shown = sorted(set(values.ravel().tolist()) - {0})
        objects = [described(number, NAMES[number]) for number in shown for _ in range(2)]
        write_description(root / "images" / "ADE" / f"{place}.json", [*objects, described(WHEEL, NAMES[WHEEL], 1)])
    (root / "index_ade20k.pkl").write_bytes(b"never opened")
    return root


def read(root: Path, **options: Any) -> Source:
    layout, source = read_source(DataConfig(source=root, **options))
    assert layout == "ade20k"
    return source


@pytest.mark.parametrize("up", [0, 1])
def test_kinds_are_classes_and_folders_are_splits(root: Path, up: int) -> None:
    source = read([root, root.parent][up])
    assert source.problems == []
    assert source.class_names == ("other", "car", "door", "person", "road")
    assert {pair.stem: pair.split for pair in source.pairs} == {
        "ADE_train_00016869": "train",
        "ADE_train_00000004": "train",
        "ADE_val_00000012": "validation",
    }
    assert len(source.notes) == 1
    assert "parts of objects are not read" in source.notes[0]


def test_it_is_imported_pixel_by_pixel(root: Path) -> None:
    dataset = imported(root, **NO_SPLIT)
    assert names(dataset) == ["other", "car", "door", "person", "road"]
    expected = [0, CAR, DOOR, PERSON, ROAD]
    pairs = loaded(dataset)
    assert len(pairs) == len(NUMBERS)
    for place, numbers in NUMBERS.items():
        np.testing.assert_array_equal(np.array(expected)[pairs[Path(place).name][1]], numbers)


def many_kinds(root: Path) -> None:
    kinds = [described(number, f"kind{number}") for number in range(2200, 2500)]
    path = root / "images" / "ADE" / f"{HALL}.json"
    write_description(path, [described(DOOR, "door"), described(PERSON, NAMES[PERSON]), *kinds])


def test_of_too_many_kinds_those_chosen_are_classes(root: Path) -> None:
    many_kinds(root)
    with pytest.raises(DataError, match=r"304 classes .*a mask can hold 254: choose some with --classes, such as"):
        read(root)
    with pytest.raises(ConfigError, match="classes: class 'cra' is unknown; the source has car, "):
        read(root, classes=["cra"])
    source = read(root, classes=["road", "car"])
    assert source.class_names == ("other", "car", "road")
    assert "of 304 kinds of objects the 2 chosen are classes, all others background" in source.notes[1]
    masks = {pair.stem: pair.load_mask().tolist() for pair in source.pairs}
    assert masks["ADE_train_00016869"] == [[0, 1, 1, 0], [2, 2, 2, 2]]
    assert masks["ADE_train_00000004"] == [[0] * 4] * 2


def test_of_too_many_kinds_some_are_merged(root: Path) -> None:
    many_kinds(root)
    dataset = imported(root, classes=["moving", "road"], merge={"moving": ["car", "person"]}, **NO_SPLIT)
    assert names(dataset) == ["other", "moving", "road"]
    assert loaded(dataset)["ADE_train_00016869"][1].tolist() == [[0, 1, 1, 1], [2, 2, 2, 2]]
    source = read(root, classes=["road"], merge={"moving": ["car", "person"]})
    assert source.class_names == ("other", "car", "person", "road"), "what is merged must be there to be merged"
    with pytest.raises(DataError, match="--classes"):
        read(root, merge={"moving": ["car", "person"]})
    chosen = [f"kind{number}" for number in range(2200, 2500)]
    with pytest.raises(DataError, match=r"300 classes .* were chosen; a mask can hold 254"):
        read(root, classes=chosen)


def test_synonyms_keep_names_apart_and_any_old_encoding_is_read(root: Path) -> None:
    path = root / "images" / "ADE" / f"{HALL}.json"
    write_description(path, [described(DOOR, "car, café door"), described(PERSON, "car")], "latin-1")
    source = read(root)
    assert source.class_names == ("other", "car", "café door", "car 1831", "road")


def test_a_kind_that_no_file_names_is_told_with_its_pixels(root: Path, put: Put) -> None:
    values = np.full((2, 4), 3000)
    put(
        f"ADE20K_2021_17_01/images/ADE/{HALL}_seg.png",
        np.stack([values // 256 * 10, values % 256, values % 2], axis=2),
    )
    with pytest.raises(DataError, match=r"ADE_train_00000004_seg\.png holds the kind of objects 3000 in 8 pixel"):
        imported(root, **NO_SPLIT)
    put(f"ADE20K_2021_17_01/images/ADE/{HALL}_seg.png", np.zeros((2, 4)))
    with pytest.raises(DataError, match=r"_seg\.png has mode L; a mask of this form has three bytes a pixel"):
        imported(root, **NO_SPLIT)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "annotation.object is None; it must list the objects"),
        ('{"annotation": {"object": 3}}', "annotation.object is 3; it must list"),
        ('{"annotation": {"object": [7]}}', r"annotation.object\[0\]: name_ndx is None"),
        ('{"annotation": {"object": [{"name_ndx": 0, "name": "x"}]}}', "name_ndx is 0; it must be from 1 to 6655"),
        ('{"annotation": {"object": [{"name_ndx": true, "name": "x"}]}}', "name_ndx is True"),
        ('{"annotation": {"object": [{"name_ndx": 7, "name": " , "}]}}', r"\[0\]: the name is ' , '"),
        ('{"annotation": {"object": [{"name_ndx": 7, "name": "a\\nb"}]}}', r"\[0\]: the label is 'a\\nb'"),
    ],
)
def test_a_damaged_description_is_named_and_its_picture_left_out(root: Path, content: str, message: str) -> None:
    (root / "images" / "ADE" / f"{HALL}.json").write_text(content)
    with pytest.raises(DataError, match=rf"ADE_train_00000004\.json.*{message}"):
        imported(root, **NO_SPLIT)
    assert len(read(root).pairs) == 2


@pytest.mark.parametrize(("ending", "what"), [(".json", "description"), ("_seg.png", "mask")])
def test_missing_partners_are_told(root: Path, ending: str, what: str) -> None:
    (root / "images" / "ADE" / f"{HALL}{ending}").unlink()
    source = read(root)
    (problem,) = source.problems
    assert f"ADE_train_00000004.jpg has no {what}; expected " in problem
    assert len(source.pairs) == 2


def test_the_form_of_2016_is_refused_with_the_remedy(put: Put, noise: Noise, tmp_path: Path) -> None:
    base = "ADE20K_2016_07_26/images/training/a/abbey/ADE_train_00000970"
    put(f"{base}.jpg", noise(0, 4, 4, 3))
    put(f"{base}_seg.png", noise(1, 4, 4, 3))
    (tmp_path / f"{base}_atr.txt").write_text('001 # 0 # 0 # sky # sky # ""\n')
    with pytest.raises(DataError, match=r"is the full ADE20K of 2016, .*; give the full form of 2021"):
        read(tmp_path / "ADE20K_2016_07_26")
