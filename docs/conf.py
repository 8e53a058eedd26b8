"""Settings of Sphinx for the site. scripts/docs_site.py puts the pages together and calls Sphinx."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

project = "authguard"
version = release = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
author = "authguard contributors"
html_title = f"authguard {release}"

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

# Anchors of headings, as the code hosts make them.
myst_heading_anchors = 4
# A heading that is a level too deep, or a second one of the first level, is no reason to fail.
suppress_warnings = ["myst.header"]

# Signatures name a type as its reader imports it, not by the module in which it is written.
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True

html_theme = "furo"
html_theme_options = {"top_of_page_buttons": []}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
pygments_style = "tango"
pygments_dark_style = "github-dark"
