"""The modules that a process has computed with become hashes, so that two runs can be told to be of the same code.

Two runs of different commits compare if the code that they share is the same: what a commit changed elsewhere, in the
command line or in a comment, has changed no figure.
"""

import ast
import hashlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

# Packages in which figures are computed; what the settings of recipes are stands in each run's own settings.
TRAINING = ("adaptation", "artefacts", "batches", "corpus", "decoding", "models", "tasks", "training")
COMPUTING = (*TRAINING, "evaluation", "memory", "metrics", "scorers")
SETTINGS_ONLY = "menura.training.recipes"
OF_HASH = 12  # hexadecimal digits: 48 bits tell some hundred modules apart


def code_path(packages: Sequence[str] = COMPUTING) -> dict[str, str]:
    """Return the hash of each module of Menura that this process has imported and that figures are computed in.

    Comments, docstrings and layout do not count. Of a training they are in the ``packages`` TRAINING: no weight depends
    on how it is scored later.
    """
    packages = tuple(f"menura.{name}" for name in packages)
    modules = {
        name: str(module.__file__)
        for name, module in sorted(sys.modules.items())
        if name.startswith(packages) and not name.startswith(SETTINGS_ONLY) and getattr(module, "__file__", None)
    }
    return {name.removeprefix("menura."): _hash(Path(path)) for name, path in modules.items()}


def differing(paths: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the modules that two or more code paths share and that are not the same in all of them."""
    hashes: dict[str, set[str]] = {}
    for path in paths:
        for module, value in path.items():
            hashes.setdefault(module, set()).add(value)
    return sorted(module for module, values in hashes.items() if len(values) > 1)


@cache
def commit() -> str:
    """Return the commit of the code, with ``+`` where files of it were changed since; empty without a repository."""
    folder = Path(__file__).parent
    try:
        return _git(folder, "rev-parse", "HEAD")[:OF_HASH] + "+" * bool(_git(folder, "diff", "HEAD", "--", ":/src"))
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()


@cache
def _hash(path: Path) -> str:
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        _drop_docstring(node)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:OF_HASH]


def _drop_docstring(node: Any) -> None:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        node.body = node.body[1:] or [ast.Pass()]
