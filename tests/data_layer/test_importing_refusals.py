"""Importing plain folders: sources with mistakes, and destinations that must not be touched."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imported import Hashes, Noise, Put, imported
from isdm.config import DataConfig, build
from isdm.data.importing import import_dataset
from isdm.errors import ConfigError, DataError, OutputError


@pytest.mark.parametrize("text", ["belt\n", "belt\nmould\nbelt\n"])
def test_a_useless_classes_file_is_refused(fruit_source: Path, text: str) -> None:
    (fruit_source / "classes.txt").write_text(text)
    with pytest.raises(DataError, match=r"classes\.txt must name at least two different classes"):
        imported(fruit_source)


def test_a_group_expression_must_match_every_name(fruit_source: Path) -> None:
    with pytest.raises(DataError, match=r"does not match 'fruit0_0'; every name must match"):
        imported(fruit_source, group_by="lemon")
    with pytest.raises(ConfigError, match=r"'\(' is not a regular expression"):
        imported(fruit_source, group_by="(")


def test_all_problems_are_listed_at_once_and_nothing_is_left_behind(
    fruit_source: Path, put: Put, hashes: Hashes
) -> None:
    (fruit_source / "masks" / "fruit0_0.png").unlink()
    put("source/masks/fruit1_0.png", np.zeros((8, 9)))
    truncated = fruit_source / "images" / "fruit2_0.png"
    truncated.write_bytes(truncated.read_bytes()[:60])
    (fruit_source / "masks" / "fruit3_0.png").write_bytes(b"not a picture")
    put("source/images/fruit4_0.jpg", np.zeros((8, 8, 3)))
    before = hashes(fruit_source.parent)
    with pytest.raises(DataError) as caught:
        imported(fruit_source)
    message = str(caught.value)
    assert message.startswith("5 problem(s) in the source; nothing was written:")
    for expected in (
        "images/fruit0_0.png has no mask; expected ",
        "images/fruit1_0.png is 8x8 but ",
        "masks/fruit1_0.png is 9x8; they must agree",
        "images/fruit2_0.png cannot be read as an image",
        "masks/fruit3_0.png cannot be read as an image",
        "the name 'fruit4_0' occurs 2 times",
    ):
        assert expected in message
    assert hashes(fruit_source.parent) == before
    assert [path.name for path in fruit_source.parent.iterdir()] == ["source"]


def test_undeclared_class_ids_are_named(four_classes: Path) -> None:
    (four_classes / "classes.txt").write_text("belt\nmould\nblemish\n")
    with pytest.raises(DataError, match=r"masks/a\.png holds class id 3; declared are 0 to 2"):
        imported(four_classes)


def test_very_many_problems_are_cut_short(
    fruit_source: Path, put: Put, noise: Noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isdm.data.importing.MOST_PROBLEMS_SHOWN", 20)
    for index in range(30):
        put(f"source/images/a{index}.png", noise(0))
    with pytest.raises(DataError) as caught:
        imported(fruit_source)
    assert str(caught.value).startswith("30 problem(s)")
    assert "… and 10 more" in str(caught.value)


def test_a_source_without_any_pair_says_which_mask_it_looked_for(put: Put, noise: Noise, tmp_path: Path) -> None:
    put("source/images/a.png", noise(0))
    put("source/masks/b.png", np.eye(8))
    with pytest.raises(DataError, match=r"no sound pair .*\n.*a\.png has no mask; expected .*masks/a\.png"):
        imported(tmp_path / "source")


def test_a_failure_while_writing_keeps_what_is_done_and_the_next_run_goes_on(
    fruit_source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("isdm.data.importing.write_metadata", full_disk)
        with pytest.raises(OSError, match="No space left"):
            imported(fruit_source)
    assert not (fruit_source.parent / "out").exists()
    with monkeypatch.context() as idle:
        idle.setattr("isdm.data.preparing._prepare", lambda *_: pytest.fail("everything was prepared before"))
        resumed = imported(fruit_source)
    assert sum(len(resumed.pairs(split)) for split in resumed.splits) == 15
    assert {path.name for path in fruit_source.parent.iterdir()} == {"source", "out"}


def test_what_another_interrupted_import_of_the_place_left_is_removed(fruit_source: Path) -> None:
    stale = fruit_source.parent / ".aside-import-out"
    (stale / "train").mkdir(parents=True)
    (stale / "train" / "half.png").write_bytes(b"half")
    imported(fruit_source)
    assert {path.name for path in fruit_source.parent.iterdir()} == {"source", "out"}


def test_what_another_import_is_writing_is_left_alone(fruit_source: Path) -> None:
    other = fruit_source.parent / ".aside-4242-red-out"
    other.mkdir()
    imported(fruit_source)
    assert other.is_dir()


def test_a_destination_without_a_name_is_refused(
    fruit_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(OutputError, match=r"\. has no name of its own; give a new folder"):
        import_dataset(build(DataConfig, {"source": fruit_source}), Path())


def test_a_classes_file_that_is_no_utf8_is_named(fruit_source: Path) -> None:
    (fruit_source / "classes.txt").write_bytes("gut\nMängel\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"classes\.txt is not UTF-8 text"):
        imported(fruit_source)


@pytest.mark.parametrize("options", [{"seed": 1}, {"size": 4}, {"test": 0.4}])
def test_other_options_are_refused_and_change_nothing(
    fruit_source: Path, hashes: Hashes, options: dict[str, Any]
) -> None:
    folder = imported(fruit_source).folder
    before = hashes(folder)
    with pytest.raises(OutputError, match=f"{next(iter(options))} was "):
        imported(fruit_source, **options)
    assert hashes(folder) == before


def test_a_changed_source_is_refused(fruit_source: Path, put: Put) -> None:
    imported(fruit_source)
    put("source/masks/fruit0_0.png", np.zeros((8, 8)))
    with pytest.raises(OutputError, match="another source"):
        imported(fruit_source)


def test_a_destination_that_holds_something_else_is_left_untouched(fruit_source: Path, hashes: Hashes) -> None:
    out = fruit_source.parent / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("the only copy")
    with pytest.raises(OutputError, match="something that isdm did not make"):
        imported(fruit_source)
    assert list(hashes(out)) == ["thesis.txt"]


def test_importing_onto_the_source_itself_is_refused(fruit_source: Path, hashes: Hashes) -> None:
    before = hashes(fruit_source)
    with pytest.raises(OutputError):
        import_dataset(build(DataConfig, {"source": fruit_source}), fruit_source)
    assert hashes(fruit_source) == before


def test_an_empty_source_says_what_is_expected(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with pytest.raises(DataError, match=r"none of the known layouts. Put images into images/ and masks"):
        imported(source)
    (source / "images").mkdir()
    (source / "masks").mkdir()
    with pytest.raises(DataError, match=r"holds no images; put them into .*images"):
        imported(source)


def test_a_source_that_is_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere is not a folder; give the folder or archive with the images"):
        imported(tmp_path / "nowhere")


def test_a_layout_that_does_not_fit_says_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(DataError, match="needs a folder images/ and beside it masks/"):
        imported(tmp_path / "source", layout="folders")
    with pytest.raises(DataError, match="holds no sound pair of image and mask in the layout 'magnetic-tile'"):
        imported(tmp_path / "source", layout="magnetic-tile")
