"""COCO-Stuff: the published pixel maps of the COCO 2017 photographs.

    stuffthingmaps_trainval2017/train2017/000000000009.png …    images/train2017/000000000009.jpg …
    annotations/train2017/000000000009.png …                    or train2017/000000000009.jpg …

The folder of maps may also be called `stuffthingmaps`, or be missing: the archive unpacks to `train2017/` and
`val2017/`. A pixel is COCO's category id less one, 0 to 181; 255 has no label. Every pixel has a class, so there is
no background.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from isdm.config import DataConfig
from isdm.data.dataset import IGNORE_INDEX, Split
from isdm.data.image_files import MaskArray, read_mask
from isdm.data.layouts.source import Source, SourcePair, of_file
from isdm.data.pairs_on_disk import pairs_on_disk
from isdm.data.tree_files import is_file, unique_stems
from isdm.errors import DataError

OWN_FOLDERS = ("stuffthingmaps", "stuffthingmaps_trainval2017")
SHARED_FOLDERS = ("annotations", ".")
"""Other tasks have such folders too: there the maps must be named as COCO names its photographs."""
IMAGE_FOLDERS = ("images", ".")
SPLIT_NAMES: dict[str, Split] = {"train2017": "train", "val2017": "validation"}
IMAGE_SUFFIXES = (".jpg", ".jpeg")
DERIVED_ENDING = "_labelTrainIds"
"""mmsegmentation writes maps with other ids beside the published ones."""

_COCO_STEM = re.compile(r"\d{12}")

# labels.txt of the dataset, without its first line "0: unlabeled". Eleven of the first 91 have no annotations.
_LABELS = """
    person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, street sign,
    stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, hat, backpack,
    umbrella, shoe, eye glasses, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat,
    baseball glove, skateboard, surfboard, tennis racket, bottle, plate, wine glass, cup, fork, knife, spoon, bowl,
    banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed,
    mirror, dining table, window, desk, toilet, door, tv, laptop, mouse, remote, keyboard, cell phone, microwave,
    oven, toaster, sink, refrigerator, blender, book, clock, vase, scissors, teddy bear, hair drier, toothbrush,
    hair brush, banner, blanket, branch, bridge, building-other, bush, cabinet, cage, cardboard, carpet,
    ceiling-other, ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff, dirt, door-stuff,
    fence, floor-marble, floor-other, floor-stone, floor-tile, floor-wood, flower, fog, food-other, fruit,
    furniture-other, grass, gravel, ground-other, hill, house, leaves, light, mat, metal, mirror-stuff, moss,
    mountain, mud, napkin, net, paper, pavement, pillow, plant-other, plastic, platform, playingfield, railing,
    railroad, river, road, rock, roof, rug, salad, sand, sea, shelf, sky-other, skyscraper, snow, solid-other,
    stairs, stone, straw, structural-other, table, tent, textile-other, towel, tree, vegetable, wall-brick,
    wall-concrete, wall-other, wall-panel, wall-stone, wall-tile, wall-wood, water-other, waterdrops, window-blind,
    window-other, wood
"""
CLASS_NAMES = tuple(name.strip() for name in _LABELS.split(","))


class _Root(NamedTuple):
    """The maps and photographs of one split."""

    maps: Path
    images: Path
    split: Split


def recognises(source: Path) -> bool:
    """A folder with COCO's split folders of maps and of photographs."""
    return bool(_roots(source))


def read(source: Path, config: DataConfig) -> Source:
    """Pair photographs and maps of the same names."""
    roots = _roots(source)
    if not roots:
        raise DataError(
            f"{source} holds no COCO-Stuff; expected maps in {OWN_FOLDERS[0]}/train2017/*.png and the photographs in "
            f"images/train2017/*.jpg, or the same for val2017."
        )
    found: list[tuple[Path, Path, Split]] = []
    problems: list[str] = []
    for root in roots:
        maps = {path.stem: path for path in _files(root.maps, (".png",)) if not path.stem.endswith(DERIVED_ENDING)}
        images = {path.stem: path for path in _files(root.images, IMAGE_SUFFIXES)}
        for stem in sorted(maps.keys() | images.keys()):
            if stem not in maps:
                problems.append(f"{images[stem]} has no map; expected {root.maps / (stem + '.png')}")
            elif stem not in images:
                problems.append(f"{maps[stem]} has no photograph; expected {root.images / (stem + '.jpg')}")
            else:
                lost = [path for path in (images[stem], maps[stem]) if not _inside(path, source)]
                problems += [f"{path} leads out of {source}; put the file itself there" for path in lost]
                found += [] if lost else [(images[stem], maps[stem], root.split)]
    stems = unique_stems([image for image, _, _ in found], source)
    read = of_file(load_map)
    pairs = pairs_on_disk(
        SourcePair.of(image, path, stem, read, split=split)
        for (image, path, split), stem in zip(found, stems, strict=True)
    )
    note = f"map values are COCO-Stuff's category ids less one, 0 to {len(CLASS_NAMES) - 1}; 255 is ignored"
    notes = [note, *(f"{name} was left out: its maps have no photographs" for name in _halves(source, roots))]
    return Source(CLASS_NAMES, pairs, notes=notes, problems=problems, has_background=False)


def load_map(path: Path) -> MaskArray:
    """Decode a map (H, W); its values are the class ids."""
    values = read_mask(path)
    wrong = values[(values >= len(CLASS_NAMES)) & (values != IGNORE_INDEX)]
    if len(wrong):
        raise DataError(
            f"{path} holds the value {wrong[0]}; COCO-Stuff's maps hold 0 to {len(CLASS_NAMES) - 1} and 255 (no "
            f"label): use the maps as published."
        )
    return values


def _roots(source: Path) -> list[_Root]:
    """The splits that have maps and photographs."""
    roots = []
    for name, split in SPLIT_NAMES.items():
        maps = next(_map_folders(source, name), None)
        photographs = next(
            (source / place / name for place in IMAGE_FOLDERS if any(_files(source / place / name, IMAGE_SUFFIXES))),
            None,
        )
        if maps is not None and photographs is not None:
            roots.append(_Root(maps, photographs, split))
    return roots


def _halves(source: Path, roots: Sequence[_Root]) -> list[str]:
    """Splits that have a folder of maps but are not among `roots`."""
    whole = {root.maps.name for root in roots}
    return [name for name in SPLIT_NAMES if name not in whole and any(_map_folders(source, name))]


def _map_folders(source: Path, name: str) -> Iterator[Path]:
    for place in (*OWN_FOLDERS, *SHARED_FOLDERS):
        maps = _files(source / place / name, (".png",))
        if any(place in OWN_FOLDERS or _COCO_STEM.fullmatch(path.stem) for path in maps):
            yield source / place / name


def _files(folder: Path, suffixes: Sequence[str]) -> Iterator[Path]:
    """Files with one of the suffixes, in no order; none where the folder cannot be read."""
    try:
        for path in folder.iterdir():
            if path.suffix.lower() in suffixes and not path.name.startswith(".") and is_file(path):
                yield path
    except OSError:
        return


def _inside(path: Path, source: Path) -> bool:
    return path.resolve().is_relative_to(source.resolve())
