"""Pictures of pairs: images, the same with their masks laid over, and a sheet of both.

A mask is a tint that lets the image be seen through it, with a contour of full colour around it and a dark or
light seam around that, so that it stands out from any image. The background has no tint. A class of a few pixels
in a large image still gets a pixel in its small picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from isdm.data.dataset import IGNORE_INDEX, DatasetInfo, SegmentationDataset
from isdm.data.describing import Statistics
from isdm.data.image_files import ImageArray, MaskArray, as_shown, size_text
from isdm.progress import track
from isdm.report.dataset_figures import class_label
from isdm.report.drawing import LIGHT
from isdm.text import printable

PICTURE_PX = 240
"""Longer side of a small picture."""

_TINT, _SEAM = 0.35, 0.55
_NEIGHBOURS = np.ones((3, 3), bool)
_IGNORED_GREY = (127, 127, 127)
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


def small_image(image: ImageArray) -> Image.Image:
    """An image (H, W, C) in 8 bits and RGB, its longer side `PICTURE_PX`; few pixels are shown as squares."""
    picture = as_shown(image).convert("RGB")
    scale = PICTURE_PX / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.NEAREST if scale >= 3 else Image.Resampling.LANCZOS)


def small_mask(mask: MaskArray, size: tuple[int, int]) -> MaskArray:
    """A mask (H, W) at another size (width, height), without losing any foreground class.

    Nearest neighbours give the pixels; a class that they miss gets the pixel that holds most of it.
    """
    small = np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    for lost in np.setdiff1d(mask, small):
        if 0 < lost < IGNORE_INDEX:
            share = Image.fromarray((mask == lost).astype(np.float32)).resize(size, Image.Resampling.BOX)
            small.flat[int(np.asarray(share).argmax())] = lost
    return small


def overlay(picture: Image.Image, mask: MaskArray, info: DatasetInfo) -> Image.Image:
    """Lay a mask (H, W) of the picture's size over it."""
    pixels = np.asarray(picture, np.float64)
    palette = _palette(info)
    covered = mask > 0
    pixels = np.where(covered[:, :, None], (1 - _TINT) * pixels + _TINT * palette[mask], pixels)
    # Each contour lies outside its region, where the background is, and between regions inside each.
    nearest = ndimage.distance_transform_edt(~covered, return_distances=False, return_indices=True)
    owner = palette[mask[tuple(nearest)]] if covered.any() else palette[mask]
    contour = ndimage.binary_dilation(covered, _NEIGHBOURS) & ~covered
    seam = ndimage.binary_dilation(covered, _NEIGHBOURS, iterations=2) & ~covered & ~contour
    between = covered & (ndimage.grey_dilation(mask, footprint=_NEIGHBOURS) != mask)
    tone = np.where(_luminance(owner) > 110, 0.0, 255.0)[:, :, None]
    pixels = np.where(seam[:, :, None], (1 - _SEAM) * pixels + _SEAM * tone, pixels)
    pixels = np.where((contour | between)[:, :, None], owner, pixels)
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def _palette(info: DatasetInfo) -> NDArray[np.float64]:
    """(256, 3) colours of the class ids."""
    palette = np.full((256, 3), _IGNORED_GREY, np.float64)
    for entry in info.classes:
        palette[entry.id] = np.clip(entry.colour, 0, 255)
    return palette


def _luminance(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Perceived lightness (...,) of colours (..., 3), 0 to 255."""
    weighted: NDArray[np.float64] = colours @ np.array([0.299, 0.587, 0.114])
    return weighted


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
        entries.append((_IGNORED_GREY, "ignored"))
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
