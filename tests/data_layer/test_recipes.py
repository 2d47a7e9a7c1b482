"""The paper's recipes on a small archive in the form of the Lemons dataset, and the experiment files for them."""

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from coco_trees import write_json
from imported import groups_by_split, imported, loaded, names
from isdm.cli.experiment import read_experiment
from isdm.config import DataConfig, ExperimentConfig, build
from isdm.data.layouts import read_source
from isdm.data.layouts.source import Source, SourcePair
from isdm.data.recipes import RECIPES, kept_categories, with_recipe
from isdm.errors import ConfigError, DataError

SIZE_PX = 48
NAMES = (
    "image_quality",
    "illness",
    "gangrene",
    "mould",
    "blemish",
    "dark_style_remains",
    "artifact",
    "condition",
    "pedicel",
)
CATEGORY = {name: number for number, name in enumerate(NAMES, start=1)}
EXPERIMENTS = Path(__file__).parents[2] / "examples" / "paper"
COUNTS = {"lemons-blemish": (128, 32, 40), "lemons-bim": (504, 126, 160), "lemons-bim-multiclass": (504, 126, 160)}
Archive = Callable[..., Path]


def stem_of(index: int) -> str:
    """Six photographs of each fruit."""
    return f"{index // 6:04d}_{'GA'[index % 2]}_I_{60 * (index % 6)}_A"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """Make an archive whose image number i shows the classes that `shown` gives for it; one file, linked to."""

    def make(shown: Sequence[Sequence[str]], names: Sequence[str] = NAMES) -> Path:
        root = tmp_path / "lemons"
        (root / "images").mkdir(parents=True)
        shared = root / "images" / ".shared.jpg"
        Image.new("RGB", (SIZE_PX, SIZE_PX), (230, 200, 40)).save(shared)
        images, annotations = [], []
        for index, classes in enumerate(shown):
            file_name = f"{stem_of(index)}.jpg"
            (root / "images" / file_name).hardlink_to(shared)
            images.append({"id": index + 1, "width": SIZE_PX, "height": SIZE_PX, "file_name": file_name})
            for place, name in enumerate(classes):
                left, top = 4 + 9 * place, 5
                corners = [left, top, left + 6, top, left + 6, top + 8, left, top + 8]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": index + 1,
                        "category_id": CATEGORY[name],
                        "segmentation": [corners],
                        "area": 48,
                        "bbox": [left, top, 6, 8],
                        "iscrowd": 0,
                        "attributes": {"occluded": False},
                    }
                )
        categories = [{"id": CATEGORY[name], "name": name, "supercategory": ""} for name in names]
        value = {
            "licenses": [{"name": "", "id": 0, "url": ""}],
            "info": {"contributor": "", "date_created": "", "description": ""},
            "categories": categories,
            "images": images,
            "annotations": annotations,
        }
        write_json(root / "annotations" / "instances_default.json", value)
        return root

    return make


def mixed(count: int) -> list[list[str]]:
    """Classes of `count` images: of every ten, three show blemish, two more illness, one mould, four none."""
    one_turn = [
        ["blemish", "pedicel"],
        ["blemish", "illness"],
        ["blemish"],
        ["illness", "condition"],
        ["illness"],
        ["mould"],
        ["gangrene", "artifact"],
        ["pedicel"],
        ["image_quality"],
        [],
    ]
    return [one_turn[index % 10] for index in range(count)]


def applied(root: Path, recipe: str | None, **options: Any) -> tuple[Source, DataConfig]:
    config = build(DataConfig, {"source": root, "recipe": recipe} | options)
    return with_recipe(read_source(config)[1], config)


@pytest.mark.parametrize("slug", ["blemish", "bim", "bim-multiclass"])
def test_the_papers_files_set_up_its_protocol(slug: str, archive: Archive) -> None:
    experiment = read_experiment(EXPERIMENTS / f"{slug}.yaml")
    assert isinstance(experiment, ExperimentConfig)
    recipe = f"lemons-{slug}"
    data = experiment.data
    assert (data.recipe, data.layout, data.size, data.fit) == (recipe, "coco", (256, 256), "stretch")
    train, finetune, sample, evaluate = experiment.train, experiment.finetune, experiment.sample, experiment.evaluate
    assert finetune is not None
    assert (train.preset, train.unet.base_channels, train.drop_rate, train.batch_size) == ("paper", 256, 0.0, 32)
    assert (finetune.drop_rate, finetune.batch_size, finetune.unet) == (0.2, 12, train.unet)
    assert (train.learning_rate, train.ema_decay, train.epochs, train.patience_steps) == (
        1e-4,
        0.9999,
        20_000,
        100_000,
    )
    assert (sample.sampler, sample.steps, sample.timesteps, sample.guidance) == ("ddpm", 300, "rescaled", 1.5)
    assert evaluate.architectures == ("unetplusplus", "fpn", "deeplabv3plus")
    assert evaluate.synthetic_counts == (0, 100, 400, "equal", 700, 1000)
    assert (evaluate.repeats, evaluate.protocol, evaluate.encoder) == (3, "paper", "resnet34")
    assert (evaluate.batch_size, evaluate.epochs, evaluate.loss) == (2, 50, "dice")

    given = data.model_copy(update={"source": archive(mixed(1500))})
    chosen, config = with_recipe(read_source(given)[1], given)
    num_train, num_validation, num_test = COUNTS[recipe]
    assert len(chosen.pairs) == num_train + num_validation + num_test
    assert (config.test, config.validation) == (num_test, num_validation)
    assert chosen.problems == []


