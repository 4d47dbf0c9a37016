"""Sphinx settings: Markdown pages, and a reference that is generated from the packages at each build."""

from collections import defaultdict
from pathlib import Path

from sphinx.application import Sphinx

from menura import __version__

project = "Menura"
author = "the Menura developers"
copyright = "2026, the Menura developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["example"]
html_theme = "furo"
html_title = f"Menura {__version__}"
myst_heading_anchors = 3

autodoc_mock_imports = ["vllm"]  # the plug-in of vLLM is read without it
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# Settings are shown as they are written in the source: NUCLEUS, not its repr.
autodoc_preserve_defaults = True
# A name in a quoted annotation that two packages have, such as Persona, is no link.
suppress_warnings = ["ref.python"]

HERE = Path(__file__).parent
SOURCE = HERE.parent / "src" / "menura"
REFERENCE = HERE / "reference"  # generated, not under version control
FIRST = ("api", "registry", "errors")  # what most readers look for

INDEX = """# Reference

Generated from the docstrings. The names of `menura` itself, such as `load` and `evaluate`, are those of
[`menura.api`](api.md).

```{{toctree}}
:maxdepth: 1

{pages}
```
"""


def setup(app: Sphinx) -> None:
    """Write the reference before Sphinx looks for pages."""
    app.connect("config-inited", lambda *_: write_reference())


def write_reference() -> None:
    """Write a page for each package, with all of its modules, and the index; delete the pages of what is gone."""
    REFERENCE.mkdir(exist_ok=True)
    pages = {f"{name}.md": page(name, modules) for name, modules in packages().items()}
    names = sorted(
        (Path(name).stem for name in pages),
        key=lambda name: (name not in FIRST, FIRST.index(name) if name in FIRST else 0, name),
    )
    pages["index.md"] = INDEX.format(pages="\n".join(names))
    for old in REFERENCE.glob("*.md"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        path = REFERENCE / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:  # unchanged pages are not built again
            path.write_text(text, encoding="utf-8")


def packages() -> dict[str, list[str]]:
    """Return all modules with something to show, by the package, or module, that stands directly under menura."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(SOURCE.rglob("*.py")):
        inner = path.relative_to(SOURCE).with_suffix("").parts
        if path.name == "__main__.py" or inner == ("__init__",):
            continue
        if inner[0] == "cli" and inner[-1] not in ("__init__", "main"):  # commands: --help and the guide
            continue
        name = ".".join(inner).removesuffix(".__init__")
        found[inner[0]].append(name)
    return dict(found)


def page(package: str, modules: list[str]) -> str:
    """Return the page of one package: its own docstring first, then its modules by name."""
    parts = [f"# `menura.{package}`"]
    for module in modules if modules == [package] else sorted(modules, key=lambda name: (name != package, name)):
        title = [] if module == package else [f"## `menura.{module}`"]
        members = "" if module == package and len(modules) > 1 else "   :members:\n"
        parts += [*title, f"```{{eval-rst}}\n.. automodule:: menura.{module}\n{members}```"]
    return "\n\n".join(parts) + "\n"
