"""New masks from an object model of the training masks.

How many objects of which classes lie together, how large and where, is taken from a training mask; the shape of each
object is a blend of two training objects of its class, by their signed distance functions, turned and bent; size and
place vary about what was. No network has to be trained, so it works with ten masks as with a thousand, and what
comes out has valid ids and no specks by construction. It needs objects that lie on something: for scenes in which
every pixel is some thing it is of no use, and refused.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from isdm.data.image_files import MaskArray
from isdm.data.instances import InstanceArray
from isdm.synthesis.masks.drawn import DrawnMask, Flags, MaskObject
from isdm.synthesis.masks.layout import Layout

GRID_PX = 48
"""Longer side of a shape while it is blended."""
SIZE_SPREAD = 0.15
"""Standard deviation of the logarithm of an object's area about that of its model."""
PLACE_SPREAD = 0.04
"""Standard deviation of its place, as a share of the picture's size."""
SPREADS_AFTER = 10
"""Attempts after which objects differ twice as much in size."""
TURN_DEGREES = 8.0
"""Standard deviation of how far the second shape is turned."""
WOBBLE = 0.12
"""Noise added to the blended distances, as a share of their greatest value; blending alone would smooth outlines."""
GRAIN_PX = 3.0
"""Length over which it changes, on the grid."""
DRAWN, ALIKE = 60, 4
"""Training masks whose objects are compared with the model, and how many of the most similar may be blended in."""
PLACES, MASKS = 20, 20
"""Places tried for an object, and masks until one is new."""

Distances = NDArray[np.float64]


def generated(layout: Layout, source: int, rng: np.random.Generator) -> DrawnMask:
    """Make a new mask, composed like the training mask `source`; one like an empty mask is empty.

    A mask whose IoU with some training mask reaches 0.9 under mirroring and shifts is drawn again, up to 20 times,
    its objects differing more and more in size: of a few pixels there are only so many shapes.
    """
    found = layout.objects(source)
    for attempt in range(MASKS):
        mask, instances = _compose(layout, found, SIZE_SPREAD * (1 + attempt / SPREADS_AFTER), rng)
        if not found or not layout.known.has_like(mask):
            break
    return DrawnMask(mask, instances if layout.instances is not None else None, ())


def _compose(
    layout: Layout, found: list[MaskObject], size_spread: float, rng: np.random.Generator
) -> tuple[MaskArray, InstanceArray]:
    size = layout.masks.shape[1:]
    mask, instances = np.zeros(size, np.uint8), np.zeros(size, np.uint16)
    mirrored = bool(rng.random() < 0.5)
    for number, model in enumerate(sorted(found, key=lambda thing: _depth(layout, thing.class_id)), start=1):
        shape = _new_shape(layout, model, size_spread, rng)
        if mirrored:
            shape = shape[:, ::-1]
        top, left = _place(layout, mask, model, shape, mirrored, rng)
        rows, columns = (slice(max(0, p), max(0, p + s)) for p, s in zip((top, left), shape.shape, strict=True))
        part = shape[max(0, -top) :, max(0, -left) :][: mask[rows].shape[0], : mask[:, columns].shape[1]]
        mask[rows, columns][part] = model.class_id
        instances[rows, columns][part] = number
    return mask, instances


def _depth(layout: Layout, class_id: int) -> int:
    """How many classes carry a class; carriers are drawn first."""
    depth, seen = 0, {class_id}
    while (host := layout.hosts.get(class_id, 0)) >= layout.first_foreground and host not in seen:
        class_id, depth = host, depth + 1
        seen.add(host)
    return depth


def _new_shape(layout: Layout, model: MaskObject, size_spread: float, rng: np.random.Generator) -> Flags:
    """A shape like that of the model, blended with another object of its class."""
    other = _other_object(layout, model, rng)
    filled = model.class_id in layout.hosts.values()  # what lay on it left holes
    target = model.area * float(np.exp(rng.normal(0, size_spread)))
    first, second = (_distances(ndimage.binary_fill_holes(x.shape) if filled else x.shape) for x in (model, other))
    if rng.random() < 0.5:
        second = second[:, ::-1]
    turn = rng.normal(0, TURN_DEGREES)
    second = ndimage.rotate(second, turn, reshape=False, order=1, mode="nearest")
    share = rng.uniform(0.2, 0.6)
    blend = (1 - share) * first + share * second
    noise = ndimage.gaussian_filter(rng.normal(size=blend.shape), GRAIN_PX)
    blend = blend + WOBBLE * blend.max() * noise / noise.std()
    wanted = (1 - share) * (first > 0).mean() + share * (second > 0).mean()
    whole = blend > np.quantile(blend, 1 - wanted)
    labels, count = ndimage.label(whole)
    if count > 1:  # blending may break a shape; its largest part is kept
        whole = labels == 1 + np.argmax(ndimage.sum(whole, labels, range(1, count + 1)))
    return _scaled_to(whole, target, _spans(layout, model))


