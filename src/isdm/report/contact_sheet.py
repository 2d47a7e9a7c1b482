"""Pictures of pairs on one sheet: images, and the same with their masks laid over."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from isdm.data.dataset import DatasetInfo, SegmentationDataset
from isdm.data.describing import Statistics
from isdm.data.image_files import size_text
from isdm.data.overlays import IGNORED_GREY, PICTURE_PX, overlay, small_image, small_mask
from isdm.progress import track
from isdm.report.dataset_figures import class_label
from isdm.report.drawing import LIGHT
from isdm.text import printable

_MARGIN_PX, _GAP_PX, _CAPTION_PX, _SHEET_COLUMNS = 28, 16, 42, 4


@dataclass(frozen=True)
class ShownPair:
    """One pair of the sheet."""

    name: str
    split: str
    size: str
    """Width x height of the image itself."""
    class_ids: tuple[int, ...]
    """Foreground classes that it shows."""
    image: Image.Image
    overlay: Image.Image


def draw_pairs(dataset: SegmentationDataset, statistics: Statistics) -> list[ShownPair]:
    """Decode and draw the pairs that the statistics chose.

    Raises:
        DataError: one of them cannot be read.
    """
    drawn = []
    chosen = statistics.shown
    for split, pair in track(chosen, "Drawing pairs", total=len(chosen), unit="pairs"):
        image, mask = dataset.load(pair)
        picture = small_image(image)
        ids = np.unique(mask)
        drawn.append(
            ShownPair(
                name=printable(pair.stem),
                split=split,
                size=size_text(image),
                class_ids=tuple(int(i) for i in ids if 0 < i < dataset.info.num_classes),
                image=picture,
                overlay=overlay(picture, small_mask(mask, picture.size), dataset.info),
            )
        )
    return drawn


def contact_sheet(pairs: Sequence[ShownPair], statistics: Statistics) -> Image.Image:
    """All pairs on one white sheet: image, overlay and caption each, under a legend of the classes."""
    columns = min(_SHEET_COLUMNS, len(pairs))
    cell_width, cell_height = 2 * PICTURE_PX + 4, PICTURE_PX + _CAPTION_PX
    width = max(2 * _MARGIN_PX + columns * (cell_width + _GAP_PX) - _GAP_PX, 640)
    legend = _legend_places(statistics, width - 2 * _MARGIN_PX)
    top = _MARGIN_PX + 44 + (1 + max((row for _, row, _, _ in legend), default=-1)) * 26 + 12
    rows = -(-len(pairs) // columns)
    sheet = Image.new("RGB", (width, top + rows * (cell_height + _GAP_PX) + _MARGIN_PX - _GAP_PX), LIGHT.paper)
    draw = ImageDraw.Draw(sheet)
    title = f"{printable(statistics.info.name)}: {len(pairs)} of {statistics.num_pairs:,} pairs"
    draw.text(
        (_MARGIN_PX, _MARGIN_PX - 6),
        _cut(title, _font(24, "-Bold"), width - 2 * _MARGIN_PX),
        LIGHT.ink,
        _font(24, "-Bold"),
    )
    for x, row, colour, name in legend:
        left, y = _MARGIN_PX + x, _MARGIN_PX + 38 + row * 26
        draw.rounded_rectangle((left, y + 2, left + 14, y + 16), 3, colour, LIGHT.muted)
        draw.text((left + 22, y), name, LIGHT.ink, _font(15))
    for index, pair in enumerate(pairs):
        row, column = divmod(index, columns)
        left, upper = _MARGIN_PX + column * (cell_width + _GAP_PX), top + row * (cell_height + _GAP_PX)
        for place, picture in enumerate((pair.image, pair.overlay)):
            # Low pictures stand on their caption.
            x = left + place * (PICTURE_PX + 4) + (PICTURE_PX - picture.width) // 2
            sheet.paste(picture, (x, upper + PICTURE_PX - picture.height))
        lines = (f"{pair.name} · {pair.split}", shown_classes(pair, statistics.info))
        for number, line in enumerate(lines):
            ink = (LIGHT.ink, LIGHT.muted)[number]
            draw.text((left, upper + PICTURE_PX + 4 + 18 * number), _cut(line, _font(13), cell_width), ink, _font(13))
    return sheet


def shown_classes(pair: ShownPair, info: DatasetInfo) -> str:
    """The foreground classes of a pair in words."""
    return ", ".join(class_label(info.classes[i], 30) for i in pair.class_ids) or "no foreground"


def _legend_places(statistics: Statistics, width: int) -> list[tuple[int, int, tuple[int, ...], str]]:
    """Where each class stands in the legend: x, row, colour, name; rows are filled from the left."""
    entries: list[tuple[tuple[int, ...], str]] = [
        (tuple(int(v) for v in np.clip(entry.colour, 0, 255)), class_label(entry, 30))
        for entry in statistics.foreground
    ]
    if statistics.ignored_px:
        entries.append((IGNORED_GREY, "ignored"))
    places = []
    x = row = 0
    for colour, name in entries:
        needed = 22 + round(_font(15).getlength(name)) + 24
        if x and x + needed > width:
            x, row = 0, row + 1
        places.append((x, row, colour, name))
        x += needed
    return places


def _font(size: int, style: str = "") -> ImageFont.FreeTypeFont:
    """The font of the figures, which comes with matplotlib."""
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{style}.ttf", size)


def _cut(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Shorten a line to a width in pixels."""
    text = text[:300]
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
