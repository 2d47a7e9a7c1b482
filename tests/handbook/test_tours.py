"""The handbook's tours are walked for real: every command in order, on the built-in pictures."""

import re
import shutil
from pathlib import Path

import pytest

from handbook_pages import DOCS, PAGES, ROOT, Block, blocks, python_snippets
from handbook_tour import run_python, walk
from isdm.cli.app import app
from isdm.data.builtin import generate_fruit_views
from saved_images import save_image


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `photos` as the pages describe them: part001_0, part001_1, part002_0, …"""
    for view in generate_fruit_views(num_fruits=10, num_views=2, size_px=48, seed=0):
        name = view.name.replace("fruit0", "part").replace("_view", "_") + ".png"
        save_image(tmp_path / "photos" / "images" / name, view.image)
        save_image(tmp_path / "photos" / "masks" / name, view.mask)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_five_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert walk(DOCS / "start.md") >= 6
    assert (tmp_path / "study" / "report" / "index.html").is_file()
    assert "foreground IoU" in (tmp_path / "study" / "report" / "index.html").read_text("utf-8")


@pytest.mark.slow
def test_five_minutes_of_the_readme_and_its_snippet(parts: Path) -> None:
    assert walk(ROOT / "README.md", "Five minutes") >= 8
    assert (parts / "study" / "report" / "index.html").is_file()


@pytest.mark.slow
def test_own_data(parts: Path) -> None:
    assert walk(DOCS / "own-data.md", "2. Import") == 1
    assert walk(DOCS / "own-data.md", "3. Look at it") == 3
    assert (parts / "data-page" / "index.html").is_file()
    assert (parts / "windows" / "dataset.json").is_file()


@pytest.mark.slow
def test_data_guide(parts: Path) -> None:
    walk(DOCS / "data.md")
    assert any((parts / "for-yolo").rglob("*.txt"))


def snippets() -> list[Block]:
    """Python that needs no folder made before it; the others are part of a tour above."""
    found = [block for page in PAGES for block in python_snippets(page)]
    return [block for block in found if block.page not in (DOCS / "start.md", ROOT / "README.md")]


@pytest.mark.parametrize("block", snippets(), ids=str)
def test_python_snippets_print_what_they_say(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run_python(block)
    printed = capsys.readouterr().out.split("\n")
    said = re.findall(r"print\(.*\)  # (.*)", block.text)
    assert [line for line in printed if line] == said


def test_error_messages_of_the_handbook_are_the_real_ones(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from isdm.errors import DataError

    images, masks = parts / "photos" / "images", parts / "photos" / "masks"
    shutil.move(masks / "part003_0.png", masks / "part999_0.png")
    with pytest.raises(DataError) as caught:
        app(["data", "import", "photos", "data"], standalone_mode=False)
    told = str(caught.value)
    assert (images / "part003_0.png").is_file()
    shown = next(block.text for block in blocks(DOCS / "own-data.md") if block.text.startswith("Error: "))
    for line in shown.removeprefix("Error: ").replace("part009", "part999").replace("_left", "_0").splitlines():
        assert line.strip() in told
