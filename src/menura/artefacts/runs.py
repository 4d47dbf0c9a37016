"""The folder of runs and results, outside of the working tree, and what a run's name stands for."""

import os
from pathlib import Path

from menura.artefacts.files import home

PREFIX = "runs"  # runs/NAME is the run NAME, wherever runs are kept


def runs_folder() -> Path:
    """Return the folder of runs: ``$MENURA_RUNS``, or ``runs`` in the workspace."""
    return Path(os.environ.get("MENURA_RUNS") or home() / "runs").expanduser()


def results_folder() -> Path:
    """Return the folder of evaluations, which is beside the runs."""
    return runs_folder() / "results"


def run_path(name: str | Path) -> Path:
    """Return the path of a run or of a file in one: as typed if it exists, else by name in the folder of runs.

    ``NAME`` and ``runs/NAME`` are the same run. A name that is nowhere comes back as it was typed.
    """
    typed = Path(name).expanduser()
    if typed.exists() or typed.is_absolute() or not str(name):
        return typed
    named = typed.relative_to(PREFIX) if typed.parts[0] == PREFIX else typed
    there = runs_folder() / named
    return there if there.exists() else typed


def results_name(target: str) -> str:
    """Return the name of the folder of a target's evaluation: the recipe's or the run's, on one level."""
    path, runs = run_path(target).absolute(), runs_folder().absolute()
    if path.is_relative_to(runs):
        target = str(path.relative_to(runs))
    return target.strip("/").replace("/", "-")
