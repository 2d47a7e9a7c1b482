"""What would make a study worthless: test images that the training side has seen, by whatever way."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from isdm.data.dataset import DatasetInfo, SegmentationDataset
from isdm.data.image_files import picture_digest
from isdm.data.near_duplicates import find_same
from isdm.data.similarity import SIDE_PX, thumbnail
from isdm.errors import DataError, UsageError
from isdm.evaluation.cells import StudyData
from isdm.progress import say
from isdm.training.segmentation import LabelledImages

CLEAR_DEVIATIONS = 12.0
"""Only clear likeness counts: small pictures are more alike than the things they show."""
NEARLY_SAME = 0.97
"""Similarity to a held-out picture above which a synthetic one is no chance likeness."""
MOST_SHOWN = 3


def check_origin(name: str, synthetic: SegmentationDataset, dataset: SegmentationDataset) -> list[str]:
    """What is wrong with the origin of a synthetic set: a sentence for each leak.

    Raises:
        DataError: the set is not synthetic, or has other classes; that is no leak but a mistake.
    """
    source = synthetic.info.source
    if not source.get("synthetic"):
        raise DataError(f"{synthetic.folder} was not made by `isdm sample`; it cannot stand for synthetic pairs.")
    if [entry.name for entry in synthetic.info.classes] != [entry.name for entry in dataset.info.classes]:
        raise DataError(f"{synthetic.folder} and {dataset.folder} have different classes.")
    expected = dataset.fingerprint("train")
    seen = {
        "generator": source.get("model_trained_on", {}).get("fingerprint"),
        "masks": source.get("masks_from"),
        "selection": source.get("selected_with", expected),
    }
    leaks = [
        f"The {what} of {name!r} ({synthetic.folder}) saw other images than the training split of {dataset.folder}, "
        f"perhaps its test images. Train and sample on this dataset."
        for what, fingerprint in seen.items()
        if fingerprint != expected
    ]
    for ancestor in _ancestors(source.get("model_trained_on", {})):
        if ancestor.get("fingerprint") != expected:
            other = ancestor.get("dataset", "another dataset")
            say(
                f"Warning: the generator of {name!r} began as a model of {other!r}; the study holds only if no test "
                f"image of {dataset.folder}, nor another of the same thing, was among its training images."
            )
    return leaks


def _ancestors(trained_on: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the models were trained on that this one's first weights came from, the nearest first."""
    found: list[Mapping[str, Any]] = []
    while trained_on := trained_on.get("initialised_from", {}):
        found.append(trained_on)
    return found


def find_leaks(data: StudyData, groups: Mapping[str, list[str]], names: Mapping[str, list[str]]) -> list[str]:
    """Leaks among the pictures themselves: a sentence for each kind.

    Args:
        data: the decoded images.
        groups: of the pairs of each split.
        names: of the pairs of each split and of each synthetic set.
    """
    leaks = []
    for held_out in ("validation", "test"):
        both = sorted(set(groups["train"]) & set(groups[held_out]))
        if both:
            leaks.append(
                f"{len(both)} group(s) lie in training and {held_out}, such as {both[0]!r}: pictures of one thing "
                f"are on both sides. Import again with --group-by."
            )
    return leaks + _same_pictures(data, names)


def _same_pictures(data: StudyData, names: Mapping[str, list[str]]) -> list[str]:
    """Pictures of the training side, real or synthetic, that show what a validation or test picture shows."""
    sides = {"train": data.train, **data.synthetic, "validation": data.validation, "test": data.test}
    held_out = ("validation", "test")
    rows = [(side, index) for side, images in sides.items() for index in range(len(images))]
    thumbnails = np.empty((len(rows), SIDE_PX, SIDE_PX), np.uint8)
    digests = []
    for place, (side, index) in enumerate(rows):
        image = sides[side].images[index]
        thumbnails[place] = thumbnail(image)
        digests.append(picture_digest(image))
    found: dict[tuple[str, str], list[str]] = {}
    for match in find_same(thumbnails, digests, CLEAR_DEVIATIONS):
        ends = [rows[match.first], rows[match.second]]
        ends.sort(key=lambda end: end[0] in held_out)
        (side, index), (other, place) = ends
        if (side in held_out) == (other in held_out) and {side, other} != set(held_out):
            continue
        is_same = digests[match.first] == digests[match.second]
        if side in data.synthetic and not is_same and match.similarity < NEARLY_SAME:
            continue  # what a generator paints may resemble a test picture without having seen it
        found.setdefault((side, other), []).append(f"{names[side][index]} as {names[other][place]}")
    return [
        f"{len(pairs)} picture(s) of {side!r} show the same as one of {other!r} ({', '.join(pairs[:MOST_SHOWN])}). "
        f"Import again with --near-duplicates, or name the groups with --groups."
        for (side, other), pairs in found.items()
    ]


RESERVED_NAMES = frozenset({"train", "validation", "test", "real"})
"""What the sides of a study are called that are no synthetic sets."""


def check_set_names(names: Iterable[str]) -> None:
    """Refuse synthetic sets that are called as a split is: leaks and figures could not tell them apart.

    Raises:
        UsageError: naming one of them.
    """
    taken = sorted(RESERVED_NAMES.intersection(names))
    if taken:
        raise UsageError(f"A synthetic set cannot be called {taken[0]!r}, as real images are; give it another NAME=.")


def shows_nothing(split: str, images: LabelledImages, info: DatasetInfo) -> str | None:
    """A sentence where no mask of a split has a pixel of a class but the background; None where one has."""
    if ((images.masks >= info.first_foreground) & (images.masks != info.ignore_index)).any():
        return None
    return (
        f"None of the {len(images)} {split} images shows a class but the background, so nothing can be measured on "
        f"them. Import again with more of them (--{split}) or another --seed."
    )


def warn_of_empty_splits(data: StudyData) -> None:
    """Say which split shows nothing to be found; a fold of a cross-validation may be tested on clear images alone."""
    for split, images in (("validation", data.validation), ("test", data.test)):
        nothing = shows_nothing(split, images, data.info)
        if nothing is not None:
            kept = " Until then the last checkpoint of each training is kept, not the best."
            say(f"Warning: {nothing}{kept if split == 'validation' else ''}")


def refuse_or_warn(leaks: list[str], allowed: bool) -> None:
    """Refuse a study that leaks, or say so where leaks are allowed.

    Raises:
        DataError: naming every leak.
    """
    if leaks and not allowed:
        raise DataError("\n".join(leaks[:MOST_SHOWN]))
    for leak in leaks:
        say(f"Warning: {leak}")
