"""What the verdict says in words, of studies whose outcome is known."""

from counted_study import Study
from isdm.report.comparisons import comparison_table
from isdm.report.verdict import basis, headline, verdicts


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