def test_classes_merging_and_groups_are_the_recipes(archive: Archive) -> None:
    root = archive(mixed(60))
    expected = {
        "lemons-blemish": (("blemish",), {}),
        "lemons-bim": (("defect",), {"defect": ("blemish", "illness", "mould")}),
        "lemons-bim-multiclass": (("blemish", "illness", "mould"), {}),
    }
    assert set(expected) == set(RECIPES)
    for name, (classes, merge) in expected.items():
        source, config = applied(root, name)
        assert (config.classes, config.merge) == (classes, merge)
        assert source.class_names == ("background", *NAMES)
        assert config.group_by == "^([^_]+)", "the fruit's number"
        assert config.split_by == "group"


@pytest.mark.parametrize(
    ("recipe", "wanted"),
    [
        ("lemons-blemish", {"blemish"}),
        ("lemons-bim", {"blemish", "illness", "mould"}),
        ("lemons-bim-multiclass", {"blemish", "illness", "mould"}),
    ],
)
def test_only_images_with_a_wanted_class_are_taken(archive: Archive, recipe: str, wanted: set[str]) -> None:
    shown = mixed(100)
    source, config = applied(archive(shown), recipe)
    expected = [stem_of(index) for index, classes in enumerate(shown) if wanted & set(classes)]
    assert sorted(pair.stem for pair in source.pairs) == sorted(expected)
    assert (config.test, config.validation) == (0.2, 0.2), "fewer than in the paper: shares"
    (warning,) = (note for note in source.notes if note.startswith("warning"))
    number = sum(COUNTS[recipe])
    assert f"the paper took {number} images" in warning
    assert f"but here are only {len(expected)}: all are taken" in warning


def test_of_too_many_images_the_first_by_hash_are_taken(archive: Archive) -> None:
    root = archive([["blemish"]] * 260)
    source, config = applied(root, "lemons-blemish")
    by_hash = sorted((stem_of(index) for index in range(260)), key=lambda s: hashlib.sha256(s.encode()).hexdigest())
    stems = [pair.stem for pair in source.pairs]
    assert stems == [stem_of(index) for index in range(260) if stem_of(index) in by_hash[:200]], "in their order"
    assert (config.test, config.validation) == (40, 32)
    assert any("took 200 of 260 images" in note and "SHA-256" in note for note in source.notes)
    assert any("but which ones is not published" in note for note in source.notes)


def test_the_choice_does_not_depend_on_the_order(archive: Archive) -> None:
    config = build(DataConfig, {"source": archive([["blemish"]] * 230), "recipe": "lemons-blemish"})
    source = read_source(config)[1]
    shuffled = random.Random(0).sample(source.pairs, len(source.pairs))
    one, other = with_recipe(source, config)[0], with_recipe(replace(source, pairs=shuffled), config)[0]
    assert {pair.stem for pair in one.pairs} == {pair.stem for pair in other.pairs}


def test_the_papers_number_of_images_gives_no_warning(archive: Archive) -> None:
    source, config = applied(archive([["blemish"]] * 200), "lemons-blemish")
    assert not any("warning" in note for note in source.notes)
    assert any("photographs of one fruit stay in one split" in note for note in source.notes)
    source, config = applied(config.source, "lemons-blemish", split_by="image")
    assert config.split_by == "image"
    (warning,) = (note for note in source.notes if note.startswith("warning"))
    assert "one fruit be in training and in test" in warning


def test_what_the_user_sets_holds(archive: Archive) -> None:
    root = archive([["blemish", "illness"]] * 200)
    _, config = applied(root, "lemons-blemish", test=10, group_by="^(.)")
    assert (config.test, config.validation, config.group_by, config.classes) == (10, 32, "^(.)", ("blemish",))
    _, config = applied(root, "lemons-bim", classes=["illness"])
    assert (config.classes, config.merge) == (("illness",), {})
    _, config = applied(root, "lemons-bim", merge={"spot": ["blemish", "illness"]})
    assert (config.classes, config.merge) == (None, {"spot": ("blemish", "illness")})
    _, config = applied(root, "lemons-blemish", groups=root / "groups.csv")
    assert config.group_by is None