def _other_object(layout: Layout, model: MaskObject, rng: np.random.Generator) -> MaskObject:
    """An object of the same class and a similar form from some training mask; the model itself where there is none.

    A crack blended with a blob would be neither, so of some objects drawn one of the most similar is taken.
    """
    drawn = [x for k in rng.integers(len(layout.masks), size=DRAWN) for x in layout.objects(int(k))]
    same = [x for x in drawn if x.class_id == model.class_id and x.touches == model.touches]
    same = same or [x for x in drawn if x.class_id == model.class_id] or [model]
    form = _form(model)
    same.sort(key=lambda x: float(np.abs(_form(x) - form).sum()))
    return same[rng.integers(min(ALIKE, len(same)))]


def _form(thing: MaskObject) -> Distances:
    """What makes objects similar: logarithms of area and aspect ratio, and how full the bounding box is."""
    height, width = thing.shape.shape
    return np.array([np.log(thing.area), 2 * np.log(height / width), 2 * thing.area / (height * width)])


def _distances(shape: Flags) -> Distances:
    """Signed distance from the outline of a shape (h, w), inside positive, on the square grid for blending."""
    padded = np.pad(shape, 1).astype(np.float32)
    zoomed = ndimage.zoom(padded, GRID_PX / max(padded.shape), order=1, grid_mode=True, mode="grid-constant")
    large = zoomed >= min(0.5, float(zoomed.max()))
    grid = np.zeros((2 * GRID_PX, 2 * GRID_PX), bool)
    top, left = (GRID_PX - side // 2 for side in large.shape)
    grid[top : top + large.shape[0], left : left + large.shape[1]] = large
    signed: Distances = ndimage.distance_transform_edt(grid) - ndimage.distance_transform_edt(~grid)
    return signed


def _spans(layout: Layout, model: MaskObject) -> tuple[int | None, int | None]:
    """Height and width that an object must have because its model reached from border to border."""
    top, bottom, left, right = model.touches
    height, width = layout.masks.shape[1:]
    return height if top and bottom else None, width if left and right else None


def _scaled_to(shape: Flags, area: float, spans: tuple[int | None, int | None]) -> Flags:
    """The shape within its bounding box, scaled so that it has about `area` pixels and one at least."""
    (box,) = ndimage.find_objects(shape.astype(np.int8)) or [(slice(0, 1), slice(0, 1))]
    shape = shape[box]
    fill = shape.mean()
    height, width = (side * np.sqrt(area / max(shape.sum(), 1)) for side in shape.shape)
    if spans[0] is not None:
        height, width = spans[0], area / fill / spans[0]
    if spans[1] is not None:
        height, width = area / fill / spans[1] if spans[0] is None else height, spans[1]
    size = [max(1, round(side)) for side in (height, width)]
    rows, columns = (np.linspace(0, n - 1, 4 * m) for n, m in zip(shape.shape, size, strict=True))
    fine = shape[np.rint(rows).astype(int)[:, None], np.rint(columns).astype(int)]
    share = fine.reshape(size[0], 4, size[1], 4).mean(axis=(1, 3))
    wanted = int(np.clip(round(area), 1, share.size))
    level = np.sort(share, axis=None)[-wanted]  # as many pixels as wanted, the best covered ones
    return np.asarray((share >= level) & (share > 0))


def _place(
    layout: Layout, mask: MaskArray, model: MaskObject, shape: Flags, mirrored: bool, rng: np.random.Generator
) -> tuple[int, int]:
    """Top and left of a new object: about where its model was, where it belongs; at a border if that was."""
    height, width = mask.shape
    row, column = model.centre
    touches = model.touches
    if mirrored:
        column, touches = width - 1 - column, (touches[0], touches[1], touches[3], touches[2])
    rows, columns = np.nonzero(shape)
    own = float(rows.mean()), float(columns.mean())
    place = 0, 0
    for attempt in range(PLACES):
        spread = PLACE_SPREAD * min(height, width) * (1 + attempt / 5)
        top, left = (round(c - o + rng.normal(0, spread)) for c, o in zip((row, column), own, strict=True))
        top = _against(top, shape.shape[0], height, touches[0], touches[1])
        left = _against(left, shape.shape[1], width, touches[2], touches[3])
        place = top, left
        inside = 0 <= top <= height - shape.shape[0] and 0 <= left <= width - shape.shape[1]
        if inside and layout.belongs(mask, model.class_id, shape, top, left):
            break
    return place


def _against(start: int, length: int, total: int, touches_first: bool, touches_last: bool) -> int:
    """Keep an object within the picture, and at the borders that its model reached."""
    if touches_first:
        return 0
    if touches_last:
        return total - length
    return int(np.clip(start, 0, max(0, total - length)))
