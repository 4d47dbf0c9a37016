"""``menura doctor`` shows versions and machine, looks through the workspace, repairs it and copies it."""

from pathlib import Path
from typing import Annotated

import typer

from menura import api
from menura.cli.globals import Globals
from menura.cli.terminal import Screen, columns
from menura.errors import number_of

REPAIR = typer.Option("--repair", help="Set aside what is damaged, and delete what was left over.")
BACKUP = typer.Option(metavar="FOLDER", help="Copy personas, keys and chats to a new folder, also while a server runs.")


def doctor(
    context: typer.Context,
    repair: Annotated[bool, REPAIR] = False,
    backup: Annotated[Path | None, BACKUP] = None,
) -> None:
    """Show what to paste into an issue, and what is damaged in the workspace."""
    given: Globals = context.obj
    screen = Screen(as_json=given.as_json)
    facts = api.workspace()
    screen.give("doctor", facts, columns([[key, value] for key, value in facts.items()]))
    found = api.examine_workspace(repair=repair)
    for one in found:
        line = f"{one.what}: {one.path}" + (f": {one.done}" if one.done else "")
        screen.give("finding", vars(one), line)
    if found and not repair:
        screen.say(f"{number_of(len(found), 'thing')} to put right: menura doctor --repair")
    if backup:
        folder = api.back_up_workspace(backup)
        screen.say(f"copied to {folder}; MENURA_HOME={folder} uses the copy. Bases are fetched again where it is used.")