def test_a_recipe_is_imported_with_fruits_kept_whole(archive: Archive) -> None:
    dataset = imported(archive(mixed(60)), recipe="lemons-bim", size=16)
    assert names(dataset) == ["background", "defect"]
    groups = groups_by_split(dataset)
    assert set(groups) == {"train", "validation", "test"}
    assert set.union(*groups.values()) == {f"{fruit:04d}" for fruit in range(10)}
    assert sum(map(len, groups.values())) == 10, "a fruit is in two splits"
    pairs = loaded(dataset)
    assert len(pairs) == 36
    assert all(mask.max() == 1 for _, mask in pairs.values())


def test_the_users_classes_choose_the_images(archive: Archive) -> None:
    shown = [["mould"], ["blemish"], ["pedicel"], ["illness"]]
    root = archive(shown)
    source, _ = applied(root, "lemons-bim", classes=["mould", "pedicel"])
    assert [pair.class_ids for pair in source.pairs] == [{4}, {9}]
    source, _ = applied(root, "lemons-bim", classes=["rot"], merge={"rot": ["mould", "illness"]})
    assert [pair.class_ids for pair in source.pairs] == [{4}, {2}]


def test_a_wanted_class_is_never_hidden(archive: Archive) -> None:
    assert kept_categories(DataConfig(source=Path(), recipe="lemons-bim")) == {"blemish", "illness", "mould"}
    assert kept_categories(DataConfig(source=Path())) is None
    assert kept_categories(DataConfig(source=Path(), merge={"x": ("mould",)})) is None
    root = archive([["blemish", "artifact"]])
    told_by = root / "annotations" / "instances_default.json"
    text = told_by.read_text().replace("[13, 5, 19, 5, 19, 13, 13, 13]", "[5, 6, 9, 6, 9, 10, 5, 10]")
    told_by.write_text(text)
    (plain,) = read_source(DataConfig(source=root))[1].pairs
    (pair,) = applied(root, "lemons-blemish")[0].pairs
    assert plain.load_mask()[8, 7] == CATEGORY["artifact"]
    assert pair.load_mask()[8, 7] == CATEGORY["blemish"]


def test_no_mask_is_decoded_to_choose(archive: Archive) -> None:
    config = build(DataConfig, {"source": archive(mixed(20)), "recipe": "lemons-bim"})
    source = read_source(config)[1]

    def refuse(_: SourcePair) -> np.ndarray:
        raise AssertionError("a mask was decoded")

    undrawn = replace(source, pairs=[replace(pair, read=refuse) for pair in source.pairs])
    assert len(with_recipe(undrawn, config)[0].pairs) == 12


def test_where_the_layout_does_not_say_the_masks_tell(archive: Archive) -> None:
    config = build(DataConfig, {"source": archive(mixed(20)), "recipe": "lemons-bim"})
    source = read_source(config)[1]
    silent = replace(source, pairs=[replace(pair, class_ids=None) for pair in source.pairs])
    expected = [pair.stem for pair in with_recipe(source, config)[0].pairs]
    assert [pair.stem for pair in with_recipe(silent, config)[0].pairs] == expected

    def broken(_: SourcePair) -> np.ndarray:
        raise DataError("a.png is missing.")

    chosen, _ = with_recipe(replace(silent, pairs=[replace(silent.pairs[0], read=broken), *silent.pairs]), config)
    assert chosen.problems == ["a.png is missing."]


def test_splits_of_the_source_are_not_used(archive: Archive) -> None:
    config = build(DataConfig, {"source": archive(mixed(20)), "recipe": "lemons-bim"})
    source = read_source(config)[1]
    divided = replace(source, pairs=[replace(pair, split="train") for pair in source.pairs])
    chosen, _ = with_recipe(divided, config)
    assert {pair.split for pair in chosen.pairs} == {None}
    assert any("the source's own splits are not used" in note for note in chosen.notes)


def test_without_a_recipe_nothing_changes(archive: Archive) -> None:
    config = build(DataConfig, {"source": archive(mixed(10))})
    source = read_source(config)[1]
    assert with_recipe(source, config) == (source, config)


def test_an_unknown_recipe_is_refused_with_the_known_ones(archive: Archive) -> None:
    with pytest.raises(ConfigError, match="'lemons' is unknown; choose lemons-blemish, lemons-bim, lemons-bim-multi"):
        applied(archive(mixed(10)), "lemons")


def test_a_source_without_the_categories_is_refused(archive: Archive) -> None:
    root = archive([["blemish"], ["pedicel"]], names=["blemish", "pedicel"])
    assert len(applied(root, "lemons-blemish")[0].pairs) == 1
    with pytest.raises(DataError, match=r"has no class illness, mould, which the recipe 'lemons-bim' needs \(it has"):
        applied(root, "lemons-bim")


def test_a_source_that_shows_none_of_the_classes_is_refused(archive: Archive) -> None:
    with pytest.raises(DataError, match="has no image that shows blemish; give the whole archive"):
        applied(archive([["pedicel"], []]), "lemons-blemish")
