"""Training masks moved about: objects shifted and added from other masks, then the whole flipped, turned and bent."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from isdm.data.dataset import IGNORE_INDEX
from isdm.data.image_files import MaskArray
from isdm.data.instances import InstanceArray, outside_id
from isdm.data.regions import EIGHT_NEIGHBOURS
from isdm.synthesis.masks.drawn import DrawnMask, MaskObject
from isdm.synthesis.masks.layout import Layout, whole

MOST_DEGREES = 15.0
MOST_SHIFT = 0.08
SCALES = (0.85, 1.15)
BEND = 0.02
"""Typical displacement of the elastic deformation, as a share of the picture's size."""
BEND_LENGTH = 0.1
"""Length over which it changes."""
MOVES, ADDS = 0.5, 0.4
"""How often an object is moved, and how often one is added."""
ATTEMPTS = 30

Coordinates = NDArray[np.float32]


def augmented(layout: Layout, source: int, rng: np.random.Generator) -> DrawnMask:
    """Make a mask from the training mask `source`.

    An object is moved to another place where it belongs (half of the time), objects of another training mask are
    added (two times in five), and the whole is flipped, turned by up to 15 degrees, scaled by 0.85 to 1.15, shifted
    by up to 8 % and bent, so that no class is lost and nothing cut that lay whole in the picture. A full scene
    without a background class is mirrored, and a window of it enlarged by up to 1.15.
    """
    mask = layout.masks[source].copy()
    instances = None if layout.instances is None else layout.instances[source].copy()
    sources = [source]
    if layout.has_background:
        if rng.random() < MOVES:
            _move_one(layout, layout.objects(source), mask, instances, rng)
        donor = int(rng.integers(len(layout.masks)))
        if rng.random() < ADDS and donor != source and _add_from(layout, donor, mask, instances, rng):
            sources.append(donor)
    if not layout.has_background:
        coordinates = zoomed_coordinates((mask.shape[0], mask.shape[1]), rng)
    else:
        coordinates = _plausible_coordinates(mask, rng)
    bent = _looked_up(mask, coordinates, outside_class(mask)).astype(np.uint8)
    if instances is None:
        return DrawnMask(bent, None, tuple(sources))
    ids = _looked_up(instances, coordinates, outside_id(instances, mask)).astype(np.uint16)
    return DrawnMask(bent, ids, tuple(sources))


def outside_class(mask: MaskArray) -> int:
    """What lies beyond the picture: background, or what is ignored where its frame mostly is (a padded picture)."""
    return IGNORE_INDEX if (_frame(mask) == IGNORE_INDEX).mean() > 0.5 else 0


def _frame(mask: MaskArray) -> MaskArray:
    frame: MaskArray = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return frame


def _plausible_coordinates(mask: MaskArray, rng: np.random.Generator) -> Coordinates:
    """Coordinates that neither lose a class nor cut what lies whole in the picture; merely flipped ones at worst."""
    shape = mask.shape[0], mask.shape[1]
    present, at_frame = set(np.unique(mask)), set(np.unique(_frame(mask)))
    for _ in range(ATTEMPTS):
        coordinates = bent_coordinates(shape, rng)
        bent = _looked_up(mask, coordinates, outside_class(mask))
        cut = set(np.unique(_frame(bent))) - at_frame - {0, IGNORE_INDEX}
        if set(np.unique(bent)) >= present - {IGNORE_INDEX} and not cut:
            return coordinates
    return zoomed_coordinates(shape, rng, most=1.0)


def zoomed_coordinates(shape: tuple[int, int], rng: np.random.Generator, most: float = SCALES[1]) -> Coordinates:
    """A window of the old mask, enlarged by up to `most` and mirrored half of the time: (2, H, W).

    For full scenes: what is upright stays upright, and nothing comes in from outside.
    """
    height, width = shape
    scale = rng.uniform(1.0, most)
    corner = rng.uniform(0, 1, 2) * (np.array(shape) - 1) * (1 - 1 / scale)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    if rng.random() < 0.5:
        columns = width - 1 - columns
    return np.stack([rows / scale + corner[0], columns / scale + corner[1]]).astype(np.float32)


def bent_coordinates(shape: tuple[int, int], rng: np.random.Generator) -> Coordinates:
    """Where each pixel of the new mask is looked up in the old one: (2, H, W)."""
    height, width = shape
    angle, scale = np.deg2rad(rng.uniform(-MOST_DEGREES, MOST_DEGREES)), rng.uniform(*SCALES)
    shift = rng.uniform(-MOST_SHIFT, MOST_SHIFT, 2) * shape
    centre = (np.array(shape) - 1) / 2
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    y, x = rows - centre[0] - shift[0], columns - centre[1] - shift[1]
    back_y = (np.cos(angle) * y - np.sin(angle) * x) / scale + centre[0]
    back_x = (np.sin(angle) * y + np.cos(angle) * x) / scale + centre[1]
    if rng.random() < 0.5:
        back_x = width - 1 - back_x
    size = min(shape)
    bend = [_smooth(shape, BEND_LENGTH * size, rng) * BEND * size for _ in range(2)]
    return np.stack([back_y + bend[0], back_x + bend[1]]).astype(np.float32)


