"""What the benchmarks of quality share: fruit to train on, a fixed judge, kernel distance, drawing in pieces."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn

from isdm.config import DataConfig, SegmenterConfig, TrainConfig, build, with_preset
from isdm.data.builtin import write_fruit_source
from isdm.data.dataset import SegmentationDataset, Split
from isdm.data.decoding import load_arrays
from isdm.data.image_files import ImageArray, MaskArray
from isdm.data.importing import import_dataset
from isdm.metrics.segmentation import Counts, count_pixels, mean_foreground_iou
from isdm.models.segmenters import PACKAGED_ENCODER, Segmenter, build_segmenter
from isdm.pipeline import SemanticDiffusionPipeline
from isdm.progress import progress
from isdm.training.diffusion import train
from isdm.training.segmentation import LabelledImages, predict_masks, train_segmenter

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

FEATURES = "EfficientNet-Lite0 (ImageNet), global average of its last feature map over 3, images at 96x96"
FEATURE_SIZE = 3.0
"""Root mean square of the features of real fruit: divided by it, both terms of the kernel weigh about alike."""
JUDGE = "unetplusplus"
JUDGE_EPOCHS = 12
DRAWN_AT_ONCE = 32

SMALL_MODEL: dict[str, Any] = {
    "preset": "tiny",
    "unet": {"base_channels": 24, "channel_multipliers": [1, 1, 2, 4], "norm_groups": 8, "spade_channels": 32},
    "batch_size": 8,
    "learning_rate": 1.5e-3,
    "learning_rate_decay": "cosine",
    "warmup_steps": 50,
    "max_gradient_norm": 1.0,
    "ema_decay": 0.99,
    "drop_rate": 0.1,
}
"""Options of a model that a CPU core trains in minutes at 32x32; `steps` are to be added."""


def fruit_dataset(folder: Path, size_px: int = 32, num_fruits: int = 120, num_views: int = 4) -> SegmentationDataset:
    """The built-in fruit, made once; about half of it trains, and two fifths (`test`) are the real reference."""
    folder = folder / f"{num_fruits}x{num_views}-fruit-{size_px}px"
    if not (folder / "dataset" / "dataset.json").is_file():
        source = folder / "source"
        write_fruit_source(source, num_fruits=num_fruits, num_views=num_views, size_px=size_px, seed=0)
        config = DataConfig(source=source, layout="folders", group_by=r"(fruit\d+)", test=0.4, validation=0.15)
        import_dataset(config, folder / "dataset")
    return SegmentationDataset(folder / "dataset")


@dataclass(frozen=True)
class Real:
    """The decoded pairs of a split, and the fruit that each shows."""

    images: ImageArray
    masks: MaskArray
    groups: Indices
    """(N,) number of the fruit."""

    @staticmethod
    def read(dataset: SegmentationDataset, split: Split) -> "Real":
        pairs = dataset.require(split)
        names = [pair.group for pair in pairs]
        return Real(*load_arrays(dataset, pairs), np.unique(names, return_inverse=True)[1].astype(np.int64))

    def choose(self, count: int, seed: int) -> Indices:
        """Which pairs' masks to paint for: seeded permutations, one after another."""
        rng = np.random.default_rng(seed)
        rounds = [rng.permutation(len(self.masks)) for _ in range(-(-count // len(self.masks)))]
        return np.concatenate(rounds)[:count].astype(np.int64)


@dataclass(frozen=True)
class Judge:
    """A segmenter trained once on the real training images; it judges every model alike."""

    network: Segmenter
    num_classes: int
    name: str
    """Tells judges of other images or another training apart."""

    def counts(self, images: ImageArray, masks: MaskArray) -> Counts:
        """Pixels (N, K, 3) of what the judge sees in `images` against `masks`."""
        return count_pixels(predict_masks(self.network, images), masks, self.num_classes)


def trained_judge(dataset: SegmentationDataset, folder: Path, epochs: int = JUDGE_EPOCHS) -> Judge:
    """The judge, in float32; its weights are kept in `folder`."""
    config = SegmenterConfig(
        encoder="resnet18",
        encoder_weights="none",
        loss="dice+crossentropy",
        learning_rate=1e-3,
        batch_size=8,
        precision="float32",
    )
    num_classes = dataset.info.num_classes
    name = f"judge-{dataset.fingerprint('train')[:8]}-{epochs}epochs"
    path = folder / f"{name}.safetensors"
    if path.is_file():
        network = build_segmenter(JUDGE, config.encoder, "none", num_classes)
        nn.Module.load_state_dict(network, load_file(path))
        return Judge(network.eval(), num_classes, name)
    training, validation = (
        LabelledImages(*load_arrays(dataset, dataset.require(split))) for split in ("train", "validation")
    )
    num_steps = epochs * -(-len(training) // config.batch_size)
    with progress("Training the judge", total=num_steps) as bar:
        trained = train_segmenter(
            config,
            JUDGE,
            training,
            validation,
            num_classes,
            num_steps=num_steps,
            num_validations=10,
            seed=0,
            augment=True,
            on_step=bar.advance,
        )
    network = trained.network.cpu()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)
    return Judge(network, num_classes, name)


def per_image_agreement(judge: Judge, images: ImageArray, masks: MaskArray) -> tuple[Floats, Counts]:
    """Foreground IoU (N,) of each image over all foreground classes together, and the counts (N, K, 3) behind it.

    NaN where the mask holds no foreground: there is nothing to agree with.
    """
    counts = judge.counts(images, masks)
    hits, false_positives, false_negatives = counts[:, 1:].sum(axis=1).astype(np.float64).T
    union = hits + false_positives + false_negatives
    with_foreground = hits + false_negatives > 0
    return np.where(with_foreground, hits / np.maximum(union, 1), np.nan), counts


def pooled_agreement(counts: Counts) -> float:
    """Mean foreground IoU on the pooled pixels of all images."""
    return mean_foreground_iou(counts)


@cache
def _extractor() -> nn.Module:
    encoder = build_segmenter("fpn", PACKAGED_ENCODER, "imagenet", 2).network.encoder
    assert isinstance(encoder, nn.Module)
    return encoder.eval()


@torch.no_grad()
def features(images: ImageArray) -> Floats:
    """Features (N, 320) of RGB images (N, H, W, 3) uint8."""
    parts = []
    for start in range(0, len(images), 64):
        batch = torch.from_numpy(images[start : start + 64]).permute(0, 3, 1, 2).float() / 255
        batch = F.interpolate(batch, size=(96, 96), mode="bilinear", align_corners=False)
        parts.append(_extractor()((batch - 0.5) / 0.5)[-1].mean(dim=(2, 3)))
    of_images: Floats = torch.cat(parts).double().div(FEATURE_SIZE).numpy()
    return of_images


def cubic_kernel(x: Floats, y: Floats) -> Floats:
    """(x·y/d + 1)^3 (N, M) for features (N, d) and (M, d), as in Bińkowski et al. 2018."""
    return np.asarray((x @ y.T / x.shape[1] + 1.0) ** 3)


def mean_of_different(kernel: Floats, times: Floats) -> Floats:
    """Mean kernel value (B,) over pairs of different images, where image n counts times[b, n] times.

    Leaving out an image's pairs with its own copies keeps the estimate unbiased under a bootstrap too.
    """
    weighted = ((times @ kernel) * times).sum(axis=1) - times**2 @ np.diag(kernel)
    return np.asarray(weighted / (times.sum(axis=1) ** 2 - (times**2).sum(axis=1)))


def mean_across(kernel: Floats, times_x: Floats, times_y: Floats) -> Floats:
    """Mean kernel value (B,) between two sets, each image counted as often as its set's times say."""
    return np.asarray(((times_x @ kernel) * times_y).sum(axis=1) / (times_x.sum(axis=1) * times_y.sum(axis=1)))


def squared_mmd(x: Floats, y: Floats, times_x: Floats, times_y: Floats) -> Floats:
    """Unbiased squared MMD (B,) between features (N, d) and (M, d), for B ways to count them."""
    of_x = mean_of_different(cubic_kernel(x, x), times_x)
    of_y = mean_of_different(cubic_kernel(y, y), times_y)
    return np.asarray(of_x + of_y - 2 * mean_across(cubic_kernel(x, y), times_x, times_y))


def kid(x: Floats, y: Floats) -> float:
    """Kernel distance: unbiased squared MMD under the cubic kernel between features (N, d) and (M, d)."""
    return float(squared_mmd(x, y, np.ones((1, len(x))), np.ones((1, len(y))))[0])


def bootstrap_times(groups: Indices, draws: int, seed: int) -> Floats:
    """How often each image (draws, N) is drawn when whole groups are drawn with replacement."""
    count = int(groups.max()) + 1
    rng = np.random.default_rng(seed)
    of_groups = rng.multinomial(count, np.full(count, 1 / count), size=draws)
    return of_groups[:, groups].astype(np.float64)


def kid_interval(
    x: Floats, y: Floats, groups_x: Indices, groups_y: Indices, draws: int = 1000
) -> tuple[float, float]:
    """The middle 95 % of the kernel distance under a bootstrap over groups of both sets."""
    times_x, times_y = bootstrap_times(groups_x, draws, seed=1), bootstrap_times(groups_y, draws, seed=2)
    low, high = np.quantile(squared_mmd(x, y, times_x, times_y), (0.025, 0.975))
    return float(low), float(high)


def kid_change(ours: Floats, others: Floats, real: Floats, times: Floats, times_real: Floats) -> dict[str, float]:
    """Change in the kernel distance to real images from `others` to `ours`, painted for the same masks.

    Its upper 95 % bound is over the ways (B, N) and (B, M) to count both; the real images' own part cancels.
    """

    def to_real(drawn: Floats) -> Floats:
        across = mean_across(cubic_kernel(drawn, real), times, times_real)
        return mean_of_different(cubic_kernel(drawn, drawn), times) - 2 * across

    changes = to_real(ours) - to_real(others)
    return {
        "value": kid(ours, real),
        "change": kid(ours, real) - kid(others, real),
        "upper_bound": float(np.quantile(changes, 0.95)),
        "standard_error": float(changes.std()),
    }


def spread_of_halves(real: Floats, halvings: int = 50) -> float:
    """Root mean square of the kernel distance between two halves of real images, over random halvings."""
    rng = np.random.default_rng(0)
    half = len(real) // 2
    orders = [rng.permutation(len(real)) for _ in range(halvings)]
    return float(np.sqrt(np.mean([kid(real[order[:half]], real[order[half:]]) ** 2 for order in orders])))


def train_or_load(
    options: Mapping[str, Any], dataset: SegmentationDataset, folder: Path
) -> SemanticDiffusionPipeline:
    """A model trained with `options` in `folder`; a finished one is loaded, an interrupted one goes on."""
    return train(build(TrainConfig, with_preset(options)), dataset, folder)


def draw(pipeline: SemanticDiffusionPipeline, masks: MaskArray, folder: Path, **options: Any) -> ImageArray:
    """Paint for masks (N, H, W), in pieces that are kept in `folder`; `options` are the pipeline's own."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = []
    with progress(f"Drawing {folder.name}", total=len(masks)) as bar:
        for start in range(0, len(masks), DRAWN_AT_ONCE):
            stop = min(start + DRAWN_AT_ONCE, len(masks))
            path = folder / f"{start:05d}-{stop:05d}.npz"
            if not path.is_file():
                painted = pipeline(masks[start:stop], sample_indices=range(start, stop), **options)
                unfinished = path.with_suffix(".part.npz")
                np.savez_compressed(unfinished, images=painted)
                unfinished.replace(path)
            with np.load(path) as kept:
                pieces.append(kept["images"])
            bar.advance(stop - start)
    return np.concatenate(pieces)
