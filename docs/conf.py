"""The handbook as a site: `make docs` writes it to build/docs. Nothing in it is loaded from outside."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))

project = "isdm"
author = "the isdm authors"
html_title = "isdm"
html_theme = "furo"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "mathml",
    "navigation",
    "reference",
]

# Pages are Markdown that a repository page shows as well: ```math fences, $…$, ordinary links.
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_extensions", "_static"]
myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 3

# Docstrings name code in single backticks, and speak of arguments in Google's sections.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_default_options = {"show-inheritance": False}
autodoc_mock_imports: list[str] = []
napoleon_numpy_docstring = False
python_maximum_signature_line_length = 88

html_static_path = ["_static"]
html_css_files = ["handbook.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"
html_math_renderer = "mathml"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5c8a", "color-brand-content": "#0b5c8a"},
    "dark_css_variables": {"color-brand-primary": "#6cc1ee", "color-brand-content": "#6cc1ee"},
}

copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"
