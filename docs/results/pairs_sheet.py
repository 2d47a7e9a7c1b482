"""Draw pairs of several sets above one another: each picture, below it with its mask's outline and what is ignored.

python docs/results/pairs_sheet.py OUT.png "real=runs/tiles/fold-0/data" "1,000 steps=runs/tiles/fold-0/synthetic" …

Sets with pictures of the same names, which were painted for the same masks, show the same masks.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage

from isdm.data.dataset import SegmentationDataset

COLUMNS, LEAST_PX = 10, 30
OUTLINE, IGNORED = (255, 70, 60), (70, 130, 255)


def main(out: Path, entries: list[str]) -> None:
    """Draw the sheet."""
    sets = {name: SegmentationDataset(Path(folder)) for name, _, folder in (e.partition("=") for e in entries)}
    figure = Figure((COLUMNS * 0.95, len(sets) * 1.95), dpi=100, layout="constrained")
    axes = figure.subplots(len(sets), 1)
    chosen: dict[str, None] = {}
    for axis, (name, dataset) in zip(np.atleast_1d(axes), sets.items(), strict=True):
        stems = {pair.stem: pair for pair in dataset.pairs("train")}
        if not chosen.keys() <= stems.keys() or not chosen:
            shown = [stem for stem, pair in stems.items() if _is_worth_showing(dataset.load_mask(pair))]
            chosen = dict.fromkeys(shown[:: max(1, len(shown) // COLUMNS)][:COLUMNS])
        columns = [_column(*dataset.load(stems[stem])) for stem in chosen]
        axis.imshow(np.concatenate(columns, axis=1))
        axis.set_ylabel(name)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.savefig(out)


def _is_worth_showing(mask: NDArray[np.uint8]) -> bool:
    return int(((mask > 0) & (mask != 255)).sum()) >= LEAST_PX


def _column(image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture (H, W, C) above itself with its mask: (2 H, W, 3)."""
    plain = image if image.shape[2] == 3 else image.repeat(3, axis=2)
    told = plain.copy()
    inside = (mask > 0) & (mask != 255)
    told[mask == 255] = IGNORED
    told[inside & ~ndimage.binary_erosion(inside)] = OUTLINE
    return np.concatenate([plain, told])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
