import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from isdm.config import AuditConfig, build
from isdm.data.dataset import DatasetInfo, SegmentationDataset, write_metadata, write_pair
from isdm.report.agreement import agreement
from isdm.report.audit_page import write_audit_page
from isdm.report.audit_text import copying_verdict, fidelity_rows, lead, light_warning, shares, weak_judge
from isdm.report.realism import realism
from isdm.synthesis.audit import audit


def as_synthetic(fruit: SegmentationDataset, split: str, noise: float, folder: Path) -> SegmentationDataset:
    """Real pictures, a little noised, in place of synthetic ones."""
    rng = np.random.default_rng(0)
    info = DatasetInfo("<script>alert(1)</script>", fruit.info.classes)
    lines = []
    for index, pair in enumerate(fruit.pairs(split)):  # type: ignore[arg-type]
        image, mask = fruit.load(pair)
        noisy = (image + rng.normal(0, noise, image.shape)).clip(0, 255).astype(np.uint8)
        names = {"image_file_name": f"images/{index}.png", "mask_file_name": f"masks/{index}.png"}
        write_pair(folder / "train", names, noisy, mask, info)
        lines.append(names | {"group": pair.group, "source_mask": pair.stem})
    write_metadata(folder / "train", lines)
    info.write(folder)
    return SegmentationDataset(folder)


CONFIG = build(
    AuditConfig,
    {
        "architecture": "unet",
        "encoder": "resnet18",
        "encoder_weights": "none",
        "epochs": 1,
        "batch_size": 8,
        "precision": "float32",
        "device": "cpu",
        "extractor": "segmenter",
        "resamples": 50,
        "significance": 0.05,
    },
)


