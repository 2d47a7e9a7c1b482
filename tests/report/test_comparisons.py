"""Comparisons and verdicts of small studies whose outcome is known."""

import numpy as np
import polars as pl
import pytest

from counted_study import Study, line_of
from isdm.metrics.statistics import difference, holm
from isdm.report.comparisons import COLUMNS, FALSE_ALARMS, IMAGE_RECALL, OBJECT_RECALL, comparison_table
from isdm.report.figures import scaling_figure
from isdm.report.latex import escaped, latex_table
from isdm.report.tables import CLASS, FOREGROUND, summary_table
from isdm.report.verdict import basis, headline, verdicts
from isdm.report.worth import learning_curve


def test_a_line_is_what_the_statistics_give() -> None:
    study = Study().add("real", 0.5, 0.6).add("mixed", 0.6, 0.65)
    _, table = study.read()
    assert table.columns == list(COLUMNS)
    cubes = []
    for row in ("mixed", "real"):
        lines = [line for line in study.counts if line["row"] == row and line["place"] > 0]
        cubes.append(np.array([[line["hits"], line["total"]] for line in lines], float).reshape(3, 20, 2, 2))
    expected = difference(*cubes)
    line = line_of(table, "mixed")
    assert (line["gain"], line["lower"], line["upper"]) == pytest.approx(
        (expected.value, expected.lower, expected.upper)
    )
    assert line["gain"] == pytest.approx(0.075, abs=0.01)
    assert line_of(table, "mixed", CLASS, "scratch")["gain"] == pytest.approx(0.1, abs=0.01)
    assert line_of(table, "real")["gain"] is None


def test_rows_have_their_own_reference() -> None:
    study = Study().add("real", 0.5, 0.6).add("mixed", 0.6, 0.6).add("few", 0.3, 0.3).add("synthetic", 0.2, 0.2)
    _, table = study.read()
    references = {row: line_of(table, row)["reference"] for row in ("real", "mixed", "few", "synthetic")}
    assert references == {"real": None, "mixed": "real", "few": "real", "synthetic": "real"}
    augmented = Study().add("real", 0.5, 0.5).add("augmented", 0.6, 0.6).add("mixed-augmented", 0.7, 0.7)
    _, table = augmented.read(baseline="augmented")
    assert line_of(table, "mixed-augmented")["reference"] == "augmented"
    assert line_of(table, "mixed-augmented")["gain"] == pytest.approx(0.1, abs=0.01)


def test_only_what_was_named_is_tested() -> None:
    study = Study()
    for architecture in ("fpn", "unetplusplus"):
        for row, share in (("real", 0.5), ("mixed", 0.52), ("pasted", 0.5), ("synthetic", 0.1)):
            study.add(row, share, share, architecture=architecture)
    _, named = study.read(primary="pasted")
    assert set(named.filter(pl.col("is_tested"))["row"]) == {"pasted"}
    _, table = study.read()
    tested = table.filter(pl.col("is_tested"))
    assert set(tested["row"]) == {"mixed"}  # a control is no claim, nor are synthetic images alone
    assert tested["adjusted_p"].to_list() == pytest.approx(holm(tested["p_value"].to_list()))
    assert table.filter(~pl.col("is_tested"))["adjusted_p"].null_count() == table.height - 2


def test_a_clear_gain_is_said_with_its_interval() -> None:
    summary, table = Study().add("real", 0.5, 0.6).add("mixed", 0.6, 0.65).add("augmented", 0.52, 0.6).read()
    assert headline(table) == (
        "Adding 50 synthetic images raises the mean foreground IoU for FPN (1 of 1 architecture)."
    )
    (text,) = verdicts(summary, table)
    first, best, control, classes = text.split("\n")
    assert first.startswith("FPN: adding 50 synthetic images raises the mean foreground IoU: +7.")
    assert "corrected p < 0.001" in first
    assert "picked after the fact" in best
    assert control.startswith("Without synthetic images real only, augmented reaches 0.5")
    assert "(dent) to +" in classes
    assert "(scratch); no class loses more than 0.0 points" in classes


def test_no_gain_says_what_could_have_been_found() -> None:
    summary, table = Study(noise=0.2).add("real", 0.5, 0.6).add("mixed", 0.5, 0.6).read(primary="mixed")
    assert headline(table).startswith(
        "No gain was shown: adding 50 synthetic images changed the mean foreground IoU by "
    )
    (text,) = verdicts(summary, table)
    assert "cannot be told from chance. A true gain of " in text
    assert "would have been found in 4 of 5 such studies." in text
    assert "named before any test score was read" in basis(table, "mixed", 1)
    assert "20 groups of test images and 3 trainings" in basis(table, "mixed", 1)
    assert "the one synthetic set used" in basis(table, "mixed", 1)