def _smooth(shape: tuple[int, int], length: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Smooth noise (H, W) of unit variance that changes over `length` pixels (Simard et al. 2003)."""
    step = max(1, int(length / 4))  # smooth noise needs no more pixels than that
    coarse = [-(-side // step) for side in shape]
    noise = ndimage.gaussian_filter(rng.normal(size=coarse), length / step, mode="reflect")
    if step > 1:
        noise = ndimage.zoom(noise, step, order=1)[: shape[0], : shape[1]]
    smooth: NDArray[np.float64] = noise / max(float(noise.std()), 1e-9)
    return smooth


def _looked_up(values: NDArray[Any], coordinates: Coordinates, fill: int) -> NDArray[Any]:
    """Values (H, W) at the nearest whole coordinates; `fill` outside."""
    found: NDArray[Any] = ndimage.map_coordinates(values, coordinates, order=0, mode="grid-constant", cval=fill)
    return found


def _move_one(
    layout: Layout,
    found: list[MaskObject],
    mask: MaskArray,
    instances: InstanceArray | None,
    rng: np.random.Generator,
) -> None:
    """Move one object that lies whole in the picture to another place where it belongs, if there is one."""
    movable = [thing for thing in whole(found) if thing.class_id in layout.hosts]
    carriers = {layout.hosts[thing.class_id] for thing in found if thing.class_id in layout.hosts}
    movable = [thing for thing in movable if thing.class_id not in carriers]  # what carries others stays
    if not movable:
        return
    thing = movable[rng.integers(len(movable))]
    before = mask[thing.box].copy()
    mask[thing.box][thing.shape] = layout.hosts[thing.class_id]
    place = _free_place(layout, thing, mask, rng)
    if place is None:
        mask[thing.box] = before
        return
    if instances is not None:
        _fill_hole(thing, mask, instances)
    _put(thing, place, mask, instances, thing.instance)


def _add_from(
    layout: Layout, donor: int, mask: MaskArray, instances: InstanceArray | None, rng: np.random.Generator
) -> bool:
    """Add one object of the training mask `donor` where it belongs; gives whether a place was found."""
    found = [thing for thing in whole(layout.objects(donor)) if thing.class_id in layout.hosts]
    carriers = set(layout.hosts.values())
    found = [thing for thing in found if thing.class_id not in carriers]
    if not found:
        return False
    thing = found[rng.integers(len(found))]
    place = _free_place(layout, thing, mask, rng)
    if place is None:
        return False
    _put(thing, place, mask, instances, 0 if instances is None else _unused_id(instances))
    return True


def _unused_id(instances: InstanceArray) -> int:
    """An id that no object of a map has; the largest ones may be taken."""
    return int(np.setdiff1d(np.arange(np.iinfo(np.uint16).max + 1), instances)[0])


def _fill_hole(thing: MaskObject, mask: MaskArray, instances: InstanceArray) -> None:
    """Give the place that an object left to what surrounds it, or else to the background."""
    away = np.zeros(mask.shape, bool)
    away[thing.box] = thing.shape
    ring = ndimage.binary_dilation(away, EIGHT_NEIGHBOURS) & ~away & (mask == mask[thing.box][thing.shape][0])
    instances[away] = np.bincount(instances[ring]).argmax() if ring.any() else outside_id(instances, mask)


def _free_place(
    layout: Layout, thing: MaskObject, mask: MaskArray, rng: np.random.Generator
) -> tuple[int, int] | None:
    height, width = thing.shape.shape
    for _ in range(ATTEMPTS):
        top = int(rng.integers(0, mask.shape[0] - height + 1))
        left = int(rng.integers(0, mask.shape[1] - width + 1))
        if layout.belongs(mask, thing.class_id, thing.shape, top, left):
            return top, left
    return None


def _put(
    thing: MaskObject, place: tuple[int, int], mask: MaskArray, instances: InstanceArray | None, instance: int
) -> None:
    top, left = place
    box = slice(top, top + thing.shape.shape[0]), slice(left, left + thing.shape.shape[1])
    free = thing.shape & (mask[box] != IGNORE_INDEX)
    mask[box][free] = thing.class_id
    if instances is not None:
        instances[box][free] = instance
