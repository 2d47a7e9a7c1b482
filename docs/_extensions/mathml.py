"""Equations as MathML, made when the site is built: browsers draw them, without a script or a font of ours."""

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util.logging import getLogger

logger = getLogger(__name__)


def drawn(node: nodes.Node, *, display: str) -> str:
    """MathML of a node; a command that the converter does not know is a warning that names the page."""
    made = str(convert(node.astext(), display=display))
    if "\\" in made:
        logger.warning("equation with an unknown command: %s", node.astext(), location=node)
    return made


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(drawn(node, display="inline"))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="equation">{drawn(node, display="block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
