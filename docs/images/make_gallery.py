"""Draw the README's picture from a finished study: real pairs above, synthetic pairs below.

python docs/images/make_gallery.py isdm-demo/run/study docs/images/demo.png
"""

import json
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

PIXEL, GAP, LABEL = 2, 6, 22
NUM_PAIRS = 8


def main(study: Path, out: Path) -> None:
    """Paste the gallery's first pairs into one picture."""
    gallery = study / "gallery"
    pairs = json.loads((gallery / "gallery.json").read_text())["pairs"]
    rows = []
    for kind, words in (
        ("real", "real: photograph and mask"),
        ("synthetic", "synthetic: painted for the mask below"),
    ):
        chosen = [pair for pair in pairs if pair["kind"] == kind][:NUM_PAIRS]
        for key, label in (("image", words), ("overlay", "")):
            rows.append((label, [Image.open(gallery / pair[key]).convert("RGB") for pair in chosen]))
    width, height = (PIXEL * length for length in rows[0][1][0].size)
    sheet_width = NUM_PAIRS * (width + GAP) + GAP
    sheet_height = sum(height + GAP + (LABEL if label else 0) for label, _ in rows) + GAP
    sheet = Image.new("RGB", (sheet_width, sheet_height), "white")
    draw, top = ImageDraw.Draw(sheet), GAP
    for label, pictures in rows:
        if label:
            draw.text((GAP, top + 2), label, fill="black", font=ImageFont.load_default(14))
            top += LABEL
        for place, picture in enumerate(pictures):
            enlarged = picture.resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (GAP + place * (width + GAP), top))
        top += height + GAP
    sheet.save(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
