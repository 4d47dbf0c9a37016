"""Sphinx settings: Markdown pages, and a reference made from the docstrings."""

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

from menura import __version__

project = "Menura"
author = "the Menura developers"
copyright = "2026, the Menura developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["example", "results/tables"]
html_theme = "furo"
html_title = f"Menura {__version__}"
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# Settings are shown as they are written in the source: NUCLEUS, not its repr.
autodoc_preserve_defaults = True

SOURCE = Path(__file__).parent.parent / "src"
NOT_LISTED = ("menura", "menura.__main__")  # nothing public beside what menura.api documents


def setup(app: Sphinx) -> None:
    """Have every build compare the reference with the packages."""
    app.connect("builder-inited", warn_of_missing_modules)


def warn_of_missing_modules(app: Sphinx) -> None:
    """Warn of each module that no page of the reference names; under -W the build then fails."""
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (Path(app.srcdir) / "reference").glob("*.md"))
    named = set(re.findall(r"automodule:: (\S+)", pages))
    for path in sorted((SOURCE / "menura").rglob("*.py")):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        empty = path.name == "__init__.py" and "\ndef " not in path.read_text(encoding="utf-8")
        verb = name.startswith("menura.cli.")  # documented by --help and the guide
        if name not in named and name not in NOT_LISTED and not empty and not verb:
            logging.getLogger(__name__).warning("no page of docs/reference names %s", name)
