"""The handbook as its tests see it: pages, links, commands and snippets."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md", *DOCS.rglob("*.md")])
SHELL = {"bash", "console", "sh", "shell"}
PROGRAMS = ("isdm", "pip", "torchrun", "make", "python", "srun", "sbatch", "ray", "OMP_NUM_THREADS=1")


@dataclass(frozen=True)
class Block:
    """A code block: its language ("" where it is indented), its text and the line where it starts."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@cache
def tokens(page: Path) -> tuple[Token, ...]:
    return tuple(MarkdownIt("commonmark").enable("table").parse(page.read_text("utf-8")))


def blocks(page: Path) -> list[Block]:
    return [
        Block(page, token.map[0] + 1 if token.map else 0, token.info.strip().split(" ")[0], token.content)
        for token in tokens(page)
        if token.type in ("fence", "code_block")
    ]


def inline(page: Path) -> Iterator[Token]:
    """Every token inside a paragraph, heading or table cell."""
    for token in tokens(page):
        yield from token.children or ()


def inline_code(page: Path) -> list[str]:
    return [token.content for token in inline(page) if token.type == "code_inline"]


def links(page: Path) -> list[str]:
    named = [("link_open", "href"), ("image", "src")]
    return [str(token.attrs[key]) for token in inline(page) for kind, key in named if token.type == kind]


def anchors(page: Path) -> set[str]:
    """Names of a page's headings as a repository page and the site make them."""
    found: list[str] = []
    for before, token in zip(tokens(page), tokens(page)[1:], strict=False):
        if before.type == "heading_open":
            text = "".join(child.content for child in token.children or () if child.type in ("text", "code_inline"))
            found.append(re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-"))
    return set(found)


def commands(block: Block) -> list[str]:
    """The command lines of a block: after `$ ` in a console block, every line of a shell block otherwise.

    An indented block counts if it starts with a program that the handbook uses.
    """
    text = block.text.replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    if block.language == "console":
        return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    if block.language in SHELL or (not block.language and text.lstrip().split(" ")[0] in PROGRAMS):
        return [line for line in lines if line and not line.startswith("#")]
    return []


def page_commands(page: Path) -> list[tuple[Block, list[str]]]:
    """Every command of a page as its words, comments left out."""
    return [(block, shlex.split(line, comments=True)) for block in blocks(page) for line in commands(block)]


def python_snippets(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language == "python"]


def yaml_snippets(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language == "yaml"]


def isdm_arguments(words: list[str]) -> list[str] | None:
    """What `isdm` is given in a command line, also behind `torchrun … -m isdm`; None if it is another program."""
    words = [word for word in words if not re.fullmatch(r"[A-Z_]+=\S*", word)]
    if words[:1] == ["isdm"]:
        return words[1:]
    if "isdm" in words and words[words.index("isdm") - 1] == "-m":
        return words[words.index("isdm") + 1 :]
    return None


def resolved(name: str) -> Any:
    """What a dotted name such as `isdm.diffusion.process.q_sample` stands for.

    Raises:
        AttributeError: there is nothing of that name.
    """
    from importlib import import_module

    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: Any = import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            fields = getattr(found, "model_fields", None) or getattr(found, "__annotations__", {})
            found = fields[part] if part in fields else getattr(found, part)
        return found
    raise AttributeError(f"{name} is not there")
