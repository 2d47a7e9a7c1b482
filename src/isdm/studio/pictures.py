"""Pictures as the page shows them: PNG files of 8 bits."""

from io import BytesIO

from PIL import Image
from torch import Tensor

from isdm.data.dataset import DatasetInfo
from isdm.data.image_files import ImageArray, MaskArray, as_shown
from isdm.data.overlays import overlay, small_image, small_mask
from isdm.data.transforms import from_model_range

SHOWN_PX = 480
"""Longer side of a picture with its mask."""


def png(image: ImageArray) -> bytes:
    """A picture (H, W, C) as a PNG file."""
    return _encoded(as_shown(image))


def preview(pred_xstart: Tensor) -> list[bytes]:
    """Predictions (N, C, H, W) in [-1, 1], as PNG files."""
    return [png(image) for image in from_model_range(pred_xstart.cpu(), 8)]


def outlined(image: ImageArray, mask: MaskArray, info: DatasetInfo) -> bytes:
    """A picture (H, W, C) with its mask laid over it, as a PNG file large enough for the page."""
    picture = small_image(image, SHOWN_PX)
    return _encoded(overlay(picture, small_mask(mask, picture.size), info))


def _encoded(picture: Image.Image) -> bytes:
    file = BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()
