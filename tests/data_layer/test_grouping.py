"""Groups from a table or from the pictures, folds, splits of the source, and pairs that are left out."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter
from scipy import ndimage

from imported import Noise, Put, groups_by_split, imported, names
from isdm.config import DataConfig, build
from isdm.data.checking import check_dataset
from isdm.data.importing import import_dataset
from isdm.data.layouts import read_source
from isdm.data.layouts.source import SourcePair
from isdm.data.matches import Matches, joined_groups
from isdm.data.near_duplicates import find_near_duplicates
from isdm.data.placing import splits_of
from isdm.data.similarity import thumbnail
from isdm.errors import ConfigError, DataError, OutputError

REAL = Path(__file__).parents[3] / "shared" / "data" / "magnetic-tile"


@pytest.fixture
def scenes(tmp_path: Path, put: Put) -> Path:
    """Twelve scenes, each photographed three times: as it is, darker, and blurred."""
    for scene in range(12):
        values = ndimage.gaussian_filter(np.random.default_rng(scene).random((96, 120, 3)), (3, 3, 0))
        picture = Image.fromarray(((values - values.min()) / np.ptp(values) * 255).astype(np.uint8))
        views = (picture, ImageEnhance.Brightness(picture).enhance(0.5), picture.filter(ImageFilter.GaussianBlur(1)))
        for view, shown in enumerate(views):
            number = 100 * view + scene  # neighbouring names are different scenes
            put(f"source/images/{number:03d}.png", shown)
            put(f"source/masks/{number:03d}.png", np.eye(96, 120) * 255)
    return tmp_path / "source"


def test_pictures_of_one_scene_stay_together_without_being_told(scenes: Path) -> None:
    dataset = imported(scenes)
    found = {pair.stem: pair.group for split in dataset.splits for pair in dataset.pairs(split)}
    assert len(set(found.values())) == 12
    assert all(found[stem] == f"{int(stem) % 100:03d}" for stem in found)
    assert sum(map(len, groups_by_split(dataset).values())) == 12
    assert any("36 groups became 12, the largest of 3" in note for note in dataset.info.source["notes"])
    assert check_dataset(dataset) == 36


def test_without_looking_they_are_parted_and_the_check_names_them(scenes: Path) -> None:
    dataset = imported(scenes, near_duplicates=False)
    with pytest.raises(DataError, match=r"shows nearly the same as \w+/\d+\.png \(similarity"):
        check_dataset(dataset)


def test_twins_within_one_split_leak_nothing(scenes: Path) -> None:
    assert check_dataset(imported(scenes, near_duplicates=False, test=0, validation=0)) == 36


def test_a_split_by_image_is_checked_without_complaint_but_said(
    scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = imported(scenes, split_by="image")
    assert dataset.info.split["by"] == "image"
    assert check_dataset(dataset) == 36
    assert "Split by image, as asked: group '" in capsys.readouterr().err


def test_the_same_file_in_two_splits_is_called_the_same(scenes: Path, put: Put) -> None:
    source = scenes.parent / "again"
    for split in ("train", "test"):
        for kind in ("images", "masks"):
            (source / split / kind).mkdir(parents=True)
            for number in range(split == "test", 6):
                name = f"{kind}/{number:03d}.png"
                (source / split / name).write_bytes((scenes / name).read_bytes())
    dataset = imported(source, validation=0)
    assert any("the source's own splits part 5 pairs of pictures" in note for note in dataset.info.source["notes"])
    with pytest.raises(DataError, match=r"train/train_001\.png shows the same picture as test/test_001\.png"):
        check_dataset(dataset)


@pytest.mark.parametrize("options", [{"splits": "new"}, {"folds": 3}])
def test_new_splits_do_not_part_what_the_source_parted(scenes: Path, options: dict[str, Any]) -> None:
    source = scenes.parent / "own"
    for number in range(36):
        for kind in ("images", "masks"):
            place = source / ("test" if number % 3 else "train") / kind / f"{number:02d}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes((scenes / kind / f"{100 * (number % 3) + number // 3:03d}.png").read_bytes())
    dataset = imported(source, **options)
    assert check_dataset(dataset) == 36
    assert any("36 groups became 12" in note for note in dataset.info.source["notes"])
    assert not any("the source's own splits" in note for note in dataset.info.source["notes"])


def test_pairs_that_no_split_names_are_trained_on(fruit_source: Path, put: Put, noise: Noise) -> None:
    for number in range(12):
        place = "train/" if number < 6 else "test/" if number < 10 else ""
        put(f"own/images/{place}{number}.png", noise(number))
        put(f"own/masks/{place}{number}.png", np.eye(8) * 255)
    dataset = imported(fruit_source.parent / "own", validation=0)
    assert {pair.stem for pair in dataset.pairs("test")} == {"6", "7", "8", "9"}
    assert len(dataset.pairs("train")) == 8
    note = "the source's own splits do not name 2 of the pairs, such as 10; they count as training pairs"
    assert any(note in told for told in dataset.info.source["notes"])


def test_a_defect_free_picture_that_is_held_out_is_not_trained_on(fruit_source: Path, scenes: Path) -> None:
    """Where the source has splits, too, and though another picture of the scene is trained on."""
    source, clean = scenes.parent / "own", scenes.parent / "clean"
    clean.mkdir()
    for scene in range(12):
        for kind in ("images", "masks"):
            place = source / ("test" if scene < 4 else "train") / kind / f"{scene:03d}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes((scenes / kind / f"{scene:03d}.png").read_bytes())
        (clean / f"clean{scene}.png").write_bytes((scenes / f"images/{100 + scene}.png").read_bytes())
    dataset = imported(source, defect_free=clean, validation=0)
    assert check_dataset(dataset) == 12 + 8
    trained = {pair.stem: pair.group for pair in dataset.pairs("train")}
    assert {stem for stem in trained if stem.startswith("clean")} == {f"clean{scene}" for scene in range(4, 12)}
    assert trained["clean5"] == trained["005"]


def test_a_split_that_gets_nothing_is_said(fruit_source: Path) -> None:
    dataset = imported(fruit_source, group_by=r"^fruit[01]|^fruit")
    note = "Splits: nothing is left for validation and test: the pictures are of 1 group(s), which stay whole"
    assert note not in dataset.info.source["notes"]
    single = import_dataset(
        build(DataConfig, {"source": fruit_source, "group_by": "^fruit"}), fruit_source.parent / "single"
    )
    assert note in single.info.source["notes"]
    assert len(single.pairs("train")) == 15


def test_groups_come_from_a_table(fruit_source: Path) -> None:
    table = fruit_source.parent / "groups.csv"
    rows = [f"fruit{fruit}_{view}.png,{'ab'[view % 2]}{fruit}" for fruit in range(5) for view in range(3)]
    table.write_text("\ufeffname,group,more\n" + "".join(f"{row},x\n" for row in rows))
    dataset = imported(fruit_source, groups=table)
    found = {pair.stem: pair.group for split in dataset.splits for pair in dataset.pairs(split)}
    assert found == {f"fruit{fruit}_{view}": f"{'ab'[view % 2]}{fruit}" for fruit in range(5) for view in range(3)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,group\nfruit0_0,a\n", r"no group for 14 of 15 images, such as 'fruit0_1'; add a line each"),
        ("name,group\nfruit0_0,\n", r"line 2 lacks a name or a group; the columns must be name,group"),
        ("stem,fruit\nfruit0_0,a\n", r"line 2 lacks a name or a group; the columns must be name,group"),
        ("name,group\nfruit0_0,a\nfruit0_0,b\n", r"line 3 puts 'fruit0_0' into 'b', but before into 'a'"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(fruit_source: Path, text: str, message: str) -> None:
    (fruit_source.parent / "groups.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        imported(fruit_source, groups=fruit_source.parent / "groups.csv")


def test_every_group_is_tested_in_exactly_one_fold(fruit_source: Path) -> None:
    tested: list[str] = []
    for fold in range(5):
        options = {"source": fruit_source, "group_by": r"fruit\d", "folds": 5, "fold": fold, "validation": 0.25}
        dataset = import_dataset(build(DataConfig, options), fruit_source.parent / f"fold{fold}")
        groups = groups_by_split(dataset)
        assert {split: len(found) for split, found in groups.items()} == {"train": 3, "validation": 1, "test": 1}
        tested += groups["test"]
    assert sorted(tested) == [f"fruit{number}" for number in range(5)]


def test_more_folds_than_groups_are_refused(fruit_source: Path) -> None:
    with pytest.raises(ConfigError, match=r"folds = 6 but there are 5 groups"):
        imported(fruit_source, group_by=r"fruit\d", folds=6)


def test_a_source_with_train_and_validation_gets_a_test_split_from_its_training_images(
    fruit_source: Path, put: Put, noise: Noise
) -> None:
    for split, numbers in (("train", range(8)), ("val", range(8, 10))):
        for number in numbers:
            put(f"two/{split}/images/{number}.png", noise(number))
            put(f"two/{split}/masks/{number}.png", np.eye(8) * 255)
    dataset = imported(fruit_source.parent / "two", test=0.25)
    stems = {split: {pair.stem for pair in dataset.pairs(split)} for split in dataset.splits}
    assert stems["validation"] == {"8", "9"}
    assert len(stems["test"]) == 2
    assert dataset.info.split["by"] == "source"


@pytest.mark.parametrize("skip_bad", [False, True])
def test_where_all_are_bad_leaving_out_is_no_way_out(fruit_source: Path, skip_bad: bool) -> None:
    for image in (fruit_source / "images").iterdir():
        image.write_bytes(image.read_bytes()[:60])
    with pytest.raises(DataError, match="Mend them; --skip-bad would leave no pair") as told:
        imported(fruit_source, skip_bad=skip_bad)
    assert "or leave them out" not in str(told.value)


def test_bad_pairs_are_left_out_and_recorded(fruit_source: Path, put: Put) -> None:
    (fruit_source / "masks" / "fruit0_0.png").unlink()
    (fruit_source / "images" / "fruit1_0.png").write_bytes(b"\x89PNG no")
    put("source/masks/fruit2_0.png", np.zeros((9, 8)))
    put("source/images/fruit4_0.jpg", np.zeros((8, 8, 3)))
    with pytest.raises(DataError, match="leave them out with --skip-bad"):
        imported(fruit_source)
    dataset = imported(fruit_source, skip_bad=True)
    kept = {pair.stem for split in dataset.splits for pair in dataset.pairs(split)}
    assert len(kept) == 11
    assert not kept & {"fruit0_0", "fruit1_0", "fruit2_0", "fruit4_0"}
    recorded = (dataset.folder / "left_out.txt").read_text().splitlines()
    assert len(recorded) == 4
    assert any(re.search(r"fruit0_0\.png has no mask", line) for line in recorded)
    assert dataset.info.source["left_out"] == 4


def test_a_destination_in_the_source_is_refused(fruit_source: Path) -> None:
    with pytest.raises(OutputError, match="lies in the source"):
        import_dataset(build(DataConfig, {"source": fruit_source}), fruit_source / "out")
    assert names(imported(fruit_source)) == ["background", "foreground"]


@pytest.fixture(scope="module")
def tiles() -> tuple[list[SourcePair], list[Image.Image], Matches]:
    """The real photographs, and which of them were found to show the same."""
    if not REAL.is_dir():
        pytest.skip(f"the magnetic tile photographs are not at {REAL}")
    pairs = read_source(DataConfig(source=REAL))[1].pairs
    pictures = [Image.open(pair.image).convert("L") for pair in pairs]
    thumbnails = np.stack([thumbnail(np.asarray(picture)[:, :, None]) for picture in pictures])
    return pairs, pictures, find_near_duplicates(thumbnails)


@pytest.mark.slow
@pytest.mark.parametrize("by_numbers", [True, False])
def test_no_real_tile_is_photographed_in_two_splits(
    tiles: tuple[list[SourcePair], list[Image.Image], Matches], by_numbers: bool
) -> None:
    """By another measure than ours: plain correlation of the high-passed pictures, or of those with near numbers."""
    pairs, photographs, matches = tiles
    numbers = [int(pair.stem.rpartition("_")[2]) for pair in pairs]
    groups = joined_groups([str(pair.group) if by_numbers else pair.stem for pair in pairs], matches)
    assert max(Counter(groups).values()) <= 30
    assert len(set(groups)) > 150, "tiles that are merely alike are not joined"
    chosen, _ = splits_of(
        [replace(pair, group=group) for pair, group in zip(pairs, groups, strict=True)],
        np.ones((len(pairs), 1), np.int64),
        DataConfig(source=REAL),
    )
    in_train = np.array(chosen) == "train"
    near = np.abs(np.subtract.outer(numbers, numbers)) <= 100
    parted = np.not_equal.outer(groups, groups)
    for side, light in ((64, 4), (64, 8), (48, 4), (96, 8)):
        alike = correlations(photographs, side, light)
        same = (alike > 0.97) | ((alike > 0.8) & near)
        assert not same[in_train][:, ~in_train].any(), (side, light)
        assert not (same & parted).any(), "whatever the seed, the size of the splits or the folds"


def correlations(photographs: list[Image.Image], side: int, light: float) -> np.ndarray:
    """Correlation (N, N) of the small pictures without slow changes of brightness."""
    small = np.array([np.asarray(photograph.resize((side, side))) for photograph in photographs], np.float32)
    flat = (small - ndimage.gaussian_filter(small, (0, light, light))).reshape(len(small), -1)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    return flat @ flat.T


def test_links_out_of_the_source_are_named_and_inner_ones_followed(tmp_path: Path, put: Put, noise: Noise) -> None:
    for number in range(1, 9):
        put(f"source/MT_Crack/Imgs/exp1_num_{1000 * number}.jpg", noise(number))
        put(f"source/MT_Crack/Imgs/exp1_num_{1000 * number}.png", np.eye(8) * 255)
    folder = tmp_path / "source" / "MT_Crack" / "Imgs"
    (folder / "exp1_num_1000.jpg").unlink()
    (folder / "exp1_num_1000.jpg").symlink_to(put("elsewhere/secret.jpg", noise(1)))
    (folder / "exp1_num_2000.jpg").unlink()
    (folder / "exp1_num_2000.jpg").symlink_to("exp1_num_3000.jpg")
    with pytest.raises(DataError, match=r"1 problem.*\n.*num_1000\.jpg is a link to .*secret"):
        imported(tmp_path / "source")
    dataset = imported(tmp_path / "source", skip_bad=True)
    found = {pair.stem: pair.group for split in dataset.splits for pair in dataset.pairs(split)}
    assert len(found) == 7
    assert found["crack_exp1_num_2000"] == found["crack_exp1_num_3000"], "a picture and a link to it are one"


def test_what_is_left_out_shifts_nobody_elses_group_or_picture(scenes: Path) -> None:
    """The first picture is broken and two have one name; every other keeps its picture and its scene's group."""
    (scenes / "images" / "000.png").write_bytes(b"no picture")
    Image.open(scenes / "images" / "105.png").save(scenes / "images" / "105.bmp")
    dataset = imported(scenes, skip_bad=True)
    pairs = {pair.stem: pair for split in dataset.splits for pair in dataset.pairs(split)}
    assert len(pairs) == 36 - 2
    assert {"000", "105"}.isdisjoint(pairs)
    for stem, pair in pairs.items():
        scene = int(stem) % 100
        assert int(pair.group) % 100 == scene
        with Image.open(scenes / "images" / f"{stem}.png") as original:
            np.testing.assert_array_equal(dataset.load(pair)[0], np.asarray(original))


def test_pictures_of_one_parted_group_are_told_once(scenes: Path) -> None:
    dataset = imported(scenes, near_duplicates=False)
    for split in dataset.splits:
        path = dataset.folder / split / "metadata.jsonl"
        path.write_text(re.sub(r'"group": "[^"]*"', '"group": "one"', path.read_text()))
    with pytest.raises(DataError, match=r"^1 problem\(s\) .*\n  group 'one' lies in test and train and validation"):
        check_dataset(dataset)
