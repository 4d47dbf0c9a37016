"""``menura persona list | show | export | rm``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from menura import api
from menura.cli.globals import EPILOG, Globals
from menura.cli.terminal import Screen, columns

app = typer.Typer(help="Personas of this workspace.", epilog=EPILOG, no_args_is_help=True)
NAME = Annotated[str, typer.Argument(help="A persona's name.")]


@app.command("list", epilog=EPILOG)
def list_personas(context: typer.Context) -> None:
    """Show all personas."""
    given: Globals = context.obj
    found = api.personas()
    rows = [["name", "KiB"], *([name, f"{size / 1024:,.0f}"] for name, size in found.items())]
    text = columns(rows) if found else "no personas yet: menura adapt NAME FILES makes one"
    Screen(as_json=given.as_json).give("personas", {"personas": list(found)}, text)


@app.command(epilog=EPILOG)
def show(context: typer.Context, name: NAME) -> None:
    """Show how a persona was made and how it did on held-out dialogues."""
    given: Globals = context.obj
    facts = api.persona_facts(name)
    Screen(as_json=given.as_json).give("persona", facts, json.dumps(facts, indent=2, ensure_ascii=False))


@app.command(epilog=EPILOG)
def export(
    context: typer.Context,
    name: NAME,
    to: Annotated[
        str, typer.Option(help="charx (a card with our weights in it), png or json (a card alone).")
    ] = "charx",
    out: Annotated[Path | None, typer.Option("--out", help="The file to write; else NAME.charx and so on.")] = None,
) -> None:
    """Write a persona as a character card that other programs read."""
    given: Globals = context.obj
    path = out or Path(f"{name}.{to}")
    if not given.dry_run:
        api.export_persona(name, to, path)
    Screen(as_json=given.as_json).give("exported", {"name": name, "path": str(path)}, f"wrote {path}")


@app.command(epilog=EPILOG)
def rm(context: typer.Context, name: NAME) -> None:
    """Delete a persona; one that is not there is no error."""
    given: Globals = context.obj
    there = name in api.personas()
    if not given.dry_run:
        api.delete_persona(name)
    told = f"removed {name}" if there else f"{name} is not in this workspace"
    Screen(as_json=given.as_json).give("removed", {"name": name, "was_there": there}, told)
