"""How Sphinx builds the documentation: ``make docs``. Nothing is fetched from anywhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs.draw import draw_gallery
from lightning_anneal import __version__

project = "lightning_anneal"
version = release = __version__
copyright = "the lightning_anneal contributors"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["images", "drawn"]

html_theme = "furo"
html_title = f"lightning_anneal {version}"
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b3c5d", "color-brand-content": "#0b5a8a"},
    "dark_css_variables": {"color-brand-primary": "#7fb8de", "color-brand-content": "#7fb8de"},
}
pygments_style = "friendly"

myst_heading_anchors = 3

# Docstrings mark names with single backticks.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

nitpicky = True
# A name in backticks may be a field, an argument or a file: it is linked where there is something to link to.
nitpick_ignore_regex = [(r"py:obj", r".*")]


def setup(app: Any) -> None:
    """Draw the gallery before it is read."""
    app.connect("builder-inited", draw_gallery)
