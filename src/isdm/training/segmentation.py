"""Training and using a downstream segmenter, as in the paper: Adam, Dice loss, best validation checkpoint."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from accelerate.utils.memory import should_reduce_batch_size
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.swa_utils import update_bn
from torchvision.transforms import v2
from torchvision.tv_tensors import Image as ImageTensor
from torchvision.tv_tensors import Mask as MaskTensor

from isdm.config import SegmenterConfig
from isdm.data.dataset import IGNORE_INDEX
from isdm.data.image_files import ImageArray, MaskArray
from isdm.errors import ModelError
from isdm.hardware import autocast, select_device, select_dtype, select_memory_format
from isdm.metrics.segmentation import count_pixels, mean_foreground_iou
from isdm.models.segmenters import Segmenter, build_segmenter
from isdm.training.checkpoint import snapshot

EVALUATION_BATCH = 32
MEASURED_IMAGES = 512
"""Training images at most over which precise batch normalisation averages."""
MOST_SKIPPED = 5
"""Steps in a row whose gradients may be no numbers, as single overflows in bfloat16 are."""

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class LabelledImages:
    """Decoded pairs: `images` (N, H, W, C) uint8 or uint16, and `masks` (N, H, W) uint8."""

    images: ImageArray
    masks: MaskArray

    def __len__(self) -> int:
        return len(self.masks)

    def take(self, indices: Indices) -> "LabelledImages":
        """Copies of some pairs, in the order of `indices` (B,)."""
        return LabelledImages(self.images[indices], self.masks[indices])


@dataclass(frozen=True)
class MixedImages:
    """Pairs chosen from several sources, part after part; they are copied only when a batch takes them."""

    parts: tuple[tuple[LabelledImages, Indices], ...]
    """Sources of images of one shape and type, and which of their pairs are chosen."""

    def __len__(self) -> int:
        return sum(len(chosen) for _, chosen in self.parts)

    def take(self, indices: Indices) -> LabelledImages:
        """Copies of some pairs, in the order of `indices` (B,)."""
        first = self.parts[0][0]
        images = np.empty((len(indices), *first.images.shape[1:]), first.images.dtype)
        masks = np.empty((len(indices), *first.masks.shape[1:]), first.masks.dtype)
        start = 0
        for source, chosen in self.parts:
            places = np.flatnonzero((indices >= start) & (indices < start + len(chosen)))
            rows = chosen[indices[places] - start]
            images[places], masks[places] = source.images[rows], source.masks[rows]
            start += len(chosen)
        return LabelledImages(images, masks)


@dataclass(frozen=True)
class TrainedSegmenter:
    """A trained network and how its training went."""

    network: Segmenter
    validation_iou: float
    """Mean foreground IoU on the validation images of the checkpoint that was kept."""
    num_steps: int


def train_segmenter(
    config: SegmenterConfig,
    architecture: str,
    training: LabelledImages | MixedImages,
    validation: LabelledImages,
    num_classes: int,
    *,
    num_steps: int,
    num_validations: int,
    seed: int,
    augment: bool = False,
    first_foreground: int = 1,
    pretraining: LabelledImages | MixedImages | None = None,
    keep: str = "best",
    on_step: Callable[[], None] = lambda: None,
) -> TrainedSegmenter:
    """Train a segmenter for a number of steps.

    Args:
        config: encoder, learning rate, batch size, hardware.
        architecture: see `build_segmenter`.
        training: what to learn from.
        validation: what the checkpoint is chosen on.
        num_classes: K.
        num_steps: optimiser steps.
        num_validations: how often, evenly spread, the validation IoU is measured; the best is kept.
        seed: of the initial weights, the order and the augmentation.
        augment: flip, turn, scale, shift and relight the training images at random.
        first_foreground: the first class that counts in the validation IoU.
        pretraining: pairs for the first steps, instead of those of `training`: a share of the steps as large as these
            pairs' share of all.
        keep: `best` on the validation images, or the `last` checkpoint.
        on_step: called after every step.

    Raises:
        ModelError: the gradients are no numbers, step after step, or memory does not suffice for a batch.
    """
    device = select_device(config.device)
    dtype = select_dtype(config.precision, device)
    torch.manual_seed(seed)
    network = build_segmenter(architecture, config.encoder, config.encoder_weights, num_classes)
    network = network.to(device).ordered(select_memory_format(device, dtype))
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True)
    loss_of = segmentation_loss(config)
    averages = list(network.buffers())
    averages_before = [buffer.clone() for buffer in averages]
    checks = {round((i + 1) * num_steps / num_validations) for i in range(num_validations)} | {num_steps}
    best_iou, best_weights, skipped = -1.0, None, 0
    curriculum = _curriculum(pretraining, training, num_steps, config.batch_size, seed)
    for step, (pairs, indices) in enumerate(curriculum, start=1):
        network.train()
        images, masks = _batch(pairs, indices, device)
        if augment:
            images, masks = _augmented(images, masks, seed, step)
        _add_gradients(network, loss_of, images, masks, dtype, config.batch_size)
        skipped = 0 if step_if_finite(optimizer) else skipped + 1
        if skipped:  # the pass has gone into the running means of the normalisation, and would stay there
            torch._foreach_copy_(averages, averages_before)
        else:
            torch._foreach_copy_(averages_before, averages)
        if skipped > MOST_SKIPPED:
            raise ModelError(
                f"Training {architecture}: the gradients of {skipped} steps in a row are no numbers, up to step "
                f"{step}. Lower --set learning_rate={config.learning_rate:g}, or use --set precision=float32."
            )
        on_step()
        if step in checks:
            if config.batch_norm == "precise":
                _measure_batch_norm(network, pairs, seed, device, dtype, config.batch_size)
                torch._foreach_copy_(averages_before, averages)
            iou = mean_foreground_iou(evaluate_segmenter(network, validation, num_classes, dtype), first_foreground)
            if keep == "last" or best_weights is None or not iou <= best_iou:  # where none is defined, the last
                best_iou, best_weights = iou, snapshot(network.state_dict())
    assert best_weights is not None
    network.load_state_dict(best_weights)
    return TrainedSegmenter(network.eval(), best_iou, num_steps)


def _add_gradients(
    network: Segmenter,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    images: Tensor,
    masks: Tensor,
    dtype: torch.dtype,
    batch_size: int,
) -> None:
    """Add up the gradients of a batch, whole: in parts, its normalisation and its Dice would be others.

    Raises:
        ModelError: memory does not suffice for it, or a single image is too few for it.
    """
    try:
        with autocast(images.device, dtype):
            logits = network(images)
        loss_of(logits.float(), masks).backward()  # type: ignore[no-untyped-call]
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ModelError(
            f"batch_size = {batch_size} is too few for {images.shape[2]}x{images.shape[3]} pixels: batch "
            f"normalisation needs more than one value. Give --set batch_size=2 or more."
        ) from None
    except RuntimeError as error:
        if not should_reduce_batch_size(error):
            raise
        fewer = f"a smaller --set batch_size than {batch_size} or " if batch_size > 2 else ""
        raise ModelError(
            f"Memory does not suffice to train a segmenter on {len(images)} images at once; give {fewer}a smaller "
            f"encoder. What is finished is kept."
        ) from None


def _measure_batch_norm(
    network: Segmenter,
    training: LabelledImages | MixedImages,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    batch_size: int,
) -> None:
    """Average the statistics of batch normalisation over training images, with the weights as they are now.

    Running averages follow weights that change fast from afar (Wu and Johnson 2021, section 3). Chance in the network
    (dropout) is not used up, so the training goes on as it would have without.
    """
    order = np.random.default_rng((seed, 0xB47C)).permutation(len(training))[:MEASURED_IMAGES]
    size = 2 * batch_size  # fits where a training step did
    whole = np.resize(order, (-(-len(order) // size), size))  # a single image has no variance on a map of one pixel
    batches = (_scaled(training.take(indices).images, device) for indices in whole)
    with torch.random.fork_rng([device] if device.type == "cuda" else []), autocast(device, dtype):
        update_bn(batches, network)


def step_if_finite(optimizer: torch.optim.Optimizer) -> bool:
    """Change the weights by their gradients, which are then gone; says whether they were numbers and did so."""
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    is_finite = bool(torch.nn.utils.get_total_norm(gradients).isfinite())
    if is_finite:
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return is_finite


def segmentation_loss(config: SegmenterConfig) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of logits (N, K, H, W) against masks (N, H, W): Dice over all classes, as in the paper.

    Where the encoder starts from scratch, Dice alone can settle on "all background" and has hardly a
    gradient there; cross-entropy beside it leads out.
    """
    dice: Callable[[Tensor, Tensor], Tensor] = smp.losses.DiceLoss(
        "multiclass", from_logits=True, ignore_index=IGNORE_INDEX
    )
    if config.loss == "dice":
        return dice

    def both(logits: Tensor, masks: Tensor) -> Tensor:
        total: Tensor = dice(logits, masks) + F.cross_entropy(logits, masks, ignore_index=IGNORE_INDEX)
        return total

    return both


