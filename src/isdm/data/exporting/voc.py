"""Pascal VOC 2012: pictures and palette masks in one folder each, lists of names for the splits.

JPEGImages/*.png|jpg    SegmentationClass/*.png    SegmentationObject/*.png (with instance maps)
ImageSets/Segmentation/train.txt val.txt test.txt    labelmap.txt
"""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from isdm.data.dataset import IGNORE_INDEX, DatasetInfo
from isdm.data.exporting.pairs import SHORT_NAMES, Decoded, Export, Item, put_image
from isdm.data.image_files import write_png
from isdm.data.label_tables import voc_colour
from isdm.errors import DataError
from isdm.files import write_text

ABOUT = """\
Pascal VOC: SegmentationClass/ holds the class ids as palette pictures (255: void), SegmentationObject/ the number
of the object at each pixel, where the dataset tells objects apart. labelmap.txt names the classes in the order of
their ids, with their colours. Pictures in JPEGImages/ keep the format they had, PNG as a rule: JPEG would lose
detail.
"""

MOST_OBJECTS = IGNORE_INDEX - 1
VOC_COLOURS = np.array([voc_colour(index) for index in range(256)], np.uint8)


def write(export: Export, folder: Path) -> list[str]:
    """Write all splits; gives what VOC cannot say, one sentence each."""
    info, notes = export.info, []
    _check_names(export)
    palette = VOC_COLOURS.copy()
    own = np.array([entry.colour for entry in info.classes], np.uint8)
    if len({*map(tuple, own.tolist()), tuple(palette[IGNORE_INDEX].tolist())}) > info.num_classes:
        palette[: info.num_classes] = own
    else:  # readers that go by colour must be able to tell the classes apart
        notes.append("two classes have one colour; VOC's own colours were taken instead")
    lines = [f"{entry.name}:{','.join(map(str, palette[entry.id]))}::" for entry in info.classes]
    write_text(folder / "labelmap.txt", "".join(f"{line}\n" for line in ["# label:color_rgb:parts:actions", *lines]))
    crowded = 0
    for split, items in export.items.items():
        crowded += sum(left_out for _, left_out in export.each(split, partial(_put, info, folder, palette)))
        names = "".join(f"{item.name}\n" for item in items)
        write_text(folder / "ImageSets" / "Segmentation" / f"{SHORT_NAMES[split]}.txt", names)
    if crowded:
        notes.append(f"{crowded} instance maps have more than the {MOST_OBJECTS} objects of VOC and were left out")
    return notes


def _put(info: DatasetInfo, folder: Path, palette: NDArray[np.uint8], item: Item, decoded: Decoded) -> bool:
    """Write a pair; gives whether its instance map had to be left out."""
    put_image(item, decoded.image, info, folder / "JPEGImages")
    write_png(folder / "SegmentationClass" / f"{item.name}.png", _palette_picture(decoded.mask, palette))
    objects = _object_numbers(decoded, info)
    if objects is not None:
        picture = _palette_picture(objects, VOC_COLOURS)
        write_png(folder / "SegmentationObject" / f"{item.name}.png", picture)
    return objects is None and decoded.instances is not None


def _check_names(export: Export) -> None:
    for entry in export.info.classes:
        if ":" in entry.name or entry.name.startswith("#"):
            raise DataError(
                f"{export.dataset.folder / 'dataset.json'}: class {entry.name!r} cannot stand in VOC's labelmap.txt, "
                f"where ':' ends a name and '#' begins a remark; rename it there."
            )


def _object_numbers(decoded: Decoded, info: DatasetInfo) -> NDArray[np.uint8] | None:
    """Objects numbered 1, 2, … within a picture (H, W), 0 background, 255 void; None where that cannot be."""
    if decoded.instances is None:
        return None
    mask = decoded.mask
    foreground = (mask > 0) & (mask != info.ignore_index)
    pairs = decoded.instances[foreground].astype(np.int64) * 256 + mask[foreground]
    found, order = np.unique(pairs, return_inverse=True)
    if len(found) > MOST_OBJECTS:
        return None
    numbers = np.where(mask == info.ignore_index, IGNORE_INDEX, 0).astype(np.uint8)
    numbers[foreground] = order + 1
    return numbers


def _palette_picture(ids: NDArray[np.uint8], palette: NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(ids)
    picture.putpalette(palette.ravel().tolist())
    return picture
