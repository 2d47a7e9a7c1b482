"""Draw pairs of datasets, images above and masks below: pictures of the handbook.

python docs/images/make_pairs.py synthetic docs/images/tour.png
python docs/images/make_pairs.py real plain patches docs/images/patches.png    six rows, from three datasets
"""

import sys
from pathlib import Path

from PIL import Image

from isdm import SegmentationDataset

PIXEL, GAP, NUM_PAIRS = 2, 6, 10


def main(folders: list[Path], out: Path) -> None:
    """Paste the first training pairs with a defect of each dataset into one picture."""
    rows = [row for folder in folders for row in pictures(SegmentationDataset(folder))]
    width, height = (PIXEL * length for length in rows[0][0].size)
    sheet = Image.new("RGB", (NUM_PAIRS * (width + GAP) + GAP, len(rows) * (height + GAP) + GAP), "white")
    for row, shown in enumerate(rows):
        for place, picture in enumerate(shown):
            enlarged = picture.resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (GAP + place * (width + GAP), GAP + row * (height + GAP)))
    sheet.save(out, optimize=True)


def pictures(dataset: SegmentationDataset) -> list[list[Image.Image]]:
    """Images, then masks of the first pairs with a defect."""
    pairs = [pair for pair in dataset.pairs("train") if dataset.load_mask(pair).any()][:NUM_PAIRS]
    return [
        [Image.open(file).convert("RGB") for file in files]
        for files in zip(*((pair.image, pair.mask) for pair in pairs), strict=True)
    ]


if __name__ == "__main__":
    *given, target = map(Path, sys.argv[1:])
    main(given, target)
