"""The studio in a real browser: by keyboard alone, by finger, on a phone's width, and with the network off."""

import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isdm.data.dataset import SegmentationDataset
from isdm.data.judgements import read_judgements
from studios import SIDE_PX, many_classes, serving

pytestmark = [pytest.mark.browser, pytest.mark.slow]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_MS = 120_000
MOST_TABS = 40
"""However many photographs, defects and classes there are."""
WHOLE_MASK_IS = "[...atob(sessionStorage.getItem('mask'))].every(c => c.charCodeAt(0) === {})"
OFFLINE = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--no-sandbox"]
"""No name leads anywhere, so that the browser reaches this machine alone."""


@pytest.fixture(autouse=True)
def server_is_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The studio's process reaches this machine alone."""
    connect = socket.socket.connect

    def only_here(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not str(address[0]).startswith(("127.", "::1", "localhost")):
            raise OSError(101, f"Network is unreachable: {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_here)


@pytest.fixture
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    executable = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if executable is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=executable, args=OFFLINE)
        yield opened
        opened.close()


class Visit:
    """A page of the studio, and what went wrong or out on it."""

    def __init__(self, browser: Any, address: str, width: int = 1280, *, has_touch: bool = False) -> None:
        self.page = browser.new_page(
            viewport={"width": width, "height": 900}, has_touch=has_touch, is_mobile=has_touch
        )
        self.page.set_default_timeout(PATIENCE_MS)
        self.problems: list[str] = []
        own = (address.partition("#")[0], "data:", "blob:")
        self.page.on("console", lambda told: self.problems.append(told.text) if told.type == "error" else None)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda to: None if to.url.startswith(own) else self.problems.append(to.url))
        self.open(address)

    def open(self, address: str) -> None:
        self.page.goto(address)
        self.page.wait_for_selector("body[data-ready]")

    def tab_to(self, selector: str) -> None:
        """Press Tab until the focus is there: nothing else reaches it for who has no pointer."""
        for _ in range(MOST_TABS):
            if self.page.evaluate("at => document.activeElement.matches(at)", selector):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"Tab never reaches {selector}")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def wait(self, condition: str) -> None:
        """Wait until a condition in JavaScript holds (the page's own policy forbids Playwright's way of doing it)."""
        end = time.monotonic() + PATIENCE_MS / 1000
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, condition
            self.page.wait_for_timeout(50)

    @property
    def mask(self) -> bytes:
        return bytes(self.page.evaluate("[...atob(sessionStorage.getItem('mask'))].map(c => c.charCodeAt(0))"))


def test_paint_generate_and_add_by_keyboard_alone(
    browser: Any, model: Path, parts: SegmentationDataset, tmp_path: Path
) -> None:
    with serving(model, parts.folder, None, tmp_path / "painted") as address:
        visit = Visit(browser, address)
        visit.tab_to("#canvas")
        visit.press("[", "[", "[", "[", "Space", "ArrowRight", "ArrowRight", "ArrowRight", "Space", "ArrowDown")
        painted = visit.mask
        assert set(painted) == {0, 1}, "whole class ids, no colours between them at edges"
        assert painted.count(1) == 4, "a line of one pixel's width from the middle"
        visit.press("Control+z")
        assert set(visit.mask) == {0}
        visit.press("Control+y")
        assert visit.mask == painted
        visit.tab_to("#variants")
        visit.press("Control+a", "2")
        visit.tab_to("#steps")
        visit.press("Control+a", "3")
        visit.tab_to("#generate")
        visit.press("Enter")
        visit.wait("document.getElementById('job').textContent.startsWith('2 picture(s)')")
        visit.tab_to("#pictures figure:nth-child(2) button")
        visit.press("Enter")
        visit.wait("document.getElementById('saved').textContent.startsWith('1 pair')")
        visit.page.reload()
        visit.wait("document.querySelectorAll('#pictures img').length === 2")
        assert visit.mask == painted, "a reload loses nothing"
        assert visit.problems == []
    painted_set = SegmentationDataset(tmp_path / "painted")
    _, mask = painted_set.load(painted_set.pairs("train")[0])
    assert mask.tobytes() == painted


