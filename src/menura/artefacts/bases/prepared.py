"""Adapter checkpoints in the workspace, each trained on this machine for one base (``menura base prepare``)."""

from pathlib import Path

from menura.artefacts.bases.record import Base
from menura.artefacts.files import home

FOLDER = "prepared"
PREPARED = "prepared"  # as ``init_from``: the checkpoint that was prepared for the base


def prepared_folder(base: Base) -> Path:
    """Return the folder of a base's prepared checkpoint and of the run that trains it, existing or not."""
    return home() / FOLDER / base.sha256[:16]


def prepared_file(base: Base) -> Path:
    """Return the file of a base's prepared checkpoint, existing or not."""
    return prepared_folder(base) / "adapters.safetensors"
