"""Draw studio.png, the picture of the studio in the guide: a defect painted on a photograph, in Chromium.

python docs/images/make_studio.py MODEL DATASET
"""

import shutil
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn
from playwright.sync_api import Page, sync_playwright

from isdm.studio.app import make_app
from isdm.studio.bench import open_bench
from isdm.studio.server import open_socket

PICTURE = Path(__file__).with_name("studio.png")
PHOTOGRAPH = 3
KEYS = ("ArrowLeft", "ArrowUp", "ArrowUp", "Space", *["ArrowRight"] * 4, *["ArrowDown"] * 3, "Space")


def paint(page: Page) -> None:
    """Choose a photograph and the third class, draw a line, let it be painted."""
    page.click(f"#photos button:nth-child({PHOTOGRAPH})")
    page.wait_for_selector("#no-photo:not([hidden])")
    page.click("#classes label:nth-child(3)")
    page.focus("#canvas")
    for key in KEYS:
        page.keyboard.press(key)
    page.click("#generate")
    while "picture(s)" not in page.inner_text("#job"):
        page.wait_for_timeout(200)
    page.click("#pictures figure:nth-child(1) button")
    page.wait_for_timeout(2000)


def main(model: Path, data: Path) -> None:
    """Serve a studio and take its picture."""
    with TemporaryDirectory() as folder:
        app = make_app(open_bench(model, data, None, Path(folder) / "painted", "auto"))
        opened = open_socket("127.0.0.1", 0)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
        threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True).start()
        while not server.started:
            time.sleep(0.05)
        with sync_playwright() as running:
            browser = running.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 860})
            page.set_default_timeout(120_000)
            page.goto(f"http://127.0.0.1:{opened.getsockname()[1]}/")
            page.wait_for_selector("body[data-ready]")
            paint(page)
            page.evaluate("document.getElementById('saved').textContent = '1 pair(s) so far in painted.'")
            page.screenshot(path=PICTURE, full_page=True)
            browser.close()
        server.should_exit = True


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
