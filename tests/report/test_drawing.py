"""What figures write can be read and told apart, whatever letters the font has."""

from pathlib import Path

import polars as pl
import pytest
from matplotlib.figure import Figure

from isdm.report.comparisons import comparison_table, read_counts
from isdm.report.drawing import LIGHT, class_label, drawable
from isdm.report.figures import _look, class_pixels_figure, gains_figure, scaling_figure
from isdm.report.quality_figure import quality_figure
from isdm.report.study_files import read_results
from isdm.report.tables import summary_table
from studies import NAMES, write_study

JAPANESE = dict(zip(NAMES, ("背景", "傷", "へこみ"), strict=True))


def texts(labels: list[object]) -> list[str]:
    return [label.get_text() for label in labels]


def legend(figure: Figure) -> list[str]:
    return texts(figure.legends[0].get_texts())


def test_a_name_without_letters_in_the_font_is_a_number() -> None:
    assert class_label("Kratzer", 3) == "Kratzer"
    assert class_label("傷", 3) == "class 3"
    assert class_label("", 3) == "class 3"


def test_what_looks_the_same_is_numbered() -> None:
    assert drawable(["a", "合成", "人工", "合成x"]) == ["a", "?? (1)", "?? (2)", "??x"]
    assert drawable(["a", "a", "Größe"]) == ["a", "a", "Größe"], "as they were"
    assert drawable(["abcdef", "abcdeg"], 4) == ["ab…f", "ab…g"], "names that begin alike are told apart"


@pytest.fixture(scope="module")
def japanese(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.DataFrame]:
    study = write_study(tmp_path_factory.mktemp("japanese") / "study", gallery=False)
    results = read_results(study / "results.parquet").with_columns(
        pl.col("class_name").replace(JAPANESE), pl.col("synthetic_set").replace({NAMES[2]: "合成"})
    )
    return study, results


@pytest.mark.filterwarnings("error:Glyph")
def test_the_figures_of_a_study_write_no_boxes(japanese: tuple[Path, pl.DataFrame], tmp_path: Path) -> None:
    study, results = japanese
    summary = summary_table(results, "plain")
    gained = gains_figure(summary)
    assert gained is not None
    assert texts(gained.axes[0].get_xticklabels()) == ["class 1", "class 2", "mean"]
    pixels = class_pixels_figure(
        {"real": {"背景": 900, "傷": 90, "へこみ": 10}, "合成": {"背景": 5}, "人工": {"背景": 5}},
        [*JAPANESE.values()],
    )
    assert pixels is not None
    assert texts(pixels.axes[0].get_yticklabels()) == [
        "class 0",
        "class 1",
        "class 2",
    ]
    assert legend(pixels) == ["real", "?? (1)", "?? (2)"]
    scaling = scaling_figure(results, summary, comparison_table(read_counts(study), summary, None))
    quality = quality_figure({name: {"agreement": 0.5} for name in ("合成", "人工")})
    assert quality is not None
    assert texts(quality.axes[0].get_yticklabels()) == ["?? (1)", "?? (2)"]
    for number, figure in enumerate((gained, pixels, scaling, quality)):
        figure.savefig(tmp_path / f"{number}.svg")


def test_no_two_series_look_the_same() -> None:
    looks = {tuple(map(str, _look(LIGHT, index).values())) for index in range(24)}
    assert len(looks) == 24
    assert _look(LIGHT, 0) == {"color": LIGHT.series[0], "marker": "o", "linestyle": "-"}


def test_more_series_than_colours_have_other_marks(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", gallery=False)
    results = read_results(study / "results.parquet")
    mixed = results.filter(pl.col("row") == "mixed")
    sets = [
        mixed.with_columns(pl.lit(f"mixed{k}").alias("row"), pl.lit(f"set {k}").alias("synthetic_set"))
        for k in range(8)
    ]
    more = pl.concat([results.filter(pl.col("row") == "real-only"), *sets])
    summary = summary_table(more, "plain")
    compared = comparison_table(read_counts(study), summary, None)
    figure = scaling_figure(more, summary, compared)
    lines = [container.lines[0] for container in figure.axes[0].containers]
    assert len(lines) == 8
    assert len({(line.get_color(), line.get_marker(), str(line.get_linestyle())) for line in lines}) == 8
    assert lines[0].get_color() == lines[6].get_color()
    assert (lines[0].get_marker(), lines[6].get_marker()) == ("o", "s")
