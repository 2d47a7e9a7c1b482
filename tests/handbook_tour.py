"""Walking a page of the handbook: its commands for real, with the least work that still does something.

What is changed, and nothing else: numbers of pictures, steps, epochs and repeats become the smallest that still do
something, and networks become narrow, so that a tour takes seconds. What a page's figures show needs its own numbers.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from handbook_pages import Block, blocks, commands, isdm_arguments
from isdm.cli.app import app

NARROW = ["--set", "unet.base_channels=8", "--set", "unet.spade_channels=8", "--set", "unet.norm_groups=4"]
SMALLEST: dict[str, dict[str, str]] = {
    "data import": {"--size": "32", "--window": "48", "--train": "4"},
    "train": {"--steps": "2"},
    "finetune": {"--steps": "1"},
    "sample": {"-n": "6", "--variants": "1"},
    "select": {"--epochs": "1", "--best-of": "1"},
    "audit": {"--epochs": "1"},
    "evaluate": {"--epochs": "1", "--repeats": "1", "--synthetic-counts": "0,4", "--learning-curve": "8"},
    "tune": {"--trials": "1", "-n": "6", "--steps": "3"},
}
SEGMENTER = ["--epochs", "1", "--encoder", "mobilenet_v2", "--encoder-weights", "none", "--set", "batch_size=8"]
ALWAYS: dict[str, list[str]] = {
    "train": ["--steps", "2", *NARROW, "--set", "batch_size=2"],
    "finetune": ["--steps", "1", "--set", "batch_size=2"],
    "sample": ["--steps", "3"],
    "select": [
        *SEGMENTER,
        "--set",
        "architectures=[fpn]",
        "--set",
        "folds=2",
        "--set",
        "criteria=[copies]",
        "--extractor",
        "segmenter",
    ],
    "audit": [*SEGMENTER, "--extractor", "segmenter", "--set", "resamples=20"],
    "evaluate": [
        "--repeats",
        "1",
        "--synthetic-counts",
        "0,4",
        "--architectures",
        "fpn",
        "--set",
        "primary.synthetic=4",
        *SEGMENTER,
    ],
    "run": ["--set", "train.steps=1"],
    "tune": ["--set", "repeats=1", "--architectures", "fpn", "--synthetic-counts", "4", *SEGMENTER],
}


def smaller(arguments: list[str]) -> list[str]:
    """The same command with the least work."""
    name = " ".join(arguments[: 2 if arguments[0] == "data" else 1])
    given = list(arguments)
    for option, value in SMALLEST.get(name, {}).items():
        if option in given:
            given[given.index(option) + 1] = value
    return [*given, *ALWAYS.get(name, [])]


def steps_of(page: Path, heading: str | None = None) -> Iterator[tuple[Block, str]]:
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


def walk(page: Path, heading: str | None = None, but: frozenset[str] = frozenset()) -> int:
    """Run a tour in the current folder, without the lines that have one of the words `but`; the steps taken."""
    taken = 0
    for block, line in steps_of(page, heading):
        words = shlex.split(line, comments=True)
        arguments = isdm_arguments(words) if words else None
        if not words:
            run_python(block)
        elif arguments is not None and not but & set(words):
            app(smaller(arguments), standalone_mode=False)
        else:
            continue
        taken += 1
    return taken


def run_python(block: Block) -> dict[str, Any]:
    """Run a snippet on few pictures; the names that it leaves."""
    code = re.sub(r"num_fruits=\d+", "num_fruits=10", block.text)
    code = re.sub(r"num_views=\d+", "num_views=2", code)
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(code, str(block), "exec"), names)
    return names
