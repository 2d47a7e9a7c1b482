"""The page of a small study: what it says, what it leaves out and what it never lets through."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import yaml
from PIL import Image

from isdm.errors import DataError
from isdm.report import report
from studies import HOSTILE, write_audit, write_results, write_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = write_study(tmp_path_factory.mktemp("report") / "study")
    audit = write_audit(study / "audit.json")
    cost = {"stage": HOSTILE, "seconds": 7200, "note": "one GPU"}
    assert report(study, audit=audit, costs=[cost]) == study / "report" / "index.html"
    return study


@pytest.fixture(scope="module")
def page(study: Path) -> str:
    return (study / "report" / "index.html").read_text("utf-8")


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figures: they take most of the time and these tests are about words."""
    monkeypatch.setattr("isdm.report.html._figures", lambda drawings, _: dict.fromkeys(drawings, EMPTY))


EMPTY = dict.fromkeys(("light_wide", "dark_wide", "light_narrow", "dark_narrow"), "data:,")


TABLES = [f"tables/{name}" for name in ("results.csv", "table.csv", "comparisons.csv", "table.tex")]


def test_all_files_are_there_and_no_leftovers(study: Path) -> None:
    found = {str(path.relative_to(study / "report")) for path in (study / "report").rglob("*") if path.is_file()}
    figures = {f"figures/{name}{end}" for name in ("scaling", "gains", "class-pixels") for end in (".png", ".pdf")}
    assert found == {"index.html", *TABLES} | figures


def test_what_a_killed_report_left_goes(
    study: Path, tmp_path: Path, aside_of_dead_process: Callable[[Path], Path]
) -> None:
    again = Path(shutil.copytree(study, tmp_path / "study"))
    left = aside_of_dead_process(again / "report" / "tables" / "table.csv")
    left.write_text("half")
    report(again)
    assert not left.exists()


def test_tables_hold_the_numbers(study: Path) -> None:
    assert pl.read_csv(study / "report/tables/results.csv").height == 24
    table = pl.read_csv(study / "report/tables/table.csv")
    line = table.filter(
        (pl.col("row") == "mixed") & (pl.col("architecture") == "fpn") & (pl.col("measure") == "mean_foreground_iou")
    ).row(0, named=True)
    assert line["mean"] == pytest.approx(0.605)
    assert line["gain_points"] == pytest.approx(10.0)


def test_page_says_what_came_out(page: str) -> None:
    assert "FPN: adding 40 synthetic images raises the mean foreground IoU: +17.0 points [+17.0, +17.0]" in page
    assert "raises the mean foreground IoU for U-Net++ and FPN (2 of 2 architectures)" in page
    assert "are corrected for their number (Holm)" in page
    assert "good pictures alarmed" in page
    assert "90 % of its real-image IoU" in page
    assert "(U-Net++ with tiny)" in page
    assert "between 100 and 140 optimiser steps" in page
    assert "<td>2.0 h</td>" in page
    assert "Unfinished" not in page
    assert "with the encoder resnet18 (no pretrained weights)" in page
    assert "A class that no test image shows has no\nIoU, predicted or not" in page


def test_hostile_names_are_escaped(page: str) -> None:
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_page_loads_nothing(page: str) -> None:
    loaded = re.findall(r'(?:src|srcset|href)\s*=\s*"([^"]*)"|url\(([^)]*)\)', page)
    addresses = [first or second for first, second in loaded]
    assert addresses
    relative = re.compile(r"(figures|tables)/[\w.-]+$")
    embedded = ("data:image/", "data:text/plain")
    assert all(address.startswith(embedded) or relative.match(address) for address in addresses)
    assert "@import" not in page


def test_only_pictures_of_the_gallery_are_embedded(page: str) -> None:
    # The overlay points outside the gallery, the truth is gone; both leave a placeholder.
    assert page.count("picture missing") == 2


