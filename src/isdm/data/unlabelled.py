"""Splits of which nothing is known: pictures without any annotation, as publishers give those of their tests."""

from collections import Counter
from collections.abc import Iterable

from isdm.data.dataset import Split


def unlabelled_splits(told: Iterable[tuple[Split | None, bool]], what: str) -> tuple[set[Split], list[str]]:
    """The splits for validation and testing in which no image is labelled though others are, and a note on each.

    Taken for background, such images would make every right prediction on them a wrong one.

    Args:
        told: of each image its split, and whether anything is said of it.
        what: what such an image lacks, such as "a label file".
    """
    images: Counter[Split | None] = Counter()
    labelled: Counter[Split | None] = Counter()
    for split, is_labelled in told:
        images[split] += 1
        labelled[split] += is_labelled
    if not labelled.total():
        return set(), []
    without: list[Split] = [split for split in ("validation", "test") if images[split] and not labelled[split]]
    return set(without), [
        f"the {images[split]} {split} images were left out: none has {what}, so what they show is not known"
        for split in without
    ]
