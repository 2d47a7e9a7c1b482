"""Rows of the study: which training images a configuration takes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isdm.config import Arm, Count, EvaluateConfig
from isdm.errors import ConfigError
from isdm.files import sha256_of_json


@dataclass(frozen=True)
class Row:
    """One configuration: R real and S synthetic training images, and what is done with them."""

    num_real_images: int
    num_synthetic_images: int
    arm: Arm = "plain"
    """`duplicated`: the S further images are real ones again, not synthetic ones."""
    synthetic_set: str = ""
    """Name of the synthetic dataset; empty where none is used."""

    def slug(self, settings: Mapping[str, Any]) -> str:
        """A readable folder name and a hash of everything that the row's figures depend on."""
        parts = [f"real-{self.num_real_images}"]
        if self.num_synthetic_images:
            parts.append(f"{self.synthetic_set or 'more'}-{self.num_synthetic_images}")
        parts.append(self.arm)
        return "_".join(parts) + "_" + sha256_of_json([asdict(self), settings])[:10]


def make_rows(
    config: EvaluateConfig, num_real: int, num_synthetic: Mapping[str, int], trained_on: Mapping[str, int]
) -> list[Row]:
    """All rows of the grid, each once, those with the fewest images first.

    Args:
        config: the study's options.
        num_real: real training images that there are.
        num_synthetic: pairs of each synthetic set.
        trained_on: real images that the generator of each synthetic set was trained on.

    Raises:
        ConfigError: a count exceeds what there is, or a row mixes synthetic images with fewer real ones than
            their generator saw.
    """
    real_counts = [_resolve(count, num_real, num_real, "real_counts") for count in config.real_counts]
    rows: set[Row] = set()
    for real, count, arm in product(real_counts, config.synthetic_counts, config.arms):
        if count == 0:
            if real > 0 and arm != "duplicated":
                rows.add(Row(real, 0, arm))
        elif arm == "duplicated":
            if real > 0:
                rows.add(Row(real, _resolve(count, num_real, max(num_synthetic.values()), "synthetic_counts"), arm))
        else:
            for name, available in num_synthetic.items():
                added = _resolve(count, num_real, available, "synthetic_counts")
                if 0 < real < trained_on.get(name, 0):
                    raise ConfigError(
                        f"A row with {real} real images cannot take {name!r}: its generator saw "
                        f"{trained_on[name]} real images. Train one on {real}, or study 0 or all of them."
                    )
                rows.add(Row(real, added, arm, name))
    if not rows:
        raise ConfigError("The grid has no row with a training image; give real or synthetic counts above 0.")
    return sorted(rows, key=lambda r: (r.num_real_images, r.num_synthetic_images, r.arm, r.synthetic_set))


def _resolve(count: Count, num_real: int, available: int, option: str) -> int:
    wanted = {"all": available, "equal": num_real}.get(count, count) if isinstance(count, str) else count
    assert isinstance(wanted, int)
    if not 0 <= wanted <= available:
        raise ConfigError(
            f"{option} asks for {wanted} images but there are {available}; lower it, or sample more with -n."
        )
    return wanted


def subset(num_images: int, count: int, kind: str, seed: int, repeat: int) -> NDArray[np.int64]:
    """Indices of the `count` images that a repeat takes: random, redrawn per repeat, nested in count."""
    stream = {"real": 1, "synthetic": 2}[kind]
    return np.random.default_rng((seed, stream, repeat)).permutation(num_images)[:count]


def training_steps(config: EvaluateConfig, row: Row, rows: Sequence[Row]) -> int:
    """Optimiser steps of a row: its own images times epochs, or as many as the largest mix takes."""
    sizes = [r.num_real_images + r.num_synthetic_images for r in rows]
    size = max(sizes) if config.protocol == "equal-steps" else row.num_real_images + row.num_synthetic_images
    return config.epochs * -(-size // config.batch_size)
