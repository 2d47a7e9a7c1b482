"""Mask files decoded as they are, before anybody says what their pixels mean."""

from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from isdm.data.dataset import MAX_CLASSES
from isdm.data.image_files import WIDE_MODES, opened_image
from isdm.data.image_opening import DAMAGE, MOST_PIXELS, pages, refused_by_name, undecoded_image
from isdm.errors import DataError

Kind = Literal["grey", "palette", "wide", "colour", "planes"]
LARGEST_VALUE = 2**16 - 1


class RawMask(NamedTuple):
    """Pixels of a mask file."""

    kind: Kind
    """What the file holds; `wide` are grey values of more than 8 bits."""
    values: NDArray[np.uint8 | np.uint16]
    """(H, W) grey values or palette indices, uint16 where wide; (H, W, 3) where really in colour."""
    alpha: NDArray[np.uint8] | None = None
    """(H, W), where the file has transparency."""
    palette: NDArray[np.uint8] | None = None
    """(256, 3) colours of the indices."""


def read_values(path: Path) -> NDArray[np.uint8]:
    """Decode a mask file of any mode as grey values (H, W), or (H, W, 3) where it is really in colour.

    A palette mask gives its indices; transparency is left out.

    Raises:
        DataError: the file cannot be read, or has values that 8 bits do not hold.
    """
    raw = read_raw(path)
    if raw.values.max() > MAX_CLASSES:
        raise DataError(
            f"{path} has 16 bits and values up to {raw.values.max()}; class ids go up to {MAX_CLASSES}. Save it "
            f"with 8 bits."
        )
    return raw.values.astype(np.uint8, copy=False)


def read_raw(path: Path) -> RawMask:
    """Decode a mask file with one picture, or a NumPy file of one plane.

    Raises:
        DataError: the file cannot be read, or holds fractions or numbers beyond 16 bits.
    """
    if path.suffix.lower() == ".npy":
        array = read_array(path)
        if array.dtype in (np.bool_, np.uint8) and array.ndim == 2:
            return RawMask("grey", np.array(array, np.uint8))
        return RawMask("wide", _whole(array, path))
    with opened_image(path) as mask:
        if mask.mode in (*WIDE_MODES, "F"):
            return RawMask("wide", _whole(np.asarray(mask), path))
        if mask.mode in ("P", "PA"):
            return _palette_mask(mask)
        if mask.mode in ("1", "L", "LA"):
            return _grey_mask(mask)
        return _colour_mask(mask, path)


def _palette_mask(mask: Image.Image) -> RawMask:
    values = np.asarray(mask)
    if mask.mode == "PA":
        return RawMask("palette", values[:, :, 0], values[:, :, 1], _palette(mask))
    return RawMask("palette", values, _palette_alpha(mask, values), _palette(mask))


def _grey_mask(mask: Image.Image) -> RawMask:
    if mask.mode == "LA":
        both = np.asarray(mask)
        return RawMask("grey", both[:, :, 0], both[:, :, 1])
    grey = np.asarray(mask.convert("L"))  # black and white becomes 0 and 255
    return RawMask("grey", grey, _colour_key_alpha(mask, grey[:, :, None]))


def _colour_mask(mask: Image.Image, path: Path) -> RawMask:
    with refused_by_name(path):
        values = np.asarray(mask if mask.mode in ("RGB", "RGBA") else mask.convert("RGB"))
    colours = values[:, :, :3]
    alpha = values[:, :, 3] if values.shape[2] == 4 else _colour_key_alpha(mask, colours)
    grey = colours[:, :, 0]
    if all(np.array_equal(grey, colours[:, :, channel]) for channel in (1, 2)):
        return RawMask("grey", np.ascontiguousarray(grey), alpha)
    return RawMask("colour", colours, alpha)


def holds_planes(path: Path) -> bool:
    """Whether a file has several planes by its form: a NumPy array (H, W, C), or a TIFF of several pages.

    Raises:
        DataError: the file's header cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return read_array(path).ndim == 3
    if suffix not in (".tif", ".tiff"):
        return False
    with undecoded_image(path) as image:
        return len(pages(image, path)) > 1


def read_array(path: Path) -> NDArray[Any]:
    """Map a NumPy file of numbers (H, W) or (H, W, C) into memory.

    Raises:
        DataError: the file is damaged, too large, or holds something else.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path} is missing.") from None
    except (*DAMAGE, TokenError) as error:  # NumPy parses a header as Python
        raise DataError(f"{path} cannot be read as a NumPy array ({error}); replace or remove it.") from None
    if not isinstance(array, np.ndarray) or array.ndim not in (2, 3) or array.dtype.kind not in "buif":
        raise DataError(f"{path} must hold one array of numbers (H, W) or (H, W, C); save the mask so.")
    if array.size == 0 or array.shape[0] * array.shape[1] > MOST_PIXELS:
        raise DataError(f"{path} holds {array.shape}; masks have from 1 to {MOST_PIXELS:,} pixels: save it so.")
    return array


def _whole(values: NDArray[Any], path: Path) -> NDArray[np.uint16]:
    """Numbers of any type as uint16, which must hold all of them."""
    if values.ndim != 2:
        raise DataError(f"{path} holds {values.shape[-1]} planes; read it with --masks one-hot.")
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > LARGEST_VALUE:
        raise DataError(
            f"{path} has values from {values.min()} to {values.max()}; masks hold 0 to {LARGEST_VALUE}: save it with "
            f"8 or 16 bits."
        )
    whole = values.astype(np.uint16)
    odd = int((whole != values).sum())
    if odd:
        raise DataError(f"{path} holds fractions in {odd:,} pixels; masks hold whole values: save it with 8 bits.")
    return whole


def _palette(mask: Image.Image) -> NDArray[np.uint8]:
    colours = np.array(mask.getpalette("RGB") or [], np.uint8).reshape(-1, 3)[:256]
    return np.vstack([colours, np.zeros((256 - len(colours), 3), np.uint8)])


def _palette_alpha(mask: Image.Image, indices: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    transparency = mask.info.get("transparency")
    if transparency is None:
        return None
    of_index = np.full(256, 255, np.uint8)
    if isinstance(transparency, bytes):
        of_index[: len(transparency)] = np.frombuffer(transparency[:256], np.uint8)
    elif isinstance(transparency, int) and 0 <= transparency < 256:
        of_index[transparency] = 0
    alpha: NDArray[np.uint8] = of_index[indices]
    return alpha


def _colour_key_alpha(mask: Image.Image, values: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Alpha of a file that calls one colour transparent; `values` is (H, W, 1 or 3)."""
    key = mask.info.get("transparency")
    if not isinstance(key, int | tuple) or mask.mode not in ("L", "RGB"):
        return None
    return np.where((values == np.array(key)).all(axis=2), 0, 255).astype(np.uint8)
