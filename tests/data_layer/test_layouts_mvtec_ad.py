"""MVTec AD: one category, and a folder of several."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imported import NO_SPLIT, Noise, Put, imported, loaded, names
from isdm.config import DataConfig
from isdm.data.layouts import mvtec_ad, read_source
from isdm.data.layouts.source import Source
from isdm.errors import DataError

KINDS = ("broken_large", "contamination")


def defect(value: int) -> np.ndarray:
    """A mask with a soft border: the first row is the defect."""
    mask = np.zeros((6, 8))
    mask[0], mask[1], mask[2] = value, 128, 127
    return mask


def put_category(put: Put, noise: Noise, folder: str, *kinds: str) -> None:
    for number in range(3):
        put(f"{folder}/train/good/{number:03d}.png", noise(number, 6, 8, 3))
    put(f"{folder}/test/good/000.png", noise(9, 6, 8, 3))
    for kind in kinds:
        for number in range(2):
            put(f"{folder}/test/{kind}/{number:03d}.png", noise(number, 6, 8, 3))
            put(f"{folder}/ground_truth/{kind}/{number:03d}_mask.png", defect(255))


@pytest.fixture
def bottle(put: Put, noise: Noise, tmp_path: Path) -> Path:
    put_category(put, noise, "mvtec/bottle", *KINDS)
    for name in ("license.txt", "readme.txt"):
        (tmp_path / "mvtec" / "bottle" / name).write_text("…")
    return tmp_path / "mvtec" / "bottle"


@pytest.fixture
def several(bottle: Path, put: Put, noise: Noise) -> Path:
    put_category(put, noise, "mvtec/metal_nut", "bent", "combined", "contamination")
    for name in ("license.txt", "readme.txt"):
        (bottle.parent / name).write_text("…")
    return bottle.parent


def read(root: Path) -> Source:
    layout, source = read_source(DataConfig(source=root))
    assert layout == "mvtec-ad"
    return source


def test_types_of_defects_are_the_classes_of_one_category(bottle: Path) -> None:
    source = read(bottle)
    assert source.class_names == ("background", *KINDS)
    assert source.has_background
    assert source.problems == []
    masks = {pair.stem: pair.load_mask() for pair in source.pairs}
    assert len(masks) == 3 + 1 + 4
    for stem, mask in masks.items():
        class_id = next((index for index, kind in enumerate(source.class_names) if kind in stem), 0)
        assert ("good" in stem) == (class_id == 0)
        assert mask.dtype == np.uint8
        assert mask.shape == (6, 8)
        assert (mask[:2] == class_id).all()
        assert (mask[2:] == 0).all()


def test_stems_tell_split_type_and_number_and_do_not_depend_on_the_folders_name(bottle: Path) -> None:
    for folder in (bottle, bottle.with_name(".unpacked-x1")):
        bottle.rename(folder)
        assert sorted(pair.stem for pair in read(folder).pairs) == [
            "test_broken_large_000",
            "test_broken_large_001",
            "test_contamination_000",
            "test_contamination_001",
            "test_good_000",
            "train_good_000",
            "train_good_001",
            "train_good_002",
        ]


def test_its_own_splits_are_not_taken_over(bottle: Path) -> None:
    source = read(bottle)
    assert {pair.split for pair in source.pairs} == {None}
    assert source.notes == [
        "mask values above 127 are the defect that the folder names",
        "the 4 pictures in good/ are all background",
        "the publisher's splits are not taken over, for its train/ holds good pictures alone",
    ]


def test_several_categories_put_theirs_before_the_type(several: Path) -> None:
    source = read(several)
    assert source.class_names == (
        "background",
        "bottle_broken_large",
        "bottle_contamination",
        "metal_nut_bent",
        "metal_nut_combined",
        "metal_nut_contamination",
    )
    assert source.problems == []
    assert len({pair.stem for pair in source.pairs}) == len(source.pairs) == 18
    for pair in source.pairs:
        name = pair.stem.replace("_test", "")[: -len("_000")]
        class_id = 0 if "good" in pair.stem else source.class_names.index(name)
        assert (pair.load_mask()[:2] == class_id).all()
    assert "with its category before it" in source.notes[0]
    assert '"combined" is a class of its own' in source.notes[0]


def test_it_is_imported_pixel_by_pixel(several: Path) -> None:
    expected = {pair.stem: pair.load_mask() for pair in read(several).pairs}
    dataset = imported(several, **NO_SPLIT)
    assert names(dataset) == list(read(several).class_names)
    np.testing.assert_equal({stem: mask for stem, (_, mask) in loaded(dataset).items()}, expected)


def test_missing_partners_are_named(bottle: Path) -> None:
    (bottle / "ground_truth" / "contamination" / "000_mask.png").unlink()
    (bottle / "test" / "broken_large" / "001.png").unlink()
    source = read(bottle)
    assert len(source.problems) == 2
    assert "broken_large/001_mask.png has no picture in " in source.problems[0]
    assert "contamination/000.png has no mask; expected " in source.problems[1]
    assert {pair.stem for pair in source.pairs if "good" not in pair.stem} == {
        "test_broken_large_000",
        "test_contamination_001",
    }


def test_a_type_with_masks_or_pictures_alone_is_a_problem(bottle: Path, put: Put, noise: Noise) -> None:
    put("mvtec/bottle/test/scratch/000.png", noise(0, 6, 8, 3))
    put("mvtec/bottle/ground_truth/hole/000_mask.png", defect(255))
    source = read(bottle)
    assert source.class_names == ("background", "broken_large", "contamination", "hole", "scratch")
    assert len(source.problems) == 2


def test_two_pictures_of_one_name_are_a_problem(bottle: Path, put: Put, noise: Noise) -> None:
    put("mvtec/bottle/test/contamination/000.bmp", noise(0, 6, 8, 3))
    put("mvtec/bottle/test/good/000.bmp", noise(0, 6, 8, 3))
    source = read(bottle)
    (problem,) = source.problems
    assert "contamination/000.png shares " in problem
    assert len({pair.stem for pair in source.pairs}) == len(source.pairs) == 9


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no picture", "cannot be read as an image"),
        (np.full((6, 8), 300, np.uint16), "has 16 bits; a mask has 0 and"),
    ],
)
def test_a_bad_mask_is_refused_when_decoded(bottle: Path, content: bytes | np.ndarray, message: str) -> None:
    path = bottle / "ground_truth" / "contamination" / "000_mask.png"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        Image.fromarray(content).save(path)
    pairs = {pair.stem: pair for pair in read(bottle).pairs}
    with pytest.raises(DataError, match=rf"000_mask\.png {message}"):
        pairs["test_contamination_000"].load_mask()
    assert pairs["test_contamination_001"].load_mask().any()


def test_classes_must_differ_and_not_be_too_many(bottle: Path, put: Put, noise: Noise) -> None:
    put("mvtec/bottle/test/background/000.png", noise(0, 6, 8, 3))
    with pytest.raises(DataError, match=r"has 3 types of defects; .* names other than 'background'"):
        read(bottle)
    (bottle / "test" / "background" / "000.png").unlink()
    (bottle / "test" / "background").rmdir()
    for index in range(253):
        (bottle / "test" / f"kind{index}").mkdir()
    with pytest.raises(DataError, match="has 255 types of defects; from 1 to 254 can be used"):
        read(bottle)


def test_other_trees_are_not_recognised(bottle: Path, tmp_path: Path) -> None:
    (bottle / "train" / "good").rename(bottle / "train" / "fine")
    assert not mvtec_ad.recognises(bottle)
    assert not mvtec_ad.recognises(bottle.parent)
    with pytest.raises(DataError, match="needs test/ and ground_truth/, itself or in a folder for each category"):
        read_source(DataConfig(source=tmp_path, layout="mvtec-ad"))