def test_pointer_defect_and_refusal(browser: Any, model: Path, parts: SegmentationDataset, tmp_path: Path) -> None:
    with serving(model, parts.folder, None, tmp_path / "painted") as address:
        visit = Visit(browser, address)
        page = visit.page
        page.click("#photos button >> nth=0")
        page.wait_for_selector("#no-photo:not([hidden])")
        page.click("#generate")
        page.wait_for_selector("#error:not([hidden])")
        assert "Nothing is painted" in page.inner_text("#error")
        before = visit.mask
        page.click("#defects button >> nth=0")
        assert page.input_value("#size") == "100"
        page.press("#canvas", "+")
        assert page.input_value("#size") == "110"
        page.click("#canvas")
        assert visit.mask != before
        assert set(visit.mask) <= {0, 1}
        page.click("#undo")
        assert visit.mask == before
        assert [told for told in visit.problems if "400" not in told] == []


def test_defects_are_remembered_as_long_as_the_mask_holds_them(
    browser: Any, model: Path, parts: SegmentationDataset, tmp_path: Path
) -> None:
    with serving(model, parts.folder, None, tmp_path / "painted") as address:
        visit = Visit(browser, address)
        page = visit.page

        def used() -> list[int]:
            found: list[int] = page.evaluate("JSON.parse(sessionStorage.getItem('painting')).used")
            return found

        for number in range(2):
            page.click(f"#defects button >> nth={number}")
            page.click("#canvas")
        assert used() == [0, 1]
        for button, expected in (("undo", [0]), ("undo", []), ("redo", [0]), ("clear", []), ("undo", [0])):
            page.click(f"#{button}")
            assert used() == expected, button
        page.reload()
        visit.wait("JSON.parse(sessionStorage.getItem('painting')).used.length === 1")
        page.click("#defects button >> nth=1")
        page.click("#canvas")
        assert used() == [0, 1]
        assert visit.problems == []


def test_a_page_of_another_studio_begins_anew(
    browser: Any, model: Path, parts: SegmentationDataset, tmp_path: Path
) -> None:
    with serving(model, parts.folder, None, tmp_path / "painted") as address:
        visit = Visit(browser, address)
        visit.page.click("#canvas")
        old = visit.page.evaluate("({ ...sessionStorage })")
        visit.page.reload()
        visit.wait("JSON.parse(sessionStorage.getItem('painting')).inputs !== null")
        assert set(visit.mask) == {0, 1}
    other, data = many_classes(tmp_path, 4)
    with serving(other, data.folder, None, tmp_path / "others") as address:
        visit = Visit(browser, address)
        visit.page.evaluate("old => Object.assign(sessionStorage, old)", old)  # as on one port, one after the other
        visit.page.reload()
        visit.page.wait_for_selector("body[data-ready]")
        visit.page.press("#canvas", "3")
        visit.page.press("#canvas", "f")
        visit.page.click("#canvas", position={"x": 5, "y": 5})
        assert set(visit.mask) == {2}, "nothing was painted before"
        assert visit.problems == []


def test_a_click_beside_the_picture_fills_nothing(
    browser: Any, model: Path, parts: SegmentationDataset, tmp_path: Path
) -> None:
    with serving(model, parts.folder, None, tmp_path / "painted") as address:
        visit = Visit(browser, address)
        visit.page.set_viewport_size({"width": 1280, "height": 500})
        visit.page.check("input[name=tool][value=fill]")
        box = visit.page.locator("#canvas").bounding_box()
        assert box["width"] > box["height"] + 40, "bars left and right of the picture"
        for share in (0.5, 0.99):
            for x in (box["x"] + 10, box["x"] + box["width"] - 10):
                visit.page.mouse.click(x, box["y"] + share * box["height"])
        assert set(visit.mask) == {0}
        visit.page.click("#canvas")
        assert set(visit.mask) == {1}
        assert visit.problems == []


