"""Draw pairs of a dataset, images above and masks below: the picture of the handbook's tour.

python docs/images/make_pairs.py synthetic docs/images/tour.png
"""

import sys
from pathlib import Path

from PIL import Image

from isdm import SegmentationDataset

PIXEL, GAP, NUM_PAIRS = 2, 6, 10


def main(folder: Path, out: Path) -> None:
    """Paste the first training pairs with a defect into one picture."""
    dataset = SegmentationDataset(folder)
    pairs = [pair for pair in dataset.pairs("train") if dataset.load_mask(pair).any()][:NUM_PAIRS]
    rows = [
        [Image.open(file).convert("RGB") for file in files]
        for files in zip(*((p.image, p.mask) for p in pairs), strict=True)
    ]
    width, height = (PIXEL * length for length in rows[0][0].size)
    sheet = Image.new("RGB", (NUM_PAIRS * (width + GAP) + GAP, 2 * (height + GAP) + GAP), "white")
    for row, pictures in enumerate(rows):
        for place, picture in enumerate(pictures):
            enlarged = picture.resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (GAP + place * (width + GAP), GAP + row * (height + GAP)))
    sheet.save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
