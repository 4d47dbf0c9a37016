"""``menura base list | pull | show``."""

from dataclasses import asdict
from typing import Annotated

import typer

from menura.cli.globals import EPILOG, Globals
from menura.cli.screen import Screen, columns

app = typer.Typer(help="Bases: the language models that personas stand on.", epilog=EPILOG, no_args_is_help=True)
NAME = Annotated[str, typer.Argument(help="A known name, a folder, or a hub id.")]


@app.command("list", epilog=EPILOG)
def list_bases(context: typer.Context) -> None:
    """Show the bases known by name and those on this machine."""
    from menura.artefacts import base
    from menura.artefacts.base_catalogue import BASES, DEFAULT

    here = {found.name: found for found in base.on_disk()}
    rows = [["name", "here", "source", "parameters", "licence", "about"]]
    for known in BASES.values():
        size = f"{here[known.name].parameters:,}" if known.name in here else ""
        rows.append([known.name, "yes" if known.name in here else "", known.source, size, known.licence, known.about])
    for found in here.values():
        if found.name not in BASES:
            rows.append([found.name, "yes", found.source, f"{found.parameters:,}", found.licence, ""])
    text = f"{columns(rows)}\ndefault: {DEFAULT}. A folder or a hub id is a base as well."
    Screen(as_json=_given(context).as_json).give("bases", {"known": list(BASES), "here": list(here)}, text)


@app.command(epilog=EPILOG)
def pull(context: typer.Context, name: NAME) -> None:
    """Fetch a base and convert it, once; its checksum is checked."""
    from menura.artefacts import base

    given = _given(context)
    screen = Screen(as_json=given.as_json)
    found = base.pull(name, offline=given.offline, say=screen.say)
    screen.give("base", asdict(found), f"{found.name} is here: {base.folder_of(name)}")


@app.command(epilog=EPILOG)
def show(context: typer.Context, name: NAME) -> None:
    """Show what a base on this machine is, and its hash."""
    from menura.artefacts import base
    from menura.artefacts.base_catalogue import BASES
    from menura.errors import ConfigError

    if not (base.folder_of(name) / "config.json").exists():
        hint = f"menura base pull {name}" if name in BASES else "menura base list"
        raise ConfigError(f"base {name!r} is not on this machine", hint=hint, code="unknown_base")
    found = base.pull(name, offline=True)
    rows = [[key, f"{value:,}" if isinstance(value, int) else str(value)] for key, value in asdict(found).items()]
    rows += [["sha256", found.sha256], ["folder", str(base.folder_of(name))]]
    Screen(as_json=_given(context).as_json).give("base", {**asdict(found), "sha256": found.sha256}, columns(rows))


def _given(context: typer.Context) -> Globals:
    given: Globals = context.obj
    return given
