"""``menura config list | show``."""

import json
from dataclasses import replace
from typing import Annotated, Any

import typer

from menura.cli.globals import EPILOG, Globals
from menura.cli.screen import Screen, columns
from menura.cli.train import SIZE

app = typer.Typer(
    help="Recipes and settings: every value, and where it came from.", epilog=EPILOG, no_args_is_help=True
)


@app.command("list", epilog=EPILOG)
def list_recipes(context: typer.Context) -> None:
    """Show the recipes."""
    from menura.training.recipes import RECIPES, SIZED, SIZES

    given: Globals = context.obj
    rows = [[name, (made.__doc__ or "").splitlines()[0]] for name, made in RECIPES.items()]
    sizes = f"(--size {'|'.join(SIZES)})"
    rows += [[name, f"{(made.__doc__ or '').splitlines()[0]} {sizes}"] for name, made in SIZED.items()]
    Screen(as_json=given.as_json).give("recipes", {"recipes": dict(rows)}, columns(rows))


@app.command(epilog=EPILOG)
def show(
    context: typer.Context, recipe: Annotated[str, typer.Argument(help="A recipe's name.")], size: SIZE = None
) -> None:
    """Show every setting of a recipe and where its value comes from: default, recipe, file or --set."""
    from menura.training import recipes
    from menura.training.config import RunConfig
    from menura.training.overrides import paths_of, with_file, with_settings

    given: Globals = context.obj
    stages: list[tuple[str, Any]] = [("default", RunConfig(recipe)), ("recipe", recipes.recipe(recipe, size))]
    stages.append(("--seed", replace(stages[-1][1], seed=given.seed)))
    if given.config:
        stages.append((str(given.config), with_file(stages[-1][1], given.config)))
    stages.append(("--set", with_settings(stages[-1][1], given.assignments)))
    found: dict[str, tuple[Any, str]] = {}
    for source, config in stages:
        values = dict(paths_of(config))
        found = {
            path: (v, found[path][1] if path in found and found[path][0] == v else source) for path, v in values.items()
        }
    rows = [["setting", "value", "from"], *([path, str(value), source] for path, (value, source) in found.items())]
    facts = {path: {"value": value, "from": source} for path, (value, source) in found.items()}
    Screen(as_json=given.as_json).give("config", json.loads(json.dumps(facts, default=str)), columns(rows))
