"""Nothing of the first figure lies beyond its axes."""

from pathlib import Path

import polars as pl

from isdm.report.comparisons import comparison_table, read_counts
from isdm.report.figures import scaling_figure
from isdm.report.study_files import read_results
from isdm.report.tables import FOREGROUND, summary_table
from studies import write_study


def test_every_mean_and_interval_is_within_the_axes(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study")
    results = read_results(study / "results.parquet")
    summary = summary_table(results, "plain")
    compared = comparison_table(read_counts(study), summary, None)
    figure = scaling_figure(results, summary, compared)
    of_means = pl.col("measure") == FOREGROUND
    means = summary.filter(of_means & pl.col("mean").is_not_null())
    gained = compared.filter(of_means & pl.col("lower").is_not_null())
    both = means.join(gained.select("row", "architecture", "gain", "lower", "upper"), on=["row", "architecture"])
    assert both.height
    low, high = figure.axes[0].get_ylim()
    left, right = figure.axes[0].get_xlim()
    for line in both.iter_rows(named=True):
        assert low < line["mean"] + line["lower"] - line["gain"] <= line["mean"] + line["upper"] - line["gain"] < high
    for count in means["num_synthetic_images"].to_list():
        assert left < count < right
    assert low < min(means["mean"]) < max(means["mean"]) < high