def test_a_loss_is_a_loss() -> None:
    summary, table = Study().add("real", 0.5, 0.6).add("mixed", 0.4, 0.5).read()
    assert headline(table) == (
        "Adding 50 synthetic images lowers the mean foreground IoU for FPN (1 of 1 architecture); no gain was shown."
    )
    (text,) = verdicts(summary, table)
    assert "No configuration has a higher mean than real only" in text


def test_a_class_that_no_test_image_shows_is_in_no_mean() -> None:
    """A false pixel of it would be an IoU of 0, in the rows that have one alone."""
    study = Study().add("real", 0.5, 0.6).add("mixed", 0.5, 0.6)
    for line in study.counts:
        if line["place"] == 2:
            line |= {"hits": 0, "total": int(line["row"] == "real" and line["group"] == "g3")}
        line["held"] = 0 if line["place"] == 2 else line["total"]
    study.counts = [line for line in study.counts if line["total"]]
    for result in study.results:
        result["iou"] = None if result["class_id"] == 2 else result["iou"]  # as the study writes it
    table = study.read()[1]
    assert "dent" not in table["detail"].to_list()
    line = line_of(table, "mixed")
    assert line["gain"] == pytest.approx(line_of(table, "mixed", CLASS, "scratch")["gain"])
    assert abs(line["gain"]) < 0.02
    assert "cannot be told from chance" in headline(table)


def test_a_class_that_one_group_alone_shows_leaves_all_open() -> None:
    study = Study(noise=0.001).add("real", 0.5, 0.6).add("mixed", 0.55, 0.65)
    study.counts = [line for line in study.counts if line["place"] < 2 or line["group"] == "g3"]
    summary, table = study.read()
    line = line_of(table, "mixed")
    assert (line["p_value"], line["lower"], line["smallest_gain"]) == (None, None, None)
    assert line["gain"] == pytest.approx(0.05, abs=0.01)
    (text,) = verdicts(summary, table)
    assert "as a class is seen in one test group alone, nothing tells this from chance." in text
    assert "Too few test groups show what is measured to give an interval." in basis(table, None, 1)
    assert line_of(table, "mixed", CLASS, "scratch")["lower"] > 0.04


@pytest.mark.parametrize("dent", [0.4, 0.9])
def test_what_a_class_of_one_group_may_lose_is_not_told(dent: float) -> None:
    """Whether it gains most or loses most."""
    study = Study(noise=0.001).add("real", 0.5, 0.6).add("mixed", 0.55, dent)
    study.counts = [line for line in study.counts if line["place"] < 2 or line["group"] == "g3"]
    (text,) = verdicts(*study.read())
    assert "By class, real + 50 synthetic ranges from " in text
    assert "points (dent)" in text
    assert "no class loses more" not in text


def test_what_would_have_been_found_pays_for_the_number_of_tests() -> None:
    def smallest(architectures: tuple[str, ...], primary: str | None = None) -> float:
        study = Study(noise=0.1)
        for architecture in architectures:
            for row in ("real", "mixed", "pasted"):
                study.add(row, 0.5, 0.5, architecture=architecture)
        table = study.read(primary)[1].filter(pl.col("architecture") == "fpn")
        return float(line_of(table, "mixed")["smallest_gain"])

    alone, corrected = smallest(("fpn",)), smallest(("fpn", "unetplusplus", "deeplabv3plus"))
    assert 1.1 < corrected / alone < 1.4
    assert smallest(("fpn", "unetplusplus", "deeplabv3plus"), primary="pasted") == pytest.approx(alone), "not tested"


def test_the_worth_of_a_gain_follows_the_learning_curve() -> None:
    study = Study(noise=0.001).add("few", 0.4, 0.4).add("real", 0.5, 0.5).add("mixed", 0.55, 0.55)
    summary, table = study.read()
    slope = learning_curve(summary, "fpn")
    assert slope == pytest.approx(0.05, abs=0.002)  # 0.1 over two doublings
    (text,) = verdicts(summary, table)
    sentence = next(line for line in text.split("\n") if "doubling" in line)
    low, high = (int(word) for word in sentence.split("worth ")[1].split(" further")[0].split(" to "))
    assert low <= 80 * (2 ** (0.05 / 0.05) - 1) <= high
    assert high - low < 12


