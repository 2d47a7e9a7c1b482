"""Real images with objects of other real images cut out and pasted into them: the reference without a generator.

After Dwibedi et al. 2017 and Ghiasi et al. 2021: an object's pixels go to a place where its class belongs (as the
masks of the same real images say), mirrored half of the time, its border softened by a pixel.
"""

import numpy as np
from scipy import ndimage

from isdm.data.dataset import DatasetInfo
from isdm.data.image_files import ImageArray, MaskArray
from isdm.errors import DataError
from isdm.synthesis.masks.drawn import MaskObject
from isdm.synthesis.masks.layout import Layout, whole
from isdm.training.segmentation import Indices, LabelledImages

PLACES = 30
"""Places that are tried for an object."""
DONORS = 8
"""Objects that are tried for a picture; where none finds a place the picture stays as it is."""
SOFTNESS_PX = 0.7


def pasted_images(real: LabelledImages, chosen: Indices, count: int, info: DatasetInfo, seed: int) -> LabelledImages:
    """Make `count` images by pasting objects between the chosen real ones; the i-th depends on seed and i alone.

    Raises:
        DataError: full scenes without a background class, or no object lies whole in its picture.
    """
    if not info.has_background:
        raise DataError("Objects cannot be pasted into scenes without a background class; leave out the arm pasted.")
    layout = Layout.of(real.masks[chosen], None, info)
    donors = [(place, thing) for place in range(len(chosen)) for thing in _movable(layout, place)]
    if not donors:
        raise DataError(
            "No object of the real images lies whole in its picture and on one class, so none can be pasted; leave "
            "out the arm pasted."
        )
    images = np.empty((count, *real.images.shape[1:]), real.images.dtype)
    masks = np.empty((count, *real.masks.shape[1:]), real.masks.dtype)
    for index in range(count):
        rng = np.random.default_rng((seed, 0xC0B1, index))
        target = chosen[index % len(chosen)]
        images[index], masks[index] = real.images[target], real.masks[target]
        for _ in range(DONORS):
            place, thing = donors[rng.integers(len(donors))]
            if _paste(layout, real.images[chosen[place]], thing, images[index], masks[index], rng):
                break
    return LabelledImages(images, masks)


def _movable(layout: Layout, place: int) -> list[MaskObject]:
    """Objects that lie whole in their picture, on one class, and carry nothing themselves."""
    carriers = set(layout.hosts.values())
    found = whole(layout.objects(place))
    return [thing for thing in found if thing.class_id in layout.hosts and thing.class_id not in carriers]


def _paste(
    layout: Layout,
    source: ImageArray,
    thing: MaskObject,
    image: ImageArray,
    mask: MaskArray,
    rng: np.random.Generator,
) -> bool:
    """Paste an object into a picture, in place; gives whether a place was found."""
    shape, pixels = thing.shape, source[thing.box]
    if rng.random() < 0.5:
        shape, pixels = shape[:, ::-1], pixels[:, ::-1]
    height, width = shape.shape
    for _ in range(PLACES):
        top = int(rng.integers(0, mask.shape[0] - height + 1))
        left = int(rng.integers(0, mask.shape[1] - width + 1))
        if layout.belongs(mask, thing.class_id, shape, top, left):
            box = slice(top, top + height), slice(left, left + width)
            opacity = ndimage.gaussian_filter(shape.astype(np.float64), SOFTNESS_PX, mode="nearest")[..., None]
            mixed = opacity * pixels + (1 - opacity) * image[box]
            image[box] = mixed.round().astype(image.dtype)
            mask[box][shape] = thing.class_id
            return True
    return False
