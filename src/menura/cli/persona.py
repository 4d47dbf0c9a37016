"""``menura persona list | show | rm``."""

import json
from typing import Annotated

import typer

from menura.cli.globals import EPILOG, Globals
from menura.cli.screen import Screen, columns

app = typer.Typer(help="Personas of this workspace.", epilog=EPILOG, no_args_is_help=True)
NAME = Annotated[str, typer.Argument(help="A persona's name.")]


@app.command("list", epilog=EPILOG)
def list_personas(context: typer.Context) -> None:
    """Show all personas."""
    from menura.artefacts import persona_store

    given: Globals = context.obj
    rows = [["name", "KiB"]]
    for name in persona_store.names():
        rows.append([name, f"{persona_store.path_of(name).stat().st_size / 1024:,.0f}"])
    text = columns(rows) if len(rows) > 1 else "no personas yet: menura adapt NAME FILES makes one"
    Screen(as_json=given.as_json).give("personas", {"personas": persona_store.names()}, text)


@app.command(epilog=EPILOG)
def show(context: typer.Context, name: NAME) -> None:
    """Show how a persona was made and how it did on held-out dialogues."""
    from menura.artefacts import persona_store

    given: Globals = context.obj
    found = persona_store.load(name)
    facts = {
        "name": found.name,
        "base_sha256": found.base_sha256,
        "model": dict(found.model),
        "facts": list(found.facts),
        "recipe": dict(found.recipe),
        "values": sum(value.numel() for value in found.weights.values()),
    }
    Screen(as_json=given.as_json).give("persona", facts, json.dumps(facts, indent=2, ensure_ascii=False))


@app.command(epilog=EPILOG)
def rm(context: typer.Context, name: NAME) -> None:
    """Delete a persona; one that is not there is no error."""
    from menura.artefacts import persona_store

    given: Globals = context.obj
    if not given.dry_run:
        persona_store.remove(name)
    Screen(as_json=given.as_json).give("removed", {"name": name}, f"{name} is not in this workspace")
