"""Defects of the training masks, to be moved, scaled and put down again."""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from isdm.data.dataset import SegmentationDataset
from isdm.data.regions import connected_regions

MOST_DEFECTS = 60
MOST_MASKS = 400
"""Masks that are looked through."""
LEAST_PX = 4


@dataclass(frozen=True)
class Defect:
    """A connected region of one class in a training mask."""

    class_id: int
    source: str
    """Stem of its pair."""
    group: str
    shape: NDArray[np.bool_]
    """(h, w) cut to the region."""

    def as_json(self) -> dict[str, Any]:
        """What the page needs: its class and its rows as strings of 0 and 1."""
        rows = ["".join("1" if on else "0" for on in row) for row in self.shape]
        return {"class": self.class_id, "source": self.source, "rows": rows}


@cache
def find_defects(dataset: SegmentationDataset) -> list[Defect]:
    """Some defects of the training masks, of every class about equally many, in the order of the pairs."""
    info = dataset.info
    classes = info.classes[info.first_foreground :]
    most = max(2, MOST_DEFECTS // len(classes))
    found: list[Defect] = []
    counts: Counter[int] = Counter()
    for pair in dataset.pairs("train")[:MOST_MASKS]:
        mask = dataset.load_mask(pair)
        for class_id in np.unique(mask[mask != info.ignore_index]).tolist():
            if class_id < info.first_foreground or counts[class_id] >= most:
                continue
            labels, _ = connected_regions(mask == class_id)
            for number, place in enumerate(ndimage.find_objects(labels), start=1):
                shape = labels[place] == number
                if shape.sum() >= LEAST_PX and counts[class_id] < most:
                    counts[class_id] += 1
                    found.append(Defect(class_id, pair.stem, pair.group, shape))
        if len(found) >= MOST_DEFECTS:
            break
    return sorted(found, key=lambda defect: defect.class_id)
