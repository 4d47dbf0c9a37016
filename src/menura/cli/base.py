"""``menura base list | pull | show``."""

from dataclasses import asdict
from typing import Annotated

import typer

from menura import api
from menura.cli.globals import EPILOG, Globals
from menura.cli.terminal import Screen, columns

app = typer.Typer(help="Bases: the language models that personas stand on.", epilog=EPILOG, no_args_is_help=True)
NAME = Annotated[
    str, typer.Argument(help="A known name, a folder, a .gguf file, a hub id, ollama:NAME or lmstudio:NAME.")
]
TERMS = typer.Option("--accept-terms", help="Accept the terms of use that the base comes under.")


@app.command("list", epilog=EPILOG)
def list_bases(context: typer.Context) -> None:
    """Show the bases known by name, and the models on this machine that can be one."""
    given: Globals = context.obj
    found, others = api.bases(), api.other_models()
    rows = [["name", "here", "source", "parameters", "licence", "about"]]
    for one in found:
        size = "" if one["parameters"] is None else f"{one['parameters']:,}"
        rows.append([one["name"], "yes" if one["here"] else "", one["source"], size, one["licence"], one["about"]])
    default = next(one["name"] for one in found if one["default"])
    text = f"{columns(rows)}\ndefault: {default}. A folder, a .gguf file or a hub id is a base as well."
    if others:
        named = [[one["name"], f"{one['size'] / 1e6:,.0f} MB", one["program"], one["path"]] for one in others]
        text += f"\n\n{columns([['models of other programs', 'size', 'of', 'where'], *named])}"
    facts = {
        "known": [one["name"] for one in found if one["known"]],
        "here": [one["name"] for one in found if one["here"]],
        "others": others,
    }
    Screen(as_json=given.as_json).give("bases", facts, text)


@app.command(epilog=EPILOG)
def pull(context: typer.Context, name: NAME, accept_terms: Annotated[bool, TERMS] = False) -> None:
    """Fetch a base and convert it, once; its checksum is checked."""
    given: Globals = context.obj
    screen = Screen(as_json=given.as_json)
    found, folder = api.pull_base(name, accept_terms=accept_terms, offline=given.offline, say=screen.say)
    screen.give("base", asdict(found), f"{found.name} is here: {folder}")


@app.command(epilog=EPILOG)
def show(context: typer.Context, name: NAME) -> None:
    """Show what a base on this machine is, and its hash."""
    given: Globals = context.obj
    found = api.show_base(name)
    rows = [[key, f"{value:,}" if isinstance(value, int) else str(value)] for key, value in found.items()]
    facts = {key: value for key, value in found.items() if key != "folder"}
    Screen(as_json=given.as_json).give("base", facts, columns(rows))
