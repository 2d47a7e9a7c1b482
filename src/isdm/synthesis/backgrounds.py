"""Real pictures without defects, to paint defects into: which there are, where to paint, what comes of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from isdm import provenance
from isdm.config import SampleConfig
from isdm.data.dataset import IGNORE_INDEX, DatasetInfo, Pair, SegmentationDataset
from isdm.data.fitting import fit_pair
from isdm.data.image_files import ImageArray, MaskArray, image_header, read_image
from isdm.data.layouts.source import image_files
from isdm.errors import ConfigError, DataError
from isdm.progress import say
from isdm.text import nearest

Region = tuple[slice, slice]
Alpha = NDArray[np.float32]


@dataclass(frozen=True)
class Background:
    """A real picture without defects."""

    name: str
    group: str
    image: ImageArray
    """(H, W, C)."""
    mask: MaskArray
    """(H, W) what the picture shows already."""
    window: Region
    """The part that the network sees."""


@dataclass(frozen=True)
class Backgrounds:
    """Where backgrounds come from: photographs of any size, or pairs of the training split."""

    dataset: SegmentationDataset
    pairs: Sequence[Pair]
    photographs: Sequence[Path]
    """Taken instead of the pairs where there are any."""
    window: tuple[int, int] | None
    """Height and width of the part of a photograph that the network sees."""
    size: tuple[int, int]
    """Height and width of the network's pictures."""
    seed: int

    def draw(self, index: int) -> Background:
        """The background of the `index`-th sample: each is taken once before any is taken again."""
        count = len(self.photographs or self.pairs)
        turn, place = divmod(index, count)
        chosen = int(np.random.default_rng((self.seed, 0xBAC6, turn)).permutation(count)[place])
        if not self.photographs:
            pair = self.pairs[chosen]
            image, mask = self.dataset.load(pair)
            return Background(pair.stem, pair.group, image, mask, (slice(0, mask.shape[0]), slice(0, mask.shape[1])))
        path, info = self.photographs[chosen], self.dataset.info
        image = read_image(path, info.channels, info.bit_depth)
        mask = np.zeros(image.shape[:2], np.uint8)
        window = random_window(
            image.shape[:2], self.window or largest_crop(image.shape[:2], self.size), self.seed, index
        )
        return Background(path.stem, path.stem, image, mask, window)


