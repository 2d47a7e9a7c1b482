"""Equations as MathML, made when the site is built: browsers draw them, without a script or a font of ours."""

from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util.logging import getLogger

logger = getLogger(__name__)


def drawn(node: nodes.Node, *, as_block: bool) -> str:
    """MathML of a node; what cannot be read is a warning that names the page, and stays as it is written."""
    try:
        return str(tex2mathml(node.astext(), as_block=as_block))
    except MathError as error:
        logger.warning("equation: %s", error, location=node)
        return f"<code>{node.astext()}</code>"


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(drawn(node, as_block=False))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="equation">{drawn(node, as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
