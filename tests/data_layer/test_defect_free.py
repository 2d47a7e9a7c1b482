"""Further pictures without any defect: pairs of the training split whose masks are all background."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imported import NO_SPLIT, Hashes, Noise, Put, groups_by_split, imported, loaded
from isdm.config import DataConfig, build
from isdm.data.checking import check_dataset
from isdm.data.dataset import SegmentationDataset
from isdm.data.importing import import_dataset
from isdm.data.instances import load_instances
from isdm.errors import DataError, OutputError
from rawfiles import write_png16


@pytest.fixture
def clean(tmp_path: Path, put: Put, noise: Noise) -> Path:
    """Four pictures without masks, one of them further below and one of another size."""
    for index, name in enumerate(("x.png", "y.jpg", "deep/z.png")):
        put(f"clean/{name}", noise(50 + index))
    put("clean/wide.png", noise(53, 8, 12, 3))
    return tmp_path / "clean"


def stems(dataset: SegmentationDataset, split: str) -> set[str]:
    return {pair.stem for pair in dataset.pairs(split)}  # type: ignore[arg-type]


def test_they_join_the_training_split_with_empty_masks(fruit_source: Path, clean: Path) -> None:
    dataset = imported(fruit_source, defect_free=clean)
    pairs = {pair.stem: pair for pair in dataset.pairs("train")}
    assert {"x", "y", "deep_z", "wide"} <= set(pairs)
    for stem in ("x", "y", "deep_z", "wide"):
        image, mask = dataset.load(pairs[stem])
        assert mask.shape == image.shape[:2]
        assert not mask.any()
        assert pairs[stem].group == stem
    np.testing.assert_array_equal(dataset.load(pairs["x"])[0], np.asarray(Image.open(clean / "x.png")))
    assert check_dataset(dataset) == 15 + 4
    assert "Masks: 4 defect-free pictures are all background, and for training alone" in dataset.info.source["notes"]


def test_the_splits_of_the_others_stay_what_they_were(fruit_source: Path, clean: Path) -> None:
    without = imported(fruit_source, seed=5)
    config = build(DataConfig, {"source": fruit_source, "seed": 5, "defect_free": clean})
    with_clean = import_dataset(config, fruit_source.parent / "more")
    for split in ("validation", "test"):
        assert stems(with_clean, split) == stems(without, split)
        assert with_clean.fingerprint(split) == without.fingerprint(split)  # type: ignore[arg-type]
    assert stems(with_clean, "train") == stems(without, "train") | {"x", "y", "deep_z", "wide"}


def test_a_name_that_others_have_gets_an_ending(fruit_source: Path, put: Put, noise: Noise) -> None:
    put("clean/fruit0_0.png", noise(70))
    put("clean/fruit0_1.png", noise(71))
    put("source/images/fruit0_1_defect_free.png", noise(72))
    put("source/masks/fruit0_1_defect_free.png", np.eye(8) * 255)
    dataset = imported(fruit_source, defect_free=fruit_source.parent / "clean")
    pairs = loaded(dataset)
    assert len(pairs) == 15 + 1 + 2
    np.testing.assert_array_equal(pairs["fruit0_0_defect_free"][0], noise(70))
    np.testing.assert_array_equal(pairs["fruit0_1_defect_free_defect_free"][0], noise(71))
    assert pairs["fruit0_0"][1].any()


def test_two_of_one_name_are_refused(fruit_source: Path, clean: Path, put: Put, noise: Noise) -> None:
    put("clean/x.bmp", noise(0))
    with pytest.raises(DataError, match="the name 'x' occurs 2 times"):
        imported(fruit_source, defect_free=clean)


def test_the_groups_follow_the_expression_and_are_never_parted(fruit_source: Path, put: Put, noise: Noise) -> None:
    """A clean side of a fruit of the test split would leak what the fruit looks like."""
    for fruit in range(7):
        put(f"clean/fruit{fruit}_clean.png", noise(80 + fruit))
    dataset = imported(fruit_source, defect_free=fruit_source.parent / "clean", group_by=r"^fruit\d")
    assert check_dataset(dataset) > 0
    groups = groups_by_split(dataset)
    held_out = groups["validation"] | groups["test"]
    assert len(held_out) == 2
    clean = {pair.stem: pair.group for pair in dataset.pairs("train") if pair.stem.endswith("clean")}
    assert clean == {f"{group}_clean": group for group in {f"fruit{i}" for i in range(7)} - held_out}
    notes = " ".join(dataset.info.source["notes"])
    assert "2 defect-free pictures were left out: the validation or test split has their groups" in notes


def test_a_name_that_the_expression_does_not_match_is_refused(fruit_source: Path, clean: Path) -> None:
    with pytest.raises(DataError, match=r"does not match 'deep_z'; every name must match"):
        imported(fruit_source, defect_free=clean, group_by=r"fruit\d")


def test_splits_of_the_source_are_kept(tmp_path: Path, clean: Path, put: Put, noise: Noise) -> None:
    for split in ("train", "val", "test"):
        for index in range(2):
            put(f"source/{split}/images/{split}{index}.png", noise(index))
            put(f"source/{split}/masks/{split}{index}.png", np.eye(8) * 255)
    dataset = imported(tmp_path / "source", defect_free=clean)
    assert stems(dataset, "test") == {"test0", "test1"}
    assert stems(dataset, "validation") == {"val0", "val1"}
    assert stems(dataset, "train") == {"train0", "train1", "x", "y", "deep_z", "wide"}


def test_they_work_beside_an_isdm_dataset(fruit_source: Path, clean: Path) -> None:
    first = imported(fruit_source)
    config = build(DataConfig, {"source": first.folder, "defect_free": clean})
    second = import_dataset(config, fruit_source.parent / "second")
    assert stems(second, "test") == stems(first, "test")
    assert stems(second, "train") == stems(first, "train") | {"x", "y", "deep_z", "wide"}


def test_they_work_beside_tiles(tmp_path: Path, clean: Path, put: Put, noise: Noise) -> None:
    for number in range(4):
        put(f"tiles/MT_Crack/Imgs/exp1_num_{1000 * number}.jpg", noise(number, 8, 8))
        put(f"tiles/MT_Crack/Imgs/exp1_num_{1000 * number}.png", np.eye(8) * 255)
    dataset = imported(tmp_path / "tiles", defect_free=clean, test=1, validation=1)
    assert [len(dataset.pairs(split)) for split in ("train", "validation", "test")] == [2 + 4, 1, 1]
    assert dataset.info.channels == 3, "colour of a clean picture counts as well"


def test_they_are_fitted_like_the_others(fruit_source: Path, clean: Path) -> None:
    pairs = loaded(imported(fruit_source, defect_free=clean, size=4, fit="pad"))
    assert {image.shape for image, _ in pairs.values()} == {(4, 4, 3)}
    assert set(np.unique(pairs["wide"][1])) == {0, 255}


def test_they_count_where_pairs_without_foreground_are_limited(fruit_source: Path, clean: Path) -> None:
    dataset = imported(fruit_source, defect_free=clean, max_defect_free=0.2)
    assert len(loaded(dataset)) == 15 + 3
    assert any("1 of 4 pairs without foreground were left out" in note for note in dataset.info.source["notes"])


def test_their_bits_are_the_datasets(tmp_path: Path, put: Put) -> None:
    ramp = np.arange(64, dtype=np.uint16).reshape(8, 8, 1)
    write_png16(tmp_path / "source/images/a.png", ramp)
    put("source/masks/a.png", np.eye(8) * 255)
    write_png16(tmp_path / "clean/b.png", ramp * 65)
    pairs = loaded(imported(tmp_path / "source", defect_free=tmp_path / "clean", **NO_SPLIT))
    assert pairs["b"][0].max() == 65535
    assert pairs["a"][0].max() == round(63 / 4095 * 65535)


def test_they_hold_no_object_where_others_have_instance_maps(fruit_source: Path, clean: Path, put: Put) -> None:
    for path in (fruit_source / "images").iterdir():
        put(f"source/instances/{path.name}", np.eye(8) * 9)
    dataset = imported(fruit_source, defect_free=clean, size=8)
    pairs = dataset.pairs("train")
    maps = load_instances(dataset, pairs)
    assert maps is not None
    for pair, ids in zip(pairs, maps, strict=True):
        assert ids.any() == pair.stem.startswith("fruit")


def test_importing_again_changes_nothing_and_other_pictures_are_refused(
    fruit_source: Path, clean: Path, hashes: Hashes, put: Put, noise: Noise
) -> None:
    folder = imported(fruit_source, defect_free=clean).folder
    before = hashes(folder)
    moved = clean.rename(clean.with_name("moved"))
    imported(fruit_source, defect_free=moved)
    with pytest.raises(OutputError, match="another defect-free folder"):
        imported(fruit_source)
    put("moved/x.png", noise(99))
    with pytest.raises(OutputError, match="another defect-free folder"):
        imported(fruit_source, defect_free=moved)
    assert hashes(folder) == before


def test_a_broken_picture_is_named_with_the_other_problems(fruit_source: Path, clean: Path) -> None:
    (clean / "x.png").write_bytes(b"not a picture")
    (fruit_source / "masks" / "fruit0_0.png").unlink()
    with pytest.raises(DataError) as caught:
        imported(fruit_source, defect_free=clean)
    assert str(caught.value).startswith("2 problem(s)")
    assert "clean/x.png cannot be read as an image" in str(caught.value)


def test_a_folder_that_is_missing_or_empty_is_named(fruit_source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"defect_free = .*nowhere is not a folder; give one with pictures"):
        imported(fruit_source, defect_free=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"defect_free = .*empty holds no picture; put them there"):
        imported(fruit_source, defect_free=tmp_path / "empty")
