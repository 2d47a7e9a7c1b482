"""What an audit and a study print agrees with their pages and names what is on them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from isdm.cli.results import print_audit, print_results
from studies import write_study


def found(**changes: Any) -> dict[str, Any]:
    one, other = ({"value": value, "low": value, "high": value} for value in (0.0, 0.9))
    names = ("kid", "fid", "precision", "recall", "density", "coverage")
    test = {"share_synthetic": 0.0, "share_held_out": 0.0, "p_copies": 1.0, "p_closer": 1.0}
    values = {
        "real_iou": 0.5,
        "synthetic_iou": 0.4,
        "shuffled_iou": 0.1,
        "agreement": 0.8,
        "shuffled_agreement": 0.2,
        "num_synthetic_images": 10,
        "num_real_backgrounds": 0,
        "fidelity": {
            "features": "x",
            "synthetic": dict.fromkeys(names, one),
            "held_out": dict.fromkeys(names, other),
        },
        "copying": {"verdict": "no sign", "can_tell": False, "pixels": test, "features": test},
    }
    return values | changes


def printed(audit: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    print_audit(audit)
    return " ".join(capsys.readouterr().out.split())


def test_realism_is_told_and_the_page_named(capsys: pytest.CaptureFixture[str]) -> None:
    said = printed(found(), capsys)
    assert "The pictures do not look real: precision 0.00, real ones 0.90." in said
    assert "judge by the pictures on the audit's page, its index.html" in said
    assert "below" not in said
    assert "1.000" in said


def test_a_share_of_nothing_is_no_share(capsys: pytest.CaptureFixture[str]) -> None:
    nothing = {"agreement": None, "shuffled_agreement": None}
    assert "1.000" not in printed(found(real_iou=0.0, synthetic_iou=0.0, shuffled_iou=0.0, **nothing), capsys)


def test_what_a_studys_verdict_is_worth_is_told_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = write_study(tmp_path / "study", gallery=False)
    print_results(study)
    assert "leaks" not in capsys.readouterr().out
    facts = yaml.safe_load((study / "study.yaml").read_text("utf-8"))
    (study / "study.yaml").write_text(
        yaml.safe_dump(facts | {"leaks": ["g1 is in both."], "named_late": True}), "utf-8"
    )
    print_results(study)
    said = " ".join(capsys.readouterr().out.split())
    leak, late = "This study leaks, so its figures prove nothing: g1 is in both.", "after another study had read its"
    assert 0 < said.index(leak) < said.index(late) < said.index("raises the mean foreground IoU")


def test_masks_that_do_not_steer_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert "not shown that the images follow their masks" in printed(found(shuffled_agreement=0.75), capsys)
    assert "not shown" not in printed(found(), capsys)
