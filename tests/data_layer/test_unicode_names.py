"""A Mac's names ("u" and two dots) and those of annotation files ("ü") are one, in either direction."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest

import coco_trees
import label_studio_trees
import labelme_trees
import yolo_trees
from imported import Noise, Put, imported
from isdm.config import DataConfig
from isdm.data.layouts import read_source
from isdm.data.layouts.source import inside
from isdm.data.unicode_names import spellings, stored
from isdm.errors import DataError

FORMS = [("NFD", "NFC"), ("NFC", "NFD")]
SIZE = (40, 60)


def test_a_path_is_given_as_it_is_stored(tmp_path: Path) -> None:
    file = tmp_path / unicodedata.normalize("NFD", "Zürich") / unicodedata.normalize("NFC", "Köln.png")
    file.parent.mkdir()
    file.touch()
    for form in ("NFC", "NFD"):
        asked = tmp_path / unicodedata.normalize(form, "Zürich") / unicodedata.normalize(form, "Köln.png")
        assert stored(asked) == file
        assert inside(tmp_path, asked.relative_to(tmp_path).as_posix(), tmp_path) == file
    for missing in (
        tmp_path / "é",
        file / "é",
        tmp_path / "nowhere" / "é" / "a",
        tmp_path / "é\0",
        tmp_path / "é\ud800",
    ):
        assert stored(missing) == missing


def test_the_exact_name_comes_first(tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD")]
    for name in names:
        (tmp_path / name).touch()
    assert [stored(tmp_path / name).name for name in names] == names
    spelled = spellings(names)
    assert [spelled(name) for name in names] == names
    assert spellings(names[:1])(names[1]) == names[0]
    assert spelled("ü") == "ü"


def test_a_link_of_another_form_that_leads_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.png").touch()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / unicodedata.normalize("NFD", "é.png")).symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match="lies outside"):
        inside(tmp_path / "in", "é.png", tmp_path)


@pytest.fixture(params=FORMS, ids=["disk-nfd", "disk-nfc"])
def forms(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Those of "ü" on the disk and in the annotations."""
    on_disk, told = request.param
    return unicodedata.normalize(on_disk, "ü"), unicodedata.normalize(told, "ü")


Forms = tuple[str, str]


def check(folder: Path, layout: str, image: str) -> None:
    name, source = read_source(DataConfig(source=folder))
    assert name == layout
    assert source.problems == []
    (pair,) = source.pairs
    assert pair.image == folder / image
    assert pair.load_mask().any()


def test_masks(tmp_path: Path, forms: Forms, put: Put, noise: Noise) -> None:
    put(f"source/images/{forms[0]}.png", noise(0, *SIZE, 3))
    put(f"source/masks/{forms[1]}_mask.png", np.eye(*SIZE))
    check(tmp_path / "source", "folders", f"images/{forms[0]}.png")


def test_coco(tmp_path: Path, forms: Forms) -> None:
    coco_trees.write_image(tmp_path / "images" / forms[0] / f"{forms[0]}.jpg")
    entry = coco_trees.image_entry(1, f"{forms[1]}/{forms[1]}.jpg")
    value = coco_trees.document([entry], [coco_trees.annotation(1, 1, 3)])
    coco_trees.write_json(tmp_path / "annotations" / "instances_default.json", value)
    check(tmp_path, "coco", f"images/{forms[0]}/{forms[0]}.jpg")


@pytest.mark.parametrize("entry", ["train.txt", "images/{}"])
def test_yolo(tmp_path: Path, forms: Forms, entry: str) -> None:
    on_disk, told = forms
    settings = {"train": entry.format(told), "names": ["dent", "scratch"]}
    yolo_trees.save_outlined(tmp_path, {f"images/{on_disk}/{on_disk}.jpg": yolo_trees.SQUARE}, settings)
    (tmp_path / "train.txt").write_text(f"images/{told}/{told}.jpg\n", "utf-8")
    (tmp_path / "labels" / on_disk / f"{on_disk}.txt").rename(tmp_path / "labels" / on_disk / f"{told}.txt")
    (tmp_path / "labels" / on_disk).rename(tmp_path / "labels" / told)
    check(tmp_path, "yolo", f"images/{on_disk}/{on_disk}.jpg")


def test_voc(tmp_path: Path, forms: Forms, put: Put, noise: Noise) -> None:
    on_disk, told = forms
    put(f"source/JPEGImages/{on_disk}.jpg", noise(0, *SIZE, 3))
    put(f"source/SegmentationClass/{told}.png", np.eye(*SIZE))
    lists = tmp_path / "source" / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text(f"{told}\n", "utf-8")
    check(tmp_path / "source", "voc", f"JPEGImages/{on_disk}.jpg")


def test_cvat(tmp_path: Path, forms: Forms, put: Put, noise: Noise) -> None:
    put(f"source/images/{forms[0]}.png", noise(0, *SIZE, 3))
    shape = '<polygon label="dent" points="10,5;20,5;20,15" z_order="0"></polygon>'
    image = f'<image id="0" name="{forms[1]}.png" width="60" height="40">{shape}</image>'
    labels = "<meta><task><labels><label><name>dent</name></label></labels></task></meta>"
    text = f"<annotations><version>1.1</version>{labels}{image}</annotations>"
    (tmp_path / "source" / "annotations.xml").write_text(text, "utf-8")
    check(tmp_path / "source", "cvat", f"images/{forms[0]}.png")


@pytest.mark.parametrize("pattern", ["{}.jpg", "C:\\pictures\\{}.jpg"])
def test_labelme(tmp_path: Path, forms: Forms, pattern: str) -> None:
    labelme_trees.save_picture(tmp_path / f"{forms[0]}.jpg")
    shape = labelme_trees.shape("dent", labelme_trees.SQUARE)
    text = json.dumps(labelme_trees.document([shape], pattern.format(forms[1])))
    (tmp_path / "a.json").write_text(text, "utf-8")
    check(tmp_path, "labelme", f"{forms[0]}.jpg")


def test_label_studio(tmp_path: Path, forms: Forms) -> None:
    on_disk, told = forms
    annotation = label_studio_trees.annotation(label_studio_trees.SQUARE)
    task = label_studio_trees.task(f"/data/local-files/?d={told}/{told}.jpg", annotation)
    pictures = (f"other/{on_disk}.jpg", f"{on_disk}/{on_disk}.jpg")
    label_studio_trees.save_tasks(tmp_path, task, pictures=pictures)
    check(tmp_path, "label-studio", f"images/{on_disk}/{on_disk}.jpg")


def test_a_table_of_groups(tmp_path: Path, forms: Forms, fruit_source: Path) -> None:
    for folder in ("images", "masks"):
        (fruit_source / folder / "fruit0_0.png").rename(fruit_source / folder / f"fr{forms[0]}it.png")
    stems = [path.stem for path in (fruit_source / "images").iterdir() if path.stem.isascii()]
    lines = ["name,group", f"fr{forms[1]}it,one", *(f"{stem},{stem[:6]}" for stem in stems)]
    (tmp_path / "groups.csv").write_text("\n".join(lines), "utf-8")
    dataset = imported(fruit_source, groups=tmp_path / "groups.csv")
    assert "one" in {pair.group for split in dataset.splits for pair in dataset.pairs(split)}