@pytest.mark.usefixtures("fast")
def test_gallery_audit_and_costs_may_be_absent(tmp_path: Path) -> None:
    text = report(write_study(tmp_path / "study", gallery=False)).read_text("utf-8")
    assert "Real and synthetic images with their masks" not in text
    assert "Do the synthetic images follow" not in text
    assert "training of 8 networks" in text


@pytest.mark.usefixtures("fast")
def test_sets_are_shown_beside_each_other(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", gallery=False)
    figures = {name: {"value": 0.25, "low": 0.125, "high": 0.5} for name in ("kid", "fid", "precision", "recall")}
    figures |= dict.fromkeys(("density", "coverage"), figures["kid"])
    fidelity = {"features": "a network", "synthetic": figures, "held_out": None}
    copying = {"verdict": None, "why": "there are too few"}
    (tmp_path / "few").mkdir()
    few = write_audit(tmp_path / "few" / "audit.json", fidelity=fidelity, copying=copying, num_real_backgrounds=0)
    Image.new("RGB", (4, 4)).save(tmp_path / "few" / "worst.png")
    many = write_audit(tmp_path / "audit.json", agreement=0.5)
    text = report(study, audits={"8 steps": few, HOSTILE: many}).read_text("utf-8")
    assert "<th>8 steps</th><td>90 %</td><td>0.250 [0.125, 0.500]</td>" in text
    assert "<td>50 %</td><td>–</td>" in text
    assert "features of a network" in text
    assert "Copying could not be tested." in text
    assert "nearest training pictures" in text
    assert "<script" not in text


@pytest.mark.usefixtures("fast")
def test_sets_beside_each_other_show_no_share_of_a_judge_that_cannot_read(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", gallery=False)
    weak = write_audit(tmp_path / "weak.json", real_iou=0.02, synthetic_iou=0.06, agreement=3.0)
    text = report(study, audits={"weak": weak, "good": write_audit(tmp_path / "good.json")}).read_text("utf-8")
    assert "<th>weak</th><td>–</td>" in text
    assert "<th>good</th><td>90 %</td>" in text
    assert "300 %" not in text


@pytest.mark.usefixtures("fast")
def test_a_leak_is_said_before_anything_else(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", gallery=False)
    facts = yaml.safe_load((study / "study.yaml").read_text("utf-8"))
    (study / "study.yaml").write_text(yaml.safe_dump(facts | {"leaks": ["1 picture of 'train' is in 'test'"]}))
    text = report(study).read_text("utf-8")
    assert text.index("its figures prove nothing:") < text.index("What came out")


@pytest.mark.usefixtures("fast")
def test_unfinished_study_says_so(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study")
    write_results(study, leave_out=3)
    assert "Unfinished: 7 of 8 networks" in report(study).read_text("utf-8")


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize(
    ("agreement", "shuffled", "words"),
    [
        (0.5, 0.45, "not shown"),
        (0.6, 0.1, "wrong labels"),
        (1.2, 0.1, "vary less"),
        (None, None, "not defined"),
    ],
)
def test_agreement_in_words(tmp_path: Path, agreement: float | None, shuffled: float | None, words: str) -> None:
    study = write_study(tmp_path / "study")
    audit = write_audit(tmp_path / "audit.json", agreement=agreement, shuffled_agreement=shuffled)
    assert words in report(study, audit=audit).read_text("utf-8")


def test_missing_results_say_what_to_do(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study")
    (study / "results.parquet").unlink()
    with pytest.raises(DataError, match=r"no finished cells.*isdm evaluate"):
        report(study)


def test_damaged_results_are_named(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study")
    (study / "results.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(DataError, match=r"results\.parquet cannot be read"):
        report(study)


def test_folder_without_study(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no study folder\. Make one"):
        report(tmp_path)
    write_study(tmp_path / "study", gallery=False)
    with pytest.raises(DataError, match=r"no study folder\. Did you mean .*study\?"):
        report(tmp_path)


def test_torch_and_pyplot_stay_out() -> None:
    code = "import sys, isdm.report; sys.exit(bool({'torch', 'matplotlib.pyplot'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
