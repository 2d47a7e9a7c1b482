"""Results of a study as tables of polars, for questions that the report does not ask.

python examples/read_results.py study
"""

import sys
from pathlib import Path

import polars as pl


def class_means(study: Path) -> pl.DataFrame:
    """Mean IoU and its spread over the repeats, for each network, row and foreground class."""
    results = pl.read_parquet(study / "results.parquet")  # a line for each trained network and class
    return (
        results.filter("is_foreground")
        .group_by("architecture", "num_real_images", "num_synthetic_images", "arm", "class_name")
        .agg(pl.col("iou").mean().alias("mean"), pl.col("iou").std().alias("spread"), pl.len().alias("repeats"))
        .sort("architecture", "class_name", "num_real_images", "num_synthetic_images", "arm")
    )


def worst_groups(study: Path, count: int = 10) -> pl.DataFrame:
    """Groups of test images with the lowest foreground IoU over all networks: what to photograph more of."""
    counts = pl.read_parquet(study / "counts.parquet")  # hits of total by network, test group and measure
    foreground = counts.filter(measure="class_iou").filter(pl.col("place") > 0)  # place is the class id
    sums = foreground.group_by("group").agg(pl.col("hits", "total").sum())
    return sums.with_columns((pl.col("hits") / pl.col("total")).alias("iou")).sort("iou").head(count)


def main(study: Path) -> None:
    """Print both."""
    with pl.Config(tbl_rows=50, float_precision=3, tbl_hide_dataframe_shape=True):
        print(class_means(study))
        print(worst_groups(study))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
