"""``menura config list | show``."""

import json
from typing import Annotated

import typer

from menura import api
from menura.cli.globals import EPILOG, Globals
from menura.cli.terminal import Screen, columns
from menura.cli.train import SIZE

app = typer.Typer(
    help="Recipes and settings: every value, and where it came from.", epilog=EPILOG, no_args_is_help=True
)


@app.command("list", epilog=EPILOG)
def list_recipes(context: typer.Context) -> None:
    """Show the recipes."""
    given: Globals = context.obj
    found = api.recipes()
    rows = [[name, about] for name, about in found.items()]
    Screen(as_json=given.as_json).give("recipes", {"recipes": found}, columns(rows))


@app.command(epilog=EPILOG)
def show(
    context: typer.Context, recipe: Annotated[str, typer.Argument(help="A recipe's name.")], size: SIZE = None
) -> None:
    """Show every setting of a recipe and where its value comes from: default, recipe, file or --set."""
    given: Globals = context.obj
    found = api.settings_of(recipe, given.options, size)
    rows = [["setting", "value", "from"], *([path, str(value), source] for path, (value, source) in found.items())]
    facts = {path: {"value": value, "from": source} for path, (value, source) in found.items()}
    Screen(as_json=given.as_json).give("config", json.loads(json.dumps(facts, default=str)), columns(rows))
