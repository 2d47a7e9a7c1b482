"""MVTec AD, and data of one's own in its form: one category of objects, or a folder of several.

    source/bottle/train/good/000.png       source/bottle/test/good/000.png
    source/bottle/test/contamination/000.png    source/bottle/ground_truth/contamination/000_mask.png

The folder's name is the defect's type and becomes the class of mask values above 127; "combined" is a type like
the others. With several categories the class is category_type, and names begin with the category. Pictures in
good/ are background. The split is not taken over: MVTec trains on good pictures alone, so its training part has
nothing to learn a defect from.
"""

from functools import partial
from pathlib import Path

import numpy as np

from isdm.config import DataConfig
from isdm.data.dataset import MAX_CLASSES
from isdm.data.defect_free import background_mask
from isdm.data.image_files import MaskArray, read_picture
from isdm.data.layouts.source import Source, SourcePair, image_files, of_file
from isdm.data.tree_files import all_different, in_either_case, is_folder, subfolders
from isdm.errors import DataError

TRAIN, TEST, MASKS, GOOD = "train", "test", "ground_truth", "good"
THRESHOLD = 127
BACKGROUND = "background"


def recognises(source: Path) -> bool:
    """A folder with train/good/, test/ and ground_truth/, or one with such folders."""
    return any(is_folder(category / TRAIN / GOOD) for category in _categories(source))


def read(source: Path, config: DataConfig) -> Source:
    """Pair the pictures with masks; good ones need none."""
    categories = _categories(source)
    if not categories:
        raise DataError(f"{source} needs {TEST}/ and {MASKS}/, itself or in a folder for each category.")
    several = categories != [source]
    types = {
        (category, folder.name): f"{category.name}_{folder.name}" if several else folder.name
        for category in categories
        for parent in (MASKS, TEST)
        for folder in subfolders(category / parent)
        if folder.name != GOOD
    }
    names = (BACKGROUND, *sorted(types.values()))
    if len(set(names)) < len(names) or not 2 <= len(names) <= MAX_CLASSES:
        raise DataError(
            f"{source} has {len(types)} types of defects; from 1 to {MAX_CLASSES - 1} can be used, of different "
            f"names other than {BACKGROUND!r}: rename or remove folders in {TEST}/ and {MASKS}/."
        )
    pairs: list[tuple[str, Path, Path | None, int]] = []
    problems: list[str] = []
    num_good = 0
    for category in categories:
        for image in (*image_files(category / TRAIN / GOOD), *image_files(category / TEST / GOOD)):
            pairs.append((_stem(category, image, several), image, None, 0))
            num_good += 1
        for (other, kind), name in types.items():
            if other == category:
                found, wrong = _defects(category, kind)
                problems += wrong
                pairs += [(_stem(category, image, several), image, mask, names.index(name)) for image, mask in found]
    stems = all_different([pair[0] for pair in pairs])
    readers = [of_file(partial(load_mask, class_id=class_id)) for class_id in range(len(names))]
    return Source(
        names,
        [
            SourcePair.of(image, mask, stem, readers[class_id])
            if mask is not None
            else SourcePair.of(image, image, stem, of_file(background_mask))
            for stem, (_, image, mask, class_id) in zip(stems, pairs, strict=True)
        ],
        notes=[
            f"mask values above {THRESHOLD} are the defect that the folder names"
            + (", with its category before it" if several else "")
            + ('; "combined" is a class of its own' if any(kind == "combined" for _, kind in types) else ""),
            f"the {num_good} pictures in {GOOD}/ are all background",
            f"the publisher's splits are not taken over, for its {TRAIN}/ holds {GOOD} pictures alone",
        ],
        problems=problems,
    )


def load_mask(path: Path, class_id: int) -> MaskArray:
    """Read a 0-to-255 mask (H, W) as the folder's class.

    Raises:
        DataError: the mask cannot be read, or has 16 bits.
    """
    values = read_picture(path)
    if values.dtype != np.uint8:
        raise DataError(f"{path} has 16 bits; a mask has 0 and 255: save it with 8 bits.")
    return np.where(values.max(axis=2) > THRESHOLD, class_id, 0).astype(np.uint8)


def _categories(source: Path) -> list[Path]:
    """The source where it is a category itself, otherwise the categories in it."""
    return [folder for folder in (source,) if _is_category(folder)] or [
        folder for folder in subfolders(source) if _is_category(folder)
    ]


def _is_category(folder: Path) -> bool:
    return is_folder(folder / TEST) and is_folder(folder / MASKS)


def _defects(category: Path, kind: str) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Pictures of a type of defect with their masks, and a line for each that lacks its partner."""
    found, problems, used = [], [], set()
    masks = category / MASKS / kind
    for image in image_files(category / TEST / kind):
        mask = in_either_case(masks / f"{image.stem}_mask.png")
        if mask in used:
            problems.append(f"{image} shares {mask} with another picture; give them different names")
        elif mask.is_file():
            used.add(mask)
            found.append((image, mask))
        else:
            problems.append(f"{image} has no mask; expected {mask}")
    problems += [
        f"{mask} has no picture in {category / TEST / kind}; add it there, or remove the mask"
        for mask in image_files(masks)
        if mask not in used
    ]
    return found, problems


def _stem(category: Path, image: Path, several: bool) -> str:
    """split_type_number, behind the category where there are several.

    One that is given alone may be in a folder of any name, even one for the time of the import.
    """
    kind, split = image.parent, image.parent.parent
    return "_".join([*([category.name] if several else []), split.name, kind.name, image.stem])