class _Order:
    """An endless stream of image indices, one seeded permutation after another."""

    def __init__(self, num_images: int, seed: int) -> None:
        self._num_images = num_images
        self._rng = np.random.default_rng((seed, 0x0DE5))
        self._queue = np.zeros(0, np.int64)

    def take(self, count: int) -> Indices:
        while len(self._queue) < count:
            self._queue = np.concatenate([self._queue, self._rng.permutation(self._num_images)])
        taken, self._queue = self._queue[:count], self._queue[count:]
        return taken


def _curriculum(
    pretraining: LabelledImages | MixedImages | None,
    training: LabelledImages | MixedImages,
    num_steps: int,
    batch_size: int,
    seed: int,
) -> Iterator[tuple[LabelledImages | MixedImages, Indices]]:
    """Of each step the pairs that it learns from and which of them make its batch."""
    share = 0.0 if pretraining is None else len(pretraining) / (len(pretraining) + len(training))
    first_steps = round(share * num_steps)
    for pairs, steps in ((pretraining, first_steps), (training, num_steps - first_steps)):
        if pairs is not None:
            order = _Order(len(pairs), seed)
            for _ in range(steps):
                yield pairs, order.take(batch_size)


def _batch(pairs: LabelledImages | MixedImages, indices: Indices, device: torch.device) -> tuple[Tensor, Tensor]:
    taken = pairs.take(indices)
    return _scaled(taken.images, device), torch.from_numpy(taken.masks).to(device).long()


