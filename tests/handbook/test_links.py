"""Links, anchors, file names and names of the code in the handbook lead somewhere."""

import re
from pathlib import Path

import pytest

import isdm
from handbook_pages import DOCS, PAGES, ROOT, anchors, inline_code, links, resolved

IN_REPOSITORY = re.compile(r"(src|docs|tests|benchmarks|examples)/[\w./-]+\.\w+")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            assert link.startswith(("https://", "mailto:")), link
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page}: {link}"
        assert target.is_relative_to(ROOT), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page}: {link} names no heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_files_and_functions_exist(page: Path) -> None:
    for code in inline_code(page):
        if re.fullmatch(r"isdm(\.\w+)+(\(\))?", code) and code != "isdm.json":
            resolved(code.removesuffix("()"))
        if IN_REPOSITORY.fullmatch(code):
            assert (ROOT / code).exists(), f"{page}: {code}"


def test_a_wrong_name_is_noticed() -> None:
    with pytest.raises((AttributeError, ImportError)):
        resolved("isdm.diffusion.process.q_sampel")


def test_what_the_site_includes_links_into_the_site_alone() -> None:
    """Sphinx turns such links into those of pages; to another file it finds none, and refuses to build."""
    for page in DOCS.glob("*.md"):
        included = re.match(r"```\{include\} (\S+)\n:relative-docs: ../docs/", page.read_text("utf-8"))
        for link in links((DOCS / included[1]).resolve()) if included else ():
            assert link.startswith(("https://", "../docs/", "#")), f"{included and included[1]}: {link}"


def test_every_public_name_is_in_the_reference() -> None:
    described = (DOCS / "reference" / "python.rst").read_text("utf-8")
    for name in set(isdm.__all__) - {"__version__"}:
        module = isdm._HOME.get(name, "isdm.report.html")
        assert f"{module}.{name}" in described or f"automodule:: {module}\n" in described, name
