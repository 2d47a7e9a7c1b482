"""Rows of the study: which training images a configuration takes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isdm.config import Arm, Count, EvaluateConfig, added_images, is_augmented, is_synthetic_first
from isdm.errors import ConfigError, UsageError
from isdm.files import sha256_of_json


@dataclass(frozen=True)
class Row:
    """One configuration: R real and S further training images, and what is done with them."""

    num_real_images: int
    num_synthetic_images: int
    arm: Arm = "plain"
    """`duplicated`, `pasted`: the S further images are made of real ones, not synthetic ones; `synthetic-first`: the
    training begins with them alone and ends with the real ones alone."""
    synthetic_set: str = ""
    """Name of the synthetic dataset; empty where none is used."""
    key: str = field(default="", compare=False)
    """The row as it was asked for, `real-all_set-equal_plain`: the same in every fold of a cross-validation; two that
    come to the same, with | between."""

    @property
    def is_augmented(self) -> bool:
        """Whether training images are flipped, turned and relit at random."""
        return is_augmented(self.arm)

    @property
    def is_synthetic_first(self) -> bool:
        """Whether synthetic and real images are taken one after the other instead of mixed."""
        return is_synthetic_first(self.arm)

    @property
    def further(self) -> Literal["synthetic", "duplicated", "pasted"]:
        """What the further images are."""
        return added_images(self.arm)

    def slug(self, settings: Mapping[str, Any]) -> str:
        """A readable folder name and a hash of everything that the row's figures depend on."""
        parts = [f"real-{self.num_real_images}"]
        if self.num_synthetic_images:
            parts.append(f"{self.synthetic_set or 'more'}-{self.num_synthetic_images}")
        parts.append(self.arm)
        itself = {name: value for name, value in asdict(self).items() if name != "key"}
        return "_".join(parts) + "_" + sha256_of_json([itself, settings])[:10]


def make_rows(config: EvaluateConfig, num_real: int, num_synthetic: Mapping[str, int]) -> list[Row]:
    """All rows of the grid, each once, those with the fewest images first.

    Args:
        config: the study's options.
        num_real: real training images that there are.
        num_synthetic: pairs of each synthetic set.

    Raises:
        ConfigError: a count exceeds what there is, or a row mixes synthetic images with some of the real ones,
            as their generator saw others.
    """
    rows: dict[Row, Row] = {}
    for asked_real, asked, arm in product(config.real_counts, config.synthetic_counts, config.arms):
        real = _resolve(asked_real, num_real, num_real, "real_counts")
        for row in _rows_of(asked, real, arm, num_real, num_synthetic, f"real-{asked_real}"):
            rows[row] = _joined(rows.get(row), row)
    for row in _reference_rows(config, num_real):
        rows[row] = _joined(rows.get(row), row)
    if not rows:
        raise UsageError("The grid has no row with a training image; give real or synthetic counts above 0.")
    return sorted(rows.values(), key=lambda r: (r.num_real_images, r.num_synthetic_images, r.arm, r.synthetic_set))


def _joined(row: Row | None, same: Row) -> Row:
    """A row under the keys of both."""
    if row is None or same.key in row.key.split("|"):
        return row or same
    return replace(row, key=f"{row.key}|{same.key}")


def _rows_of(
    asked: Count,
    real: int,
    arm: Arm,
    num_real: int,
    num_synthetic: Mapping[str, int],
    key: str,
) -> list[Row]:
    alone = Row(real, 0, arm, key=f"{key}_{arm}")
    further, in_turn = alone.further, alone.is_synthetic_first
    if asked == 0:
        return [alone] if real > 0 and further == "synthetic" and not in_turn else []
    if in_turn and real == 0:
        return []
    if further != "synthetic":
        if real == 0:
            return []
        count = _resolve(asked, num_real, max(num_synthetic.values(), default=num_real), "synthetic_counts")
        return [Row(real, count, arm, key=f"{key}_more-{asked}_{arm}")]
    rows = []
    for name, available in num_synthetic.items():
        option = "synthetic_counts" if len(num_synthetic) == 1 else f"synthetic_counts of {name!r}"
        count = _resolve(asked, num_real, available, option)
        if 0 < real < num_real:
            raise ConfigError(
                f"A row with {real} of the {num_real} real images cannot take {name!r}, whose generator saw others. "
                f"Import with --train {real} and train one on these, or study 0 or all of them "
                f"(learning_curve takes real images alone)."
            )
        rows.append(Row(real, count, arm, name, key=f"{key}_{name}-{asked}_{arm}"))
    return rows


def _reference_rows(config: EvaluateConfig, num_real: int) -> list[Row]:
    """Real images alone that are needed whatever the grid: the named comparison's own, and the learning curve."""
    arm = config.baseline or "plain"
    asked: list[tuple[Count, str]] = [(count, "learning_curve") for count in config.learning_curve]
    if config.learning_curve:
        asked.append(("all", "learning_curve"))
    if config.primary is not None:
        asked.append((config.primary.real, "primary.real"))
    found = [(_resolve(count, num_real, num_real, option), count) for count, option in asked]
    return [Row(real, 0, arm, key=f"real-{count}_{arm}") for real, count in found if real]


def primary_row(config: EvaluateConfig, rows: Sequence[Row], num_real: int) -> Row | None:
    """The row of the comparison named beforehand.

    Raises:
        ConfigError: the grid has no such row, or several synthetic sets could be meant.
    """
    wanted = config.primary
    if wanted is None:
        return None
    arm = wanted.arm or config.baseline or "plain"
    real = _resolve(wanted.real, num_real, num_real, "primary.real")
    found = [
        row
        for row in rows
        if row.num_real_images == real
        and row.arm == arm
        and row.num_synthetic_images > 0
        and (
            row.num_synthetic_images == wanted.synthetic
            or any(key.endswith(f"-{wanted.synthetic}_{arm}") for key in row.key.split("|"))
        )
        and wanted.synthetic_set in (None, row.synthetic_set)
    ]
    if len(found) != 1:
        sets = ", ".join(sorted({row.synthetic_set for row in rows if row.synthetic_set}))
        raise ConfigError(
            f"primary: {len(found)} rows have {wanted.real} real and {wanted.synthetic} synthetic images, {arm}; "
            + (f"name its synthetic_set ({sets})." if found else "add these to the study's counts and arms.")
        )
    return found[0]


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
