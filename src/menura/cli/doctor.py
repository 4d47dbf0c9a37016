"""``menura doctor``."""

import typer

from menura import api
from menura.cli.globals import Globals
from menura.cli.screen import Screen, columns


def doctor(context: typer.Context) -> None:
    """Show what to paste into an issue: versions, device, disk, workspace, bases."""
    given: Globals = context.obj
    facts = api.workspace()
    Screen(as_json=given.as_json).give("doctor", facts, columns([[key, value] for key, value in facts.items()]))