def _scaled(images: ImageArray, device: torch.device) -> Tensor:
    """Images (N, H, W, C) of whole numbers as (N, C, H, W) float32 in [0, 1]."""
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).to(device).float()
    scaled: Tensor = tensor / np.iinfo(images.dtype).max
    return scaled


_AUGMENTATION = v2.Compose(
    [
        v2.RandomHorizontalFlip(),
        v2.RandomVerticalFlip(),
        v2.RandomAffine(
            degrees=15,
            translate=(0.08, 0.08),
            scale=(0.85, 1.15),
            interpolation=v2.InterpolationMode.BILINEAR,
            fill={ImageTensor: 0, MaskTensor: IGNORE_INDEX},
        ),
        v2.ColorJitter(brightness=0.2, contrast=0.2),
    ]
)


def _augmented(images: Tensor, masks: Tensor, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """Augment each pair by chance that depends on (seed, step) alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed((seed * 1_000_003 + step) % 2**63)
        pairs = [
            _AUGMENTATION(ImageTensor(image), MaskTensor(mask)) for image, mask in zip(images, masks, strict=True)
        ]
    return torch.stack([image for image, _ in pairs]), torch.stack([mask for _, mask in pairs])


def predict_masks(network: Segmenter, images: ImageArray, dtype: torch.dtype = torch.float32) -> MaskArray:
    """Segment images (N, H, W, C) uint8 or uint16: (N, H, W) uint8 class ids."""
    parts = [logits.argmax(dim=1).to(torch.uint8).cpu().numpy() for logits in _predicted(network, images, dtype)]
    return np.concatenate(parts)


def predict_probabilities(
    network: Segmenter, images: ImageArray, dtype: torch.dtype = torch.float32
) -> NDArray[np.float32]:
    """Probability of each class in images (N, H, W, C) uint8 or uint16: (N, K, H, W)."""
    parts = [logits.float().softmax(dim=1).cpu().numpy() for logits in _predicted(network, images, dtype)]
    return np.concatenate(parts)


@torch.no_grad()
def _predicted(network: Segmenter, images: ImageArray, dtype: torch.dtype) -> Iterator[Tensor]:
    """Logits (B, K, H, W), some images at a time, fewer where memory does not suffice.

    Raises:
        ModelError: the logits are no numbers, or memory does not suffice for a single image.
    """
    network.eval()
    device = next(network.parameters()).device
    start, size = 0, EVALUATION_BATCH
    while start < len(images):
        batch = _scaled(images[start : start + size], device)
        try:
            with autocast(device, dtype):
                logits: Tensor = network(batch)
        except RuntimeError as error:
            if not should_reduce_batch_size(error):
                raise
            if size == 1:
                raise ModelError("Memory does not suffice to segment a single image; take smaller images.") from None
            size //= 2
            continue
        if not bool(logits.isfinite().all()):  # the largest of them would be some class all the same
            raise ModelError(
                "A segmenter's predictions are no numbers: its training has diverged. Give a lower --set "
                "learning_rate, or --set precision=float32. What is finished is kept."
            )
        yield logits
        start += size


def evaluate_segmenter(
    network: Segmenter, pairs: LabelledImages, num_classes: int, dtype: torch.dtype = torch.float32
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Count the pixels (N, K, 3) of a network's predictions against the masks."""
    return count_pixels(predict_masks(network, pairs.images, dtype), pairs.masks, num_classes)
