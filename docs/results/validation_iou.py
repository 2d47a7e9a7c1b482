"""What the networks of some studies reached on validation images: for explorations that must not read test scores.

python docs/results/validation_iou.py docs/results/magnetic-tiles/fold-*/study
"""

import sys
from pathlib import Path

import polars as pl


def main(studies: list[Path]) -> None:
    """Print a Markdown table of the mean over repeats of the foreground IoU, a column for each study."""
    columns = [_means(study) for study in studies]
    lines = sorted({line for column in columns for line in column})
    print("| | " + " | ".join(str(place) for place in range(len(columns))) + " | mean |")
    print("|---" * (len(columns) + 2) + "|")
    for architecture, training, steps in lines:
        found = [column.get((architecture, training, steps)) for column in columns]
        told = [value for value in found if value is not None]
        cells = ["" if value is None else f"{value:.3f}" for value in found]
        print(f"| {architecture}, {training}, {steps} steps | {' | '.join(cells)} | {sum(told) / len(told):.3f} |")


def _means(study: Path) -> dict[tuple[str, str, int], float]:
    """Mean validation IoU by architecture, training images and steps."""
    cells = pl.read_parquet(study / "results.parquet").unique(["row", "architecture", "repeat"])
    found = {}
    for (architecture, key), group in cells.group_by("architecture", "key"):
        training = f"{key}".partition("_augmented")[0]
        steps = int(float(f"{group['num_steps'].mean():.2g}"))  # folds differ by some
        found[(str(architecture), training, steps)] = float(group["validation_iou"].mean())
    return found


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