def test_photographs_are_chosen_with_arrow_keys(
    browser: Any, model: Path, parts: SegmentationDataset, tmp_path: Path
) -> None:
    with serving(model, parts.folder, None, tmp_path / "painted") as address:
        visit = Visit(browser, address)
        visit.tab_to("#photos button")
        visit.press("ArrowRight", "ArrowRight", "ArrowLeft", "Enter")
        visit.page.wait_for_selector("#photos button:nth-child(2)[aria-pressed=true]")
        visit.tab_to("#generate")
        visit.page.keyboard.press("Shift+Tab")
        for _ in range(MOST_TABS):
            if visit.page.evaluate("document.activeElement.matches('#photos button:nth-child(2)')"):
                break
            visit.page.keyboard.press("Shift+Tab")
        else:
            raise AssertionError("going back does not lead to the chosen photograph")
        visit.press("End")
        last = f"#photos button:nth-child({len(parts.pairs('train'))})"
        assert visit.page.evaluate("at => document.activeElement.matches(at)", last)
        assert visit.problems == []


def test_two_hundred_classes_by_keyboard(browser: Any, tmp_path: Path) -> None:
    model, data = many_classes(tmp_path, 200)
    with serving(model, data.folder, None, tmp_path / "painted") as address:
        visit = Visit(browser, address)
        visit.tab_to("#filter")
        visit.page.keyboard.type("class_173")
        assert visit.page.locator("#classes label:visible").count() == 1
        visit.press("Enter")
        visit.tab_to("#classes input")
        assert visit.page.evaluate("document.activeElement.value") == "173"
        visit.tab_to("#canvas")
        visit.press("f", "Space")
        assert set(visit.mask) == {173}
        visit.tab_to("#filter")
        visit.press("Control+a", "Delete")
        visit.tab_to("#classes input")
        visit.press("ArrowDown")
        visit.tab_to("#canvas")
        visit.press("b", "[", "[", "[", "[", "Space", "Space")
        assert set(visit.mask) == {173, 174}
        visit.tab_to("#steps")
        visit.press("Control+a", "2", "Control+Enter")
        visit.wait("document.getElementById('job').textContent.startsWith('4 picture(s)')")
        assert visit.problems == []