def largest_crop(shape: Sequence[int], size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the largest part of a picture of `shape` with the aspect ratio of `size`."""
    scale = min(shape[0] / size[0], shape[1] / size[1])
    return max(1, int(size[0] * scale)), max(1, int(size[1] * scale))


def random_window(shape: Sequence[int], window: tuple[int, int], seed: int, index: int) -> Region:
    """A place for the window in a picture of `shape` (H, W), drawn from (seed, index) alone."""
    rng = np.random.default_rng((seed, 0x31D0, index))
    top, left = (int(rng.integers(0, full - part + 1)) for full, part in zip(shape[:2], window, strict=True))
    return slice(top, top + window[0]), slice(left, left + window[1])


def window_of_import(dataset: SegmentationDataset) -> tuple[int, int] | None:
    """Height and width of the windows that the dataset's pictures were cut of; None where they are whole pictures."""
    record = provenance.read(dataset.folder)
    options = {} if record is None else record.config
    if options.get("fit") not in ("crop", "tile"):
        return None
    window = options.get("window") or (options.get("size") if options["fit"] == "tile" else None)
    return None if window is None else (int(window[0]), int(window[1]))


def find_backgrounds(
    config: SampleConfig, dataset: SegmentationDataset, masks: MaskArray, size: tuple[int, int]
) -> Backgrounds:
    """Find the pictures to paint defects into.

    Args:
        config: `photographs` and `window`; without photographs the training pairs without defects are taken, without
            a window that of the dataset's import, so that defects keep their size, where any photograph is as large.
        dataset: the real dataset.
        masks: (N, H, W) those of its training pairs.
        size: height and width of the network's pictures.

    Raises:
        DataError: there is no such picture.
        ConfigError: `window` does not fit into any photograph.
    """
    pairs = dataset.require("train")
    if config.photographs is None:
        ids = painted_ids(config, dataset.info)
        free = [pair for pair, mask in zip(pairs, masks, strict=True) if not is_painted(mask, ids).any()]
        if not free:
            raise DataError(
                f"{dataset.folder} has no training pair without a defect to paint into; import some with "
                f"--defect-free DIR, or give --photographs DIR."
            )
        return Backgrounds(dataset, free, (), None, size, config.seed)
    if not config.photographs.is_dir():
        raise DataError(
            f"photographs = {config.photographs} is not a folder; give one with pictures without defects."
        )
    files = image_files(config.photographs)
    window = config.window or window_of_import(dataset)
    if window is not None:
        height, width = window
        headers = [image_header(path) for path in files]
        large = [f for f, x in zip(files, headers, strict=True) if x.height >= height and x.width >= width]
        if files and not large and config.window is not None:
            raise ConfigError(
                f"window = {height}x{width} is larger than every picture in {config.photographs}; give a smaller one."
            )
        if not large:
            large, window = list(files), None
        if len(large) < len(files):
            say(f"{len(files) - len(large)} of {len(files)} photographs are smaller than {height}x{width}: left out.")
        files = large
    if not files:
        raise DataError(f"photographs = {config.photographs} holds no picture; put them there, or leave it out.")
    return Backgrounds(dataset, (), files, window, size, config.seed)


def painted_ids(config: SampleConfig, info: DatasetInfo) -> list[int]:
    """Ids of the classes that are painted into a background: all but the background class, unless told.

    Raises:
        ConfigError: an unknown class, or none is left to be a background.
    """
    ids = {entry.name: entry.id for entry in info.classes}
    if config.painted_classes is None:
        if not info.has_background:
            raise ConfigError(
                "This dataset has no background class; name what is painted with --set painted_classes=[…]."
            )
        return [entry.id for entry in info.classes[info.first_foreground :]]
    unknown = [name for name in config.painted_classes if name not in ids]
    if unknown:
        raise ConfigError(f"painted_classes has {unknown[0]!r}; the classes are {nearest(unknown[0], list(ids))}.")
    if len(set(config.painted_classes)) == len(ids):
        raise ConfigError("painted_classes names every class; one at least must be the background.")
    return [ids[name] for name in config.painted_classes]


def is_painted(mask: MaskArray, ids: Sequence[int]) -> NDArray[np.bool_]:
    """Where a mask (..., H, W) has one of the classes."""
    found: NDArray[np.bool_] = np.isin(mask, ids)
    return found


def seamed(defect: NDArray[np.bool_], seam_px: float) -> Alpha:
    """How much of each pixel is painted: (H, W) in [0, 1].

    1 on the defect and one pixel around it, then falling as a cosine to exactly 0 at `seam_px` further on.
    """
    if not defect.any():
        return np.zeros(defect.shape, np.float32)
    outside = ndimage.distance_transform_edt(~defect) - 1
    ramp = 0.5 + 0.5 * np.cos(np.pi * np.clip(outside / max(seam_px, 1e-6), 0, 1))
    return np.where(outside >= seam_px, 0.0, ramp).astype(np.float32)


def seen_by_network(background: Background, size: tuple[int, int]) -> tuple[ImageArray, MaskArray]:
    """The window of a background at the network's size."""
    image = np.ascontiguousarray(background.image[background.window])
    return fit_pair(image, np.ascontiguousarray(background.mask[background.window]), size, "stretch")


def with_defects(mask: MaskArray, drawn: MaskArray, ids: Sequence[int]) -> MaskArray:
    """Put the painted classes of a drawn mask over a background's; what is ignored there stays ignored."""
    return np.where(is_painted(drawn, ids) & (mask != IGNORE_INDEX), drawn, mask).astype(np.uint8)


def put_back(
    background: Background, seen: ImageArray, painted: ImageArray, mask: MaskArray, ids: Sequence[int], blend: float
) -> tuple[ImageArray, MaskArray]:
    """Put what was painted at the network's size into the picture at its own.

    What painting changed is enlarged and added, so the photograph keeps its grain; it is exactly the photograph
    beyond the seam.

    Args:
        background: the picture.
        seen: (h, w, C) its window as the network saw it.
        painted: (h, w, C) what the network made of it.
        mask: (h, w) the mask painted for.
        ids: the painted classes.
        blend: width of the seam as a share of the window's shorter side.

    Returns:
        The picture (H, W, C) and its mask (H, W).
    """
    if background.mask[background.window].shape == seen.shape[:2]:
        large_mask, change = mask, painted.astype(np.float32) - seen
    else:
        shape = background.mask[background.window].shape
        large_mask = _enlarged_mask(mask, ids, background.mask[background.window])
        change = _enlarged(painted.astype(np.float32) - seen, shape)
    alpha = seamed(is_painted(large_mask, ids), blend * min(large_mask.shape))[:, :, None]
    image, whole_mask = background.image.copy(), background.mask.copy()
    largest = np.iinfo(image.dtype).max
    changed = np.rint(image[background.window] + alpha * change).clip(0, largest).astype(image.dtype)
    image[background.window] = np.where(alpha > 0, changed, image[background.window])
    whole_mask[background.window] = large_mask
    return image, whole_mask


def _enlarged(change: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """Resize differences (h, w, C) to (H, W, C), bicubic."""
    planes = [
        np.asarray(Image.fromarray(change[:, :, channel]).resize((shape[1], shape[0]), Image.Resampling.BICUBIC))
        for channel in range(change.shape[2])
    ]
    return np.stack(planes, axis=2).astype(np.float32)


def _enlarged_mask(mask: MaskArray, ids: Sequence[int], below: MaskArray) -> MaskArray:
    """Put the painted classes of a mask (h, w), enlarged with smooth outlines, over a mask (H, W)."""
    height, width = below.shape
    result, most = below.copy(), np.full(below.shape, 0.5, np.float32)
    for class_id in ids:
        plane = Image.fromarray((mask == class_id).astype(np.float32))
        share: NDArray[Any] = np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR))
        better = (share >= most) & (below != IGNORE_INDEX)
        result[better], most[better] = class_id, share[better]
    return result
