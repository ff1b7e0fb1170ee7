"""The documentation site, by Sphinx: `sphinx-build -W docs build/site` in an environment with the extra `docs`."""

import sys
from pathlib import Path

from kd_asr import __version__

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "kd_asr"
release = version = __version__
html_title = f"kd_asr {__version__}"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
extensions += ["mathml", "offline", "registered", "repository", "rooms"]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
exclude_patterns = ["_extensions"]

# Markdown as code hosts show it: anchors of headings, formulas in dollar signs.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
html_math_renderer = "mathml"

# Docstrings mark names by single backticks.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True
suppress_warnings = ["ref.python"]  # attributes of several classes have one name; each class shows its own

# Notebooks are run by every build.
nb_execution_in_temp = True
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 900
nb_merge_streams = True