def test_a_finger_paints_and_does_not_scroll(
    browser: Any, model: Path, parts: SegmentationDataset, tmp_path: Path
) -> None:
    with serving(model, parts.folder, None, tmp_path / "painted") as address:
        visit = Visit(browser, address, width=390, has_touch=True)
        page = visit.page
        page.locator("#canvas").scroll_into_view_if_needed()
        box = page.locator("#canvas").bounding_box()
        scrolled = page.evaluate("scrollY")
        finger = page.context.new_cdp_session(page)

        def touch(kind: str, *places: tuple[float, float]) -> None:
            points = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for x, y in places]
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        touch("touchStart", (0.5, 0.1))
        for share in (0.3, 0.5, 0.7, 0.9):
            touch("touchMove", (0.5, share))
        touch("touchEnd")
        column = [visit.mask[row * SIDE_PX + SIDE_PX // 2] for row in range(2, SIDE_PX - 2)]
        assert column == [1] * (SIDE_PX - 4), "a line from the top to the bottom"
        assert visit.mask[0] == 0
        assert page.evaluate("scrollY") == scrolled
        page.tap("#undo")
        visit.wait(WHOLE_MASK_IS.format(0))
        page.tap("input[name=tool][value=fill]")
        page.tap("#canvas")
        visit.wait(WHOLE_MASK_IS.format(1))
        assert visit.problems == []


def test_keep_and_drop_by_keyboard(
    browser: Any, model: Path, parts: SegmentationDataset, synthetic: Path, tmp_path: Path
) -> None:
    with serving(model, parts.folder, synthetic, tmp_path / "painted") as address:
        visit = Visit(browser, f"{address}/#judge")
        visit.wait("document.getElementById('position').textContent.startsWith('1 of 5')")
        for key, place in (("d", 2), ("k", 3), ("ArrowRight", 4)):
            visit.press(key)
            visit.wait(f"document.getElementById('position').textContent.startsWith('{place} of 5')")
        visit.tab_to("#drop")
        visit.press("Enter")
        visit.wait("document.getElementById('position').textContent.startsWith('5 of 5')")
        visit.wait("document.querySelectorAll('#nearest img').length > 0")
        visit.page.reload()
        visit.wait("document.getElementById('tally').textContent.startsWith('1 kept · 2 dropped · 2 open')")
        assert visit.problems == []
    names = [pair.metadata["image_file_name"] for pair in SegmentationDataset(synthetic).all_pairs("train")]
    verdicts = read_judgements(synthetic / "train")
    assert verdicts == {names[0]: False, names[1]: True, names[3]: False}
    assert len(SegmentationDataset(synthetic).pairs("train")) == 3


def test_a_dataset_without_pairs_has_nothing_to_judge(
    browser: Any, model: Path, parts: SegmentationDataset, synthetic: Path, tmp_path: Path
) -> None:
    (synthetic / "train" / "metadata.jsonl").write_text("", "utf-8")
    with serving(model, parts.folder, synthetic, tmp_path / "painted") as address:
        visit = Visit(browser, f"{address}/#judge")
        visit.wait("document.getElementById('position').textContent.endsWith('holds no pairs to judge.')")
        assert visit.page.locator("#judge button:visible, #judge select:visible").count() == 0


def test_long_class_names_and_tall_pictures_fit(browser: Any, tmp_path: Path) -> None:
    name = "delamination_of_the_outer_layer_at_its_very_edge_number_"
    model, data = many_classes(tmp_path, 12, (96, SIDE_PX), name)
    with serving(model, data.folder, None, tmp_path / "painted") as address:
        visit = Visit(browser, address, width=390)
        cut_off = "(list => list.scrollWidth > list.clientWidth)(document.getElementById('classes'))"
        assert not visit.page.evaluate(cut_off)
        visit.page.fill("#steps", "2")
        visit.page.click("#generate")
        visit.wait("document.getElementById('job').textContent.startsWith('4 picture(s)')")
        assert visit.page.locator("#pictures img").first.bounding_box()["height"] <= 540
        visit.page.press("#canvas", "Shift+F")
        assert visit.page.is_checked("input[value=fill]"), "as with Caps Lock"


def test_the_next_pictures_do_not_wait_for_those_that_nobody_will_see(
    browser: Any, model: Path, parts: SegmentationDataset, tmp_path: Path
) -> None:
    with serving(model, parts.folder, None, tmp_path / "painted") as address:
        visit = Visit(browser, address)
        for steps in ("1000", "2"):
            visit.page.fill("#steps", steps)
            visit.page.click("#generate")
            visit.wait("document.getElementById('cancel').hidden === false")
        visit.wait("document.getElementById('job').textContent.startsWith('4 picture(s)')")
        first = visit.page.evaluate("fetch('/api/jobs/1').then(answer => answer.json())")
        assert first["state"] == "cancelled"
        assert [told for told in visit.problems if "400" not in told] == []


@pytest.mark.parametrize("tab", ["paint", "judge"])
def test_nothing_is_cut_off_on_a_phone(
    browser: Any, model: Path, parts: SegmentationDataset, synthetic: Path, tmp_path: Path, tab: str
) -> None:
    with serving(model, parts.folder, synthetic, tmp_path / "painted") as address:
        visit = Visit(browser, f"{address}/#{tab}", width=390)
        visit.page.wait_for_load_state("networkidle")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
        assert visit.problems == []
