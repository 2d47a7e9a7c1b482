"""The handbook's tours are walked for real: every command in order, on the built-in pictures.

What is changed, and nothing else: numbers of pictures, steps, epochs and repeats become the smallest that still do
something, and networks become narrow, so that a tour takes seconds. What a page's figures show needs its own numbers.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handbook_pages import DOCS, PAGES, ROOT, Block, blocks, commands, isdm_arguments, python_snippets
from isdm.cli.app import app
from isdm.data.builtin import generate_fruit_views
from saved_images import save_image

NARROW = ["--set", "unet.base_channels=8", "--set", "unet.spade_channels=8", "--set", "unet.norm_groups=4"]
SMALLEST: dict[str, dict[str, str]] = {
    "data import": {"--size": "32", "--window": "48"},
    "train": {"--steps": "2"},
    "finetune": {"--steps": "1"},
    "sample": {"-n": "6", "--steps": "3", "--variants": "1"},
    "select": {"--epochs": "1", "--best-of": "1"},
    "audit": {"--epochs": "1"},
    "evaluate": {"--epochs": "1", "--repeats": "1", "--synthetic-counts": "0,4"},
}
ALWAYS: dict[str, list[str]] = {
    "train": ["--steps", "2", *NARROW, "--set", "batch_size=2"],
    "finetune": ["--steps", "1", "--set", "batch_size=2"],
    "select": [
        "--epochs",
        "1",
        "--encoder",
        "mobilenet_v2",
        "--set",
        "criteria=[copies]",
        "--set",
        "extractor=segmenter",
    ],
    "audit": ["--epochs", "1", "--encoder", "mobilenet_v2", "--extractor", "segmenter", "--set", "resamples=20"],
    "evaluate": [
        *("--epochs", "1", "--repeats", "1", "--encoder", "mobilenet_v2", "--architectures", "fpn"),
        *("--encoder-weights", "none", "--set", "primary.synthetic=4", "--set", "batch_size=8"),
    ],
}


def smaller(arguments: list[str]) -> list[str]:
    """The same command with the least work."""
    name = " ".join(arguments[: 2 if arguments[0] == "data" else 1])
    given = list(arguments)
    for option, value in SMALLEST.get(name, {}).items():
        if option in given:
            given[given.index(option) + 1] = value
    return [*given, *ALWAYS.get(name, [])]


def walked(page: Path, heading: str | None = None) -> Iterator[tuple[Block, str]]:
    """The blocks of a page, or of one of its sections, that a reader would run, in order."""
    text = page.read_text("utf-8").splitlines()
    starts = [i for i, line in enumerate(text) if line.startswith("## ")] + [len(text)]
    first = next(i for i in starts if heading is None or text[min(i, len(text) - 1)] == f"## {heading}")
    last = len(text) if heading is None else next(i for i in starts if i > first)
    for block in blocks(page):
        if heading is None or first < block.line <= last:
            for line in commands(block):
                yield block, line
            if block.language == "python":
                yield block, ""


def walk(page: Path, heading: str | None = None) -> int:
    """Run a tour in the current folder; the number of steps taken."""
    import shlex

    taken = 0
    for block, line in walked(page, heading):
        words = shlex.split(line, comments=True)
        arguments = isdm_arguments(words) if words else None
        if not words:
            run_python(block)
        elif arguments is not None:
            app(smaller(arguments), standalone_mode=False)
        else:
            continue
        taken += 1
    return taken


def run_python(block: Block) -> dict[str, Any]:
    code = re.sub(r"num_fruits=\d+", "num_fruits=10", block.text)
    code = re.sub(r"num_views=\d+", "num_views=2", code)
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(code, str(block), "exec"), names)
    return names


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
