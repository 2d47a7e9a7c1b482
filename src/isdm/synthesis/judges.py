"""Cross-fitted judges: segmenters trained on parts of the real training set, none of which judges its own images."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from isdm.config import SelectConfig
from isdm.data.image_files import ImageArray
from isdm.errors import ModelError
from isdm.files import write_with
from isdm.hardware import select_device, select_dtype
from isdm.models.segmenters import Segmenter, build_segmenter
from isdm.models.state_files import UnreadableStateError, load_weights
from isdm.training.segmentation import LabelledImages, predict_probabilities, train_segmenter

Probabilities = NDArray[np.float32]


@dataclass(frozen=True)
class Judge:
    """A segmenter and the groups of real images that it has seen."""

    network: Segmenter
    groups: frozenset[str]
    dtype: torch.dtype


@dataclass(frozen=True)
class Reading:
    """What the judges see in some images."""

    probabilities: Probabilities
    """(N, K, H, W) mean over the judges of each image."""
    num_unseen: NDArray[np.int64]
    """(N,) judges of each image that saw none of its sources; 0 where all did, and those that saw least judged."""


def folds_of(groups: Sequence[str], sizes: Sequence[int], num_folds: int, seed: int) -> dict[str, int]:
    """Spread groups over folds, so that each has about as much.

    Args:
        groups: (N,) group of each image.
        sizes: (N,) what is to be spread evenly, such as 1 and more for images with foreground.
        num_folds: number of folds.
        seed: of the order among groups of one size.
    """
    names = sorted(set(groups))
    totals = dict.fromkeys(names, 0)
    for name, size in zip(groups, sizes, strict=True):
        totals[name] += size
    order = np.random.default_rng((seed, 0xF01D)).permutation(len(names))
    filled = [0] * num_folds
    fold: dict[str, int] = {}
    for name in sorted((names[i] for i in order), key=lambda name: -totals[name]):  # stable: seeded among equals
        fold[name] = int(np.argmin(filled))
        filled[fold[name]] += totals[name]
    return fold


def parts_of(
    config: SelectConfig, training: LabelledImages, groups: Sequence[str]
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """For each fold the images that its judges learn from, and those that they do not see."""
    has_foreground = [int((mask != 0).any()) for mask in training.masks]
    fold = folds_of(groups, [1 + 4 * x for x in has_foreground], config.folds, config.seed)
    number = np.array([fold[group] for group in groups])
    return [(np.flatnonzero(number != k), np.flatnonzero(number == k)) for k in range(config.folds)]


def train_judges(
    config: SelectConfig,
    training: LabelledImages,
    groups: Sequence[str],
    num_classes: int,
    folder: Path,
    on_step: Callable[[], None],
) -> tuple[list[Judge], list[float]]:
    """Train one segmenter of each architecture for each fold, on the other folds.

    Finished ones are kept in `folder`, so a killed run does not train them again.

    Returns:
        The judges, and the mean foreground IoU of each on its own fold.
    """
    device = select_device(config.device)
    dtype = select_dtype(config.precision, device)
    judges, scores = [], []
    for k, (seen, unseen) in enumerate(parts_of(config, training, groups)):
        num_steps = judge_steps(config, len(seen))
        for place, architecture in enumerate(config.architectures):
            file = folder / f"{architecture}-{k}.safetensors"
            network = build_segmenter(architecture, config.encoder, "none", num_classes).to(device)
            if file.is_file():
                scores.append(_load(network, file))
                for _ in range(num_steps):
                    on_step()
            else:
                trained = train_segmenter(
                    config,
                    architecture,
                    training.take(seen),
                    training.take(unseen),
                    num_classes,
                    num_steps=num_steps,
                    num_validations=1,
                    seed=config.seed + 1000 * k + place,
                    augment=config.augment,
                    keep="last",
                    on_step=on_step,
                )
                network = trained.network
                scores.append(trained.validation_iou)
                _save(network, trained.validation_iou, file)
            own = frozenset(groups[place] for place in seen.tolist())
            judges.append(Judge(network.eval(), own, dtype))
    return judges, scores


_SCORE = "validation_iou"


def _save(network: Segmenter, score: float, file: Path) -> None:
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    write_with(file, lambda aside: save_file(state | {_SCORE: torch.tensor(score)}, aside))


def _load(network: Segmenter, file: Path) -> float:
    """Load what `_save` wrote; gives the score."""
    try:
        state = load_weights(file)
        score = float(state.pop(_SCORE))
        nn.Module.load_state_dict(network, state)
    except (UnreadableStateError, KeyError, RuntimeError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(
            f"{file} cannot be read as a judge ({reason}); remove it, and it is trained again."
        ) from None
    return score


def judge_steps(config: SelectConfig, num_images: int) -> int:
    """Optimiser steps of a judge that learns from so many images."""
    return config.epochs * -(-num_images // config.batch_size)


def read_images(judges: Sequence[Judge], images: ImageArray, sources: Sequence[Collection[str]]) -> Reading:
    """Let the judges segment images; each is judged by those that saw none of its sources.

    Where every judge saw one of them (a mask combined from several images), those that saw fewest judge.

    Args:
        judges: at least one.
        images: (N, H, W, C) uint8 or uint16.
        sources: (N,) groups of the real images that each stems from.
    """
    seen = np.array([[len(judge.groups & set(own)) for judge in judges] for own in sources])  # (N, J)
    chosen = seen == seen.min(axis=1, keepdims=True)
    total: Probabilities | None = None
    for column, judge in enumerate(judges):
        rows = np.flatnonzero(chosen[:, column])
        if not len(rows):
            continue
        part = predict_probabilities(judge.network, images[rows], judge.dtype)
        if total is None:
            total = np.zeros((len(images), *part.shape[1:]), np.float32)
        total[rows] += part
    assert total is not None
    mean = total / chosen.sum(axis=1)[:, None, None, None]
    return Reading(mean.astype(np.float32), (seen == 0).sum(axis=1))
