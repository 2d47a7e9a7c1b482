"""Published selections of classes and images of a known dataset: `isdm data import --recipe NAME`.

The recipes here are those of the paper, on the COCO archive of the Lemons dataset. Its authors did not publish
which images they took, so the choice is ours:

- an image is eligible if it has an annotation of one of the recipe's categories;
- of the eligible images those are taken whose names come first in the order of their SHA-256: as good as random,
  the same on every machine, and hardly changed by images that are added;
- photographs of one fruit, the first part of a file name, stay in one split. The paper split by image, which lets
  one fruit be on both sides; `split_by: image` does the same, for comparison.

Where there are fewer images than in the paper, all are taken, and the usual shares are split off.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isdm.config import DataConfig
from isdm.data.layouts.source import Source, SourcePair
from isdm.errors import DataError, UsageError
from isdm.text import listed


@dataclass(frozen=True)
class Recipe:
    """Categories of the source and numbers of images."""

    categories: tuple[str, ...]
    num_images: int
    num_validation: int
    num_test: int
    merged_into: str | None = None
    """Name of the one class that the categories make together; without it each is its own."""
    group_by: str = "^([^_]+)"
    """Regular expression on the file stem, see `DataConfig.group_by`."""

    @property
    def num_train(self) -> int:
        """Training images."""
        return self.num_images - self.num_validation - self.num_test


_DEFECTS = ("blemish", "illness", "mould")

RECIPES: dict[str, Recipe] = {
    "lemons-blemish": Recipe(("blemish",), num_images=200, num_validation=32, num_test=40),
    "lemons-bim": Recipe(_DEFECTS, num_images=790, num_validation=126, num_test=160, merged_into="defect"),
    "lemons-bim-multiclass": Recipe(_DEFECTS, num_images=790, num_validation=126, num_test=160),
}


def find_recipe(name: str) -> Recipe:
    """The recipe of a name; an unknown one is a `UsageError`."""
    if name not in RECIPES:
        raise UsageError(f"recipe = {name!r} is unknown; choose {', '.join(RECIPES)}.")
    return RECIPES[name]


def kept_categories(config: DataConfig) -> frozenset[str] | None:
    """Names of the source's classes that do not become background, by the options or the recipe; None: all."""
    if config.classes is not None:
        return frozenset(part for name in config.classes for part in (name, *config.merge.get(name, ())))
    if config.recipe is not None and not config.merge:
        return frozenset(find_recipe(config.recipe).categories)
    return None


def with_recipe(source: Source, config: DataConfig) -> tuple[Source, DataConfig]:
    """Choose the recipe's images and fill in its options.

    An option counts as the user's where it differs from its default: the result then depends on the values of the
    options alone. `classes` and `merge` go together: the recipe leaves both where the user sets one.

    Args:
        source: what the layout found.
        config: with `recipe` set; otherwise both are given back as they are.

    Returns:
        The source with the chosen pairs, without splits of its own and with notes on the choice; and the options
        with classes, merging, groups and numbers of images.

    Raises:
        UsageError: the recipe is unknown.
        DataError: the source lacks the recipe's categories, or no image shows one.
    """
    if config.recipe is None:
        return source, config
    recipe = find_recipe(config.recipe)
    wanted = kept_categories(config) or frozenset(recipe.categories)
    missing = [name for name in recipe.categories if name not in source.class_names]
    if missing:
        raise DataError(
            f"{config.source} has no class {', '.join(missing)}, which the recipe {config.recipe!r} needs (it has "
            f"{listed(source.class_names)}); give the COCO archive of the Lemons dataset, or leave out --recipe."
        )
    ids = frozenset(index for index, name in enumerate(source.class_names) if name in wanted)
    problems = list(source.problems)
    eligible = [pair for pair in source.pairs if _shows(pair, ids, problems)]
    if not eligible:
        why = f"; its first problem: {source.problems[0]}" if source.problems else "; give the whole archive."
        raise DataError(f"{config.source} has no image that shows {' or '.join(sorted(wanted))}{why}")
    chosen = _first_by_hash(eligible, recipe.num_images)
    options = _options(recipe, config, len(chosen))
    notes = [*source.notes, *_notes(recipe, config, sorted(wanted), len(eligible), len(chosen))]
    if any(pair.split for pair in chosen):
        chosen = [replace(pair, split=None) for pair in chosen]
        notes.append(f"the recipe {config.recipe} splits anew: the source's own splits are not used")
    return replace(source, pairs=chosen, notes=notes, problems=problems), config.model_copy(update=options)


def _shows(pair: SourcePair, ids: frozenset[int], problems: list[str]) -> bool:
    """Whether an image shows one of the classes; the mask is decoded only where the layout does not say."""
    if pair.class_ids is not None:
        return not ids.isdisjoint(pair.class_ids)
    try:
        return bool(np.isin(pair.load_mask(), list(ids)).any())
    except DataError as error:
        problems.append(str(error))
        return False


def _first_by_hash(pairs: Sequence[SourcePair], count: int) -> list[SourcePair]:
    """The `count` pairs whose stems come first by SHA-256, in the order that they had."""
    order = sorted(range(len(pairs)), key=lambda i: hashlib.sha256(pairs[i].stem.encode("utf-8")).digest())
    return [pairs[index] for index in sorted(order[:count])]


def _options(recipe: Recipe, config: DataConfig, num_chosen: int) -> dict[str, Any]:
    """The options that the recipe sets."""
    values: dict[str, Any] = {}
    if config.classes is None and not config.merge:
        values["classes"] = recipe.categories if recipe.merged_into is None else (recipe.merged_into,)
        values["merge"] = {} if recipe.merged_into is None else {recipe.merged_into: recipe.categories}
    if config.group_by is None and config.groups is None:
        values["group_by"] = recipe.group_by
    if num_chosen == recipe.num_images and config.folds is None:
        numbers = {"test": recipe.num_test, "validation": recipe.num_validation}
        defaults = {name: DataConfig.model_fields[name].default for name in numbers}
        values.update({name: number for name, number in numbers.items() if getattr(config, name) == defaults[name]})
    return values


def _notes(
    recipe: Recipe, config: DataConfig, wanted: Sequence[str], num_eligible: int, num_chosen: int
) -> list[str]:
    paper = (
        f"the paper took {recipe.num_images} images ({recipe.num_train} to train, {recipe.num_validation} to "
        f"validate, {recipe.num_test} to test)"
    )
    notes = [
        f"the recipe {config.recipe} took {num_chosen} of {num_eligible} images with an annotation of "
        f"{' or '.join(wanted)}: the first ones in the order of the SHA-256 of their names"
    ]
    if num_eligible > recipe.num_images:
        notes.append(f"warning: {paper}, but which ones is not published: expect other figures than the paper's")
    elif num_eligible < recipe.num_images:
        notes.append(
            f"warning: {paper}, but here are only {num_eligible}: all are taken and split by test = {config.test} "
            f"and validation = {config.validation}; expect other figures than the paper's"
        )
    if config.split_by == "image":
        notes.append("warning: split by image, as in the paper, lets one fruit be in training and in test")
    elif config.group_by is None and config.groups is None:
        notes.append(
            "photographs of one fruit stay in one split, unlike in the paper; splits can miss their numbers of "
            "images by a few"
        )
    return notes
