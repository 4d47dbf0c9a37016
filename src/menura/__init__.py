"""A person's few dialogues become a persona that answers as they would.

``load`` a model, ``adapt`` it, ``reply``; everything is imported on first use, so that ``import menura`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Candidate", "Evaluated", "Model", "Persona", "evaluate", "load"]

if TYPE_CHECKING:
    from menura.api import Candidate, Evaluated, Model, Persona, evaluate, load


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("menura.api"), name)
    raise AttributeError(f"module 'menura' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
