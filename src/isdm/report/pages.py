"""The templates of all pages, filled in so that strangers' text stays text.

Jinja escapes what HTML would act on. Control characters and marks that turn the writing become visible escapes
besides: a name must not look like another one.
"""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from isdm.text import printable_lines

_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, page: dict[str, Any]) -> str:
    """Fill in a template with a page's values; a value that is missing is a programmer's mistake."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(page)


def _harmless(value: Any) -> Any:
    return printable_lines(value) if isinstance(value, str) and not isinstance(value, Markup) else value
