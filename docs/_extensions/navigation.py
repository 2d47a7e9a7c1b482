"""The site's navigation. It is given to Sphinx while a page is read, so that the page itself stays plain Markdown."""

import re
from typing import Any

from sphinx.application import Sphinx

PARTS: dict[str, list[tuple[str, list[str]]]] = {
    "index": [
        ("First steps", ["start", "own-data", "how-many", "reading-the-report", "recipes"]),
        (
            "Stage by stage",
            ["guide", "data", "layouts", "synthesis", "audit", "study", "protocol", "studio", "cluster"],
        ),
        (
            "Background",
            [
                "mathematics",
                "limits",
                "trust",
                "trust-input",
                "comparison",
                "results/README",
                "benchmarks",
                "decisions/README",
            ],
        ),
        ("Reference", ["reference/commands", "reference/options", "reference/python", "changes"]),
    ],
    "results/README": [
        (
            "",
            [
                "magnetic-tiles",
                "magnetic-tiles/summary",
                "magnetic-tiles-patches/summary",
                "magnetic-tiles-long/summary",
                "magnetic-tile-64px/summary",
                "demo/summary",
                "demo-min-snr/summary",
                "selection",
            ],
        )
    ],
    "decisions/README": [("", [":glob:", "*"])],
}
"""Caption and pages, in order, below each page that has others below it."""

OUTSIDE = {"benchmarks/README.md": "/benchmarks.md", "CHANGELOG.md": "/changes.md"}
"""Pages of the repository that lie beside the handbook, and the pages of the site that show them."""

_LINK = re.compile(r"\]\((?:\.\./)+(" + "|".join(map(re.escape, OUTSIDE)) + r")(?=[)#])")


def _with_parts(app: Sphinx, docname: str, source: list[str]) -> None:
    source[0] = _LINK.sub(lambda match: f"]({OUTSIDE[match[1]]}", source[0])
    for caption, pages in PARTS.get(docname, ()):
        options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
        options += [page for page in pages if page.startswith(":")]
        listed = [page for page in pages if not page.startswith(":")]
        source[0] += "\n\n```{toctree}\n" + "\n".join([*options, "", *listed]) + "\n```\n"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the step."""
    app.connect("source-read", _with_parts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