def test_a_gain_over_fewer_real_images_is_told_as_one() -> None:
    study = (
        Study(noise=0.001)
        .add("real", 0.5, 0.5)
        .add("mixed", 0.5, 0.5)
        .add("few", 0.4, 0.4)
        .add("few-mixed", 0.6, 0.6)
    )
    (text,) = verdicts(*study.read(primary="mixed"))
    best = next(line for line in text.split("\n") if line.startswith("The best mean"))
    assert best.startswith(
        "The best mean is that of 20 real + 50 synthetic: 0.600 against 0.500 for real only, +20.0 points"
    )
    assert "] over 20 real only; it was picked after the fact" in best
    (text,) = verdicts(*study.read(primary="few-mixed"))
    sentence = next(line for line in text.split("\n") if "doubling" in line)
    low, high = (int(word) for word in sentence.split("worth ")[1].split(" further")[0].split(" to "))
    assert low <= 20 * (2 ** (0.2 / 0.05) - 1) <= high


def test_inspectors_measures() -> None:
    study = Study(repeats=2, groups=4).add("real", 0.5, 0.5).add("mixed", 0.5, 0.5).add("pasted", 0.5, 0.5)
    for row, alarms in (("real", 3), ("mixed", 1), ("pasted", 2)):
        for repeat in (0, 1):
            for group in range(4):
                line = {"row": row, "architecture": "fpn", "repeat": repeat, "group": f"g{group}"}
                for measure, hits in ((FALSE_ALARMS, alarms), (IMAGE_RECALL, alarms + 1)):
                    study.counts.append(
                        line | {"measure": measure, "place": 0, "detail": "", "hits": hits, "total": 4}
                    )
                for place, found in enumerate((1, 2)):
                    size = {"measure": OBJECT_RECALL, "place": place, "detail": f"size {place}"}
                    study.counts.append(line | size | {"hits": found, "total": 2})
    summary, table = study.read()
    assert line_of(table, "mixed", FALSE_ALARMS)["value"] == pytest.approx(0.25)
    assert line_of(table, "mixed", FALSE_ALARMS)["gain"] == pytest.approx(-0.5)
    assert line_of(table, "real", OBJECT_RECALL, "all sizes")["value"] == pytest.approx(0.75)
    assert line_of(table, "real", OBJECT_RECALL, "size 0")["value"] == pytest.approx(0.5)
    (text,) = verdicts(summary, table)
    assert (
        "By whole pictures, untested: 50.0 % of the defective ones are noticed, -50.0 points [-50.0, -50.0]; "
        "25.0 % of the good ones are alarmed, -50.0 points [-50.0, -50.0]." in text
    )
    assert text.count("are noticed") == 1, "the tested row's, not the control's"


def test_without_pictures_of_a_kind_nothing_is_said_of_them() -> None:
    (text,) = verdicts(*Study().add("real", 0.5, 0.5).add("mixed", 0.6, 0.6).read())
    assert "whole pictures" not in text


def test_in_full_scenes_every_class_counts() -> None:
    study = Study(noise=0).add("real", 0.5, 0.6).add("mixed", 0.5, 0.6)
    results = pl.DataFrame(study.results).with_columns(pl.lit(True).alias("is_foreground"))
    summary = summary_table(results)
    table = comparison_table(pl.DataFrame(study.counts), summary, None)
    assert line_of(table, "real")["value"] == pytest.approx((0.9 + 0.5 + 0.6) / 3)
    mean = summary.filter(pl.col("measure") == FOREGROUND, row="real")["mean"].item()
    assert mean == pytest.approx((0.9 + 0.5 + 0.6) / 3)


def test_the_latex_table() -> None:
    summary, table = Study().add("real", 0.5, 0.6).add("mixed", 0.6, 0.65).read()
    text = latex_table(summary, table)
    lines = text.splitlines()
    assert lines[1] == r"\begin{tabular}{lrr}"
    assert all(line.endswith(r"\\") for line in lines if "&" in line)
    assert {line.count("&") for line in lines[4:] if "&" in line} == {2}
    assert "real + 50 synthetic & $0.62" in text
    assert escaped(r"a_b & 5 % \x {y}") == r"a\_b \& 5 \% \textbackslash{}x \{y\}"


@pytest.mark.parametrize("architectures", [("fpn",), ("fpn", "unetplusplus")])
def test_the_legend_lies_within_the_figure(architectures: tuple[str, ...]) -> None:
    """A study of one architecture is a narrow figure, and its labels may be long."""
    study = Study()
    for architecture in architectures:
        for row in ("real", "mixed", "mixed-augmented"):
            study.add(row, 0.5, 0.6, architecture=architecture)
    for line in study.results:
        line["arm"] = "synthetic-first+augmented" if line["row"] == "mixed-augmented" else line["arm"]
    summary, table = study.read()
    figure = scaling_figure(pl.DataFrame(study.results), summary, table)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    inside = figure.bbox
    box = legend.get_window_extent()
    assert inside.x0 <= box.x0
    assert box.x1 <= inside.x1