class Sources(HTMLParser):
    """Every address that a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.found += [value or "" for name, value in attrs if name in ("src", "srcset", "href")]


def test_the_page_says_that_copies_are_copies(fruit: SegmentationDataset, tmp_path: Path) -> None:
    copies = as_synthetic(fruit, "train", 4, tmp_path / "copies")
    found = audit(CONFIG, copies, fruit, tmp_path / "audit")
    page = write_audit_page(tmp_path / "audit", copies, fruit).read_text()
    assert found["copying"]["pixels"]["share_synthetic"] > 0.9
    assert found["copying"]["pixels"]["share_held_out"] == 0
    assert len(found["worst"]) == len(copies.pairs("train"))
    lines = [json.loads(line) for line in (tmp_path / "audit" / "nearest.jsonl").read_text().splitlines()]
    real = [pair.metadata["image_file_name"] for pair in fruit.pairs("train")]
    assert [line["pixels"]["nearest"] for line in lines] == real
    assert all(line["pixels"]["ratio"] < 0.5 for line in lines)
    assert found["fidelity"]["features"] == "resnet18 of the segmenter trained on the real images"
    assert found["fidelity"]["synthetic"]["precision"]["value"] > 0.8
    assert audit(CONFIG, copies, fruit, tmp_path / "audit") == found
    sources = Sources()
    sources.feed(page)
    assert sources.scripts == 0
    assert all(address.startswith("data:") for address in sources.found)
    assert "&lt;script&gt;" in page
    text = re.sub(r"\s+", " ", page)
    assert found["fidelity"]["features"] in text
    assert f"The {len(found['worst'])} pictures most like copies" in text
    with Image.open(tmp_path / "audit" / "worst.png") as sheet:
        assert sheet.width > sheet.height / 4


def figures(verdict: str | None, **changes: Any) -> dict[str, Any]:
    test = {"share_synthetic": 0.4, "share_held_out": 0.0, "p_copies": 0.0005, "p_closer": 0.001}
    copying: dict[str, Any] = {"verdict": verdict, "can_tell": True, "pixels": test, "features": test}
    base = {"copying": copying, "num_real_backgrounds": 0, "agreement": 0.9, "shuffled_agreement": 0.1}
    return base | changes


def test_the_words_are_those_of_the_verdict() -> None:
    assert "copies training pictures (p = 0.0005)" in copying_verdict(figures("copies"))["headline"]
    assert copying_verdict(figures("no sign"))["headline"] == "No sign of copying."
    assert copying_verdict(figures("closer"))["headline"].startswith("No more copies than chance gives, but closer")
    none = figures("closer")
    none["copying"]["pixels"]["share_synthetic"] = 0.0
    assert copying_verdict(none)["headline"].startswith("No copies, but closer")
    none["copying"]["decided_by"] = {"verdict": "closer", "measure": "pixels", "test": "p_closer", "p": 0.001}
    assert copying_verdict(none)["headline"].endswith("new real ones are (closer by pixels, p = 0.0010).")
    copies = figures("copies")
    copies["copying"]["decided_by"] = {"verdict": "copies", "measure": "features", "test": "p_copies", "p": 0.002}
    assert "training pictures (more copies by features, p = 0.0020)." in copying_verdict(copies)["headline"]
    weak = figures("no sign")
    weak["copying"]["can_tell"] = False
    assert "too few held-out groups" in copying_verdict(weak)["why"]
    assert copying_verdict(weak)["why"].endswith("judge by the pictures below.")
    assert copying_verdict(weak, "on the page")["why"].endswith("judge by the pictures on the page.")
    assert "real backgrounds on purpose" in copying_verdict(figures("no sign", num_real_backgrounds=3))["why"]
    untested = figures(None)
    untested["copying"] = {"verdict": None, "why": "there is a single group"}
    assert "could not be tested" in copying_verdict(untested)["headline"]
    assert "0.90" in lead(figures("copies"))
    assert "undefined" in lead(figures("copies", agreement=None))
    assert "not shown that the images follow their masks" in lead(figures("copies", shuffled_agreement=0.85))
    assert "not shown" not in lead(figures("copies", shuffled_agreement=0.1))


@pytest.mark.parametrize(
    ("ends", "said", "in_percent"),
    [
        (None, "0.90 of the IoU", "90 %"),
        ({"low": None, "high": None}, "0.90 of the IoU", "90 %"),
        ({"low": 0.751, "high": 1.049}, "0.90 [0.75, 1.05] of the IoU", "90 % [75, 105]"),
        ({"low": 0.751, "high": None}, "0.90 [0.75, …] of the IoU", "90 % [75, …]"),
    ],
)
def test_the_agreement_stands_with_its_interval(
    ends: dict[str, float | None] | None, said: str, in_percent: str
) -> None:
    given = figures("copies") | ({} if ends is None else {"agreement_interval": ends})
    assert said in lead(given)
    assert agreement(given)["ratio"] == in_percent


def test_a_judge_that_hardly_reads_real_images_is_not_quoted() -> None:
    weak = figures("no sign", real_iou=0.049, synthetic_iou=0.186, shuffled_iou=0.005, agreement=3.79)
    weak["agreement_interval"] = {"low": 2.1, "high": 5.5}
    for said in (lead(weak), agreement(weak)["meaning"]):
        assert "hardly reads real held-out images (IoU 0.049)" in said
        assert "IoU of 0.186, those of others with 0.005" in said
        assert "3.79" not in said
    assert agreement(weak)["ratio"] == agreement(weak)["shuffled"] == "–"
    assert shares(weak) == (None, None)
    assert weak_judge(weak | {"real_iou": 0.1}) is None
    assert agreement(weak | {"real_iou": 0.1})["ratio"].startswith("379 %")
    assert "3.79" in lead(weak | {"real_iou": 0.1})
    assert weak_judge({}) is None, "an audit without the figure"


def sides(synthetic: tuple[float, float], count: int = 100) -> dict[str, Any]:
    real = {"real": {"mean": 0.4, "spread": 0.1}, "held_out": {"mean": 0.42, "spread": 0.12}}
    light = real | {"synthetic": {"mean": synthetic[0], "spread": synthetic[1]}}
    return {"light": light, "num_synthetic_images": count}


@pytest.mark.parametrize("synthetic", [(0.4, 0.1), (0.45, 0.1), (0.36, 0.17), (0.42, 0.085)])
def test_pictures_in_the_light_of_real_ones_are_no_news(synthetic: tuple[float, float]) -> None:
    assert light_warning(sides(synthetic)) is None


@pytest.mark.parametrize("synthetic", [(0.47, 0.1), (0.33, 0.12), (0.4, 0.19), (0.4, 0.07)])
def test_another_light_is_told(synthetic: tuple[float, float]) -> None:
    said = light_warning(sides(synthetic))
    assert said is not None
    assert f"is {synthetic[0]:.2f} and varies by {synthetic[1]:.2f}" in said
    assert "0.40 and varies by 0.10" in said
    assert light_warning(sides(synthetic, count=29)) is None, "too few to tell"


def test_an_audit_that_did_not_look_at_the_light() -> None:
    assert light_warning({"num_synthetic_images": 100}) is None


def test_figures_stand_with_their_intervals() -> None:
    wide = {"value": 1234.5, "low": 1000.0, "high": 1500.0}
    side = dict.fromkeys(("kid", "fid", "precision", "recall", "density"), wide)
    side |= {"coverage": {"value": 0.5, "low": None, "high": None}}  # type: ignore[dict-item]
    side |= {"density": {"value": 0.5, "low": 0.4, "high": None}}  # type: ignore[dict-item]
    side |= {"kid": dict.fromkeys(("value", "low", "high"))}
    rows = {row["name"]: row for row in fidelity_rows({"synthetic": side})}
    assert rows["KID"]["synthetic"] == "undefined (a single group)"
    assert rows["FID"]["synthetic"] == "1234 [1000, 1500]"
    assert rows["density"]["synthetic"] == "0.500"
    assert rows["coverage"]["synthetic"] == "0.500"
    assert rows["FID"]["held_out"] == "too few pictures"


def test_new_real_pictures_are_no_copies(fruit: SegmentationDataset, tmp_path: Path) -> None:
    innocent = as_synthetic(fruit, "test", 0, tmp_path / "new")
    found = audit(CONFIG, innocent, fruit, tmp_path / "audit")
    assert found["copying"]["verdict"] == "no sign"
    assert found["num_real_backgrounds"] == 0


def test_the_page_begins_with_realism(fruit: SegmentationDataset, tmp_path: Path) -> None:
    noise = as_synthetic(fruit, "test", 200, tmp_path / "noise")
    found = audit(CONFIG, noise, fruit, tmp_path / "audit")
    page = re.sub(r"\s+", " ", write_audit_page(tmp_path / "audit", noise, fruit).read_text())
    told = page[page.index("In short") :]
    assert realism(found)["headline"] in told
    assert told.index(realism(found)["headline"]) < told.index(copying_verdict(found)["headline"])


def test_a_judge_that_sees_nothing_has_no_share_of_real(fruit: SegmentationDataset, tmp_path: Path) -> None:
    innocent = as_synthetic(fruit, "test", 0, tmp_path / "new")
    found = audit(CONFIG, innocent, fruit, tmp_path / "audit")
    nothing = dict.fromkeys(("real_iou", "synthetic_iou", "shuffled_iou"), 0.0)
    nothing |= dict.fromkeys(("agreement", "shuffled_agreement"))  # type: ignore[arg-type]
    (tmp_path / "audit" / "audit.json").write_text(json.dumps(found | nothing))
    page = write_audit_page(tmp_path / "audit", innocent, fruit).read_text()
    assert "<th>share of real</th><td>–</td><td>–</td><td>–</td>" in page
