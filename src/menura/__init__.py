"""A person's few dialogues become a persona that answers as they would.

``load`` a model, ``adapt`` it, ``reply``; everything is imported on first use, so that ``import menura`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Agent",
    "Candidate",
    "Evaluated",
    "Model",
    "Persona",
    "RegisteredModel",
    "evaluate",
    "load",
    "register_method",
    "register_model",
]

if TYPE_CHECKING:
    from menura.api import (
        Agent,
        Candidate,
        Evaluated,
        Model,
        Persona,
        RegisteredModel,
        evaluate,
        load,
        register_method,
        register_model,
    )


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("menura.api"), name)
    raise AttributeError(f"module 'menura' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
