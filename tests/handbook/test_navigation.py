"""Every page of the handbook is in the site's navigation: Sphinx refuses to build a site with a page outside it."""

import runpy

from handbook_pages import DOCS

NAVIGATION = runpy.run_path(str(DOCS / "_extensions" / "navigation.py"))


def test_every_page_is_in_the_navigation() -> None:
    listed = {"index"}
    for parent, parts in NAVIGATION["PARTS"].items():
        folder = (DOCS / parent).parent
        for page in (page for _, pages in parts for page in pages):
            if page == "*":
                listed |= {file.relative_to(DOCS).with_suffix("").as_posix() for file in folder.glob("*.md")}
            elif not page.startswith(":"):
                listed.add((folder / page).relative_to(DOCS).as_posix())
    pages = {file.relative_to(DOCS).with_suffix("").as_posix() for file in DOCS.rglob("*.md")}
    assert pages - listed == set()
