"""The page of a study in a real browser: nothing is fetched, nothing fails, nothing is cut off on a phone."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from described import write_dataset
from isdm.report import report
from isdm.report.dataset_page import describe_dataset
from studies import write_audit, write_study

pytestmark = [pytest.mark.browser, pytest.mark.slow]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(tmp_path: Path, width: int, scheme: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    executable = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if executable is None:
        pytest.skip("no Chromium is installed")
    study = write_study(tmp_path / "study")
    page_file = report(study, audit=write_audit(study / "audit.json"))
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url) if is_fetched(request.url) else None)
        page.goto(page_file.as_uri())
        page.wait_for_load_state("networkidle")
        assert problems == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator(".verdict .headline").bounding_box()["y"] < 900
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        with page.expect_download() as download:
            page.click("a[download='comparisons.csv']")
        saved = Path(download.value.path()).read_text("utf-8")
        assert saved == (study / "report" / "tables" / "comparisons.csv").read_text("utf-8")
        browser.close()


def test_a_dataset_with_long_class_names_fits_on_a_phone(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    executable = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if executable is None:
        pytest.skip("no Chromium is installed")
    mask = np.zeros((20, 20), np.uint8)
    mask[3:9, 3:9], mask[15, 15] = 1, 2
    names = ("background", "delamination_of_the_outer_layer_at_its_very_edge_of_the_part", "dent")
    describe_dataset(write_dataset(tmp_path / "tiles", {"train": [mask] * 3}, names), tmp_path / "page")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 900})
        page.goto((tmp_path / "page" / "index.html").as_uri())
        assert "5 % of the defective pixels" in page.inner_text("main")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        browser.close()


def is_fetched(url: str) -> bool:
    return not url.startswith(("data:", "file:", "blob:"))
