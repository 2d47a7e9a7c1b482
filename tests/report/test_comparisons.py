"""Comparisons and verdicts of small studies whose outcome is known."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from isdm.metrics.statistics import difference, holm
from isdm.report.comparisons import COLUMNS, FALSE_ALARMS, IMAGE_RECALL, OBJECT_RECALL, comparison_table
from isdm.report.figures import scaling_figure
from isdm.report.latex import escaped, latex_table
from isdm.report.tables import CLASS, FOREGROUND, summary_table
from isdm.report.verdict import basis, headline, verdicts
from isdm.report.worth import learning_curve

CLASSES = ("background", "scratch", "dent")
ROWS: dict[str, tuple[str, str, int, int]] = {
    "real": ("plain", "", 80, 0),
    "mixed": ("plain", "s", 80, 50),
    "few": ("plain", "", 20, 0),
    "few-mixed": ("plain", "s", 20, 50),
    "synthetic": ("plain", "s", 0, 50),
    "synthetic-few": ("augmented", "s", 0, 20),
    "pasted": ("pasted", "", 80, 50),
    "augmented": ("augmented", "", 80, 0),
    "mixed-augmented": ("augmented", "s", 80, 50),
}


class Study:
    """Counts of a study in which each row finds a given share of each class."""

    def __init__(self, repeats: int = 3, groups: int = 20, noise: float = 0.01) -> None:
        self.repeats, self.groups, self.noise = repeats, groups, noise
        self.counts: list[dict[str, Any]] = []
        self.results: list[dict[str, Any]] = []

    def add(self, row: str, *shares: float, architecture: str = "fpn") -> "Study":
        """A row that finds `shares` of the foreground classes."""
        arm, source, real, synthetic = ROWS[row]
        rng = np.random.default_rng(len(self.results))
        for repeat in range(self.repeats):
            sums = np.zeros((len(CLASSES), 2))
            for group in range(self.groups):
                for place, share in enumerate((0.9, *shares)):
                    hits = round(1000 * float(np.clip(share + self.noise * rng.normal(), 0, 1)))
                    sums[place] += hits, 1000
                    line = {"row": row, "architecture": architecture, "repeat": repeat, "group": f"g{group}"}
                    line |= {"measure": "class_iou", "place": place, "detail": CLASSES[place]}
                    self.counts.append(line | {"hits": hits, "total": 1000})
            for place, name in enumerate(CLASSES):
                line = {"row": row, "arm": arm, "synthetic_set": source, "num_real_images": real}
                line |= {"num_synthetic_images": synthetic, "architecture": architecture, "repeat": repeat}
                line |= {"class_id": place, "class_name": name, "iou": sums[place, 0] / sums[place, 1]}
                self.results.append(line | {"mean_image_iou": 0.5, "num_steps": 9, "train_seconds": 1.0})
        return self

    def read(self, primary: str | None = None, baseline: str = "plain") -> tuple[pl.DataFrame, pl.DataFrame]:
        """Summary and comparisons."""
        summary = summary_table(pl.DataFrame(self.results), baseline)
        return summary, comparison_table(pl.DataFrame(self.counts), summary, primary)


def line_of(table: pl.DataFrame, row: str, measure: str = FOREGROUND, detail: str = "") -> dict[str, Any]:
    chosen = (pl.col("row") == row) & (pl.col("measure") == measure) & (pl.col("detail") == detail)
    return table.filter(chosen).row(0, named=True)


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


def test_where_nothing_is_found_nothing_is_promised() -> None:
    summary, table = Study(noise=0).add("real", 0, 0).add("mixed", 0, 0).read()
    (text,) = verdicts(summary, table)
    assert "+0.0 points [+0.0, +0.0]" in text
    assert "4 of 5" not in text


def test_networks_that_learnt_nothing_are_said_to() -> None:
    summary, table = Study(noise=0.001).add("real", 0, 0).add("mixed", 0.02, 0.02).read()
    (text,) = verdicts(summary, table)
    assert text.startswith("FPN hardly learnt to find anything (at best 0.02")
    assert "best mean" not in text
    assert "FPN: adding 50 synthetic images" in text


def test_a_mean_that_looks_the_same_is_no_better() -> None:
    summary, table = Study(noise=0).add("real", 0.5, 0.5).add("mixed", 0.5, 0.5002).read()
    (text,) = verdicts(summary, table)
    assert "No configuration has a higher mean than real only (0.500)" in text


def test_order_is_told() -> None:
    study = Study().add("real", 0.5, 0.6).add("mixed", 0.6, 0.65)
    for line in study.results:
        line["arm"] = "synthetic-first" if line["row"] == "mixed" else line["arm"]
    _, table = study.read()
    assert headline(table).startswith("Training on 50 synthetic images, then on real images, raises the mean")


def test_synthetic_images_alone_are_not_called_added() -> None:
    study = Study().add("real", 0.5, 0.6).add("synthetic", 0.3, 0.4)
    (text,) = verdicts(*study.read())
    assert text.startswith("FPN: training on 50 synthetic images alone lowers the mean foreground IoU: -2")
    assert headline(study.read()[1]).startswith(
        "Training on 50 synthetic images alone lowers the mean foreground IoU"
    )
    study.add("synthetic-few", 0.2, 0.3)
    summary, table = study.read()
    assert headline(table).startswith("Training on synthetic images alone lowers the mean foreground IoU for FPN")
    assert "Training on 20 synthetic images alone under augmentation lowers" in verdicts(summary, table)[0]


def test_of_many_tests_a_loss_is_told_beside_the_gains() -> None:
    study = Study(noise=0.001).add("real", 0.5, 0.5).add("mixed", 0.5, 0.5)
    for number, share in enumerate((0.55, 0.56, 0.57, 0.58, 0.45)):
        before = len(study.results), len(study.counts)
        study.add("mixed", share, share)
        for line in (*study.results[before[0] :], *study.counts[before[1] :]):
            line["row"] = f"mixed-{number}"
        for line in study.results[before[0] :]:
            line["num_synthetic_images"] = 100 + number
    (text,) = verdicts(*study.read())
    lines = text.split("\n")
    assert [line.split(" synthetic")[0] for line in lines[:4]] == [
        "FPN: adding 103",
        "Adding 102",
        "Adding 101",
        "Adding 104",
    ]
    assert "lowers" in lines[3]
    assert lines[4] == "Beyond chance, of 6 configurations tested: 4 gains, 1 loss."


def test_one_repeat_shows_nothing() -> None:
    summary, table = Study(repeats=1).add("real", 0.5, 0.6).add("mixed", 0.9, 0.9).read()
    assert "no gain can be shown or ruled out" in headline(table)
    assert "with a single repeat this cannot be told from chance" in verdicts(summary, table)[0]


def test_nothing_to_compare() -> None:
    summary, table = Study().add("mixed", 0.5, 0.5).read()
    assert headline(table).startswith("Nothing can be compared yet")
    assert "nothing can be compared" in verdicts(summary, table)[0]
    assert basis(table, None, 1) == ""
    summary, table = Study(noise=0).add("real", 0.5, 0.5).read()
    assert verdicts(summary, comparison_table(None, summary, None)) == [
        "FPN: only real images alone have been measured (0.500)."
    ]


def test_a_study_without_counts_says_so_and_names_its_networks() -> None:
    """As earlier versions left them."""
    study = Study(noise=0)
    for name, share in (("fpn", 0.6), ("unetplusplus", 0.4)):
        study.add("real", 0.5, 0.5, architecture=name).add("mixed", share, share, architecture=name)
    summary = study.read()[0]
    table = comparison_table(None, summary, None)
    assert "counts.parquet" in headline(table)
    assert "isdm evaluate" in headline(table)
    assert [text.split("\n")[0][:50] for text in verdicts(summary, table)] == [
        "U-Net++: no configuration has a higher mean than r",
        "FPN: the best mean is that of real + 50 synthetic:",
    ]


def test_test_images_without_a_defect_compare_nothing() -> None:
    study = Study().add("real", 0.5, 0.6).add("mixed", 0.5, 0.6)
    for line in study.counts:
        line["held"] = 0 if line["place"] else line["total"]
    for result in study.results:
        result["iou"] = None if result["class_id"] else result["iou"]  # as the study writes it
    summary, table = study.read()
    assert headline(table) == "Nothing can be compared: no test image shows a class but the background."
    assert verdicts(summary, table) == ["FPN: no class of the test images has an IoU, so nothing can be compared."]


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
