"""Pictures as the page shows them: PNG files of 8 bits."""

from io import BytesIO

import numpy as np
from PIL import Image
from torch import Tensor

from isdm.data.dataset import DatasetInfo
from isdm.data.image_files import ImageArray, MaskArray, as_shown
from isdm.data.transforms import from_model_range

TINT = 0.35
"""Share of a class's colour over a picture; its outline has the whole colour."""


def png(image: ImageArray) -> bytes:
    """A picture (H, W, C) as a PNG file."""
    return _encoded(as_shown(image))


def preview(pred_xstart: Tensor) -> list[bytes]:
    """Predictions (N, C, H, W) in [-1, 1], as PNG files."""
    return [png(image) for image in from_model_range(pred_xstart.cpu(), 8)]


def outlined(image: ImageArray, mask: MaskArray, info: DatasetInfo) -> bytes:
    """A picture (H, W, C) with its classes tinted and outlined in their colours, as a PNG file."""
    shown = np.asarray(as_shown(image).convert("RGB")).astype(np.float32)
    padded = np.pad(mask, 1, mode="edge")
    around = [padded[1 + y : 1 + y + mask.shape[0], 1 + x : 1 + x + mask.shape[1]] for y, x in _NEIGHBOURS]
    edge = np.any([other != mask for other in around], axis=0)
    for entry in info.classes[info.first_foreground :]:
        where = mask == entry.id
        colour = np.array(entry.colour, np.float32)
        shown[where] = (1 - TINT) * shown[where] + TINT * colour
        shown[where & edge] = colour
    return _encoded(Image.fromarray(np.rint(shown).astype(np.uint8)))


_NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))


def _encoded(picture: Image.Image) -> bytes:
    file = BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()
