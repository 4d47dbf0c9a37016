"""``menura doctor``."""

import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

import typer

from menura.cli.globals import Globals
from menura.cli.screen import Screen, columns

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "chitchat-dataset")


def doctor(context: typer.Context) -> None:
    """Show what to paste into an issue: versions, device, disk, workspace, bases."""
    import torch

    import menura
    from menura.artefacts import base, persona_store
    from menura.artefacts.files import home

    given: Globals = context.obj
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    here = home()
    existing = next(folder for folder in (here, *here.parents) if folder.exists())
    facts = {
        "menura": menura.__version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        **{name: _version(name) for name in PACKAGES},
        "device": device,
        "workspace": f"{here} ({'exists' if here.exists() else 'not made yet'})",
        "free": f"{shutil.disk_usage(existing).free / 2**30:.1f} GiB",
        "bases here": ", ".join(found.name for found in base.on_disk()) or "none: menura base pull smollm2-135m",
        "personas": str(len(persona_store.names())),
    }
    Screen(as_json=given.as_json).give("doctor", facts, columns([[key, value] for key, value in facts.items()]))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
