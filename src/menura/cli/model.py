"""``menura model list | show | masks``."""

from dataclasses import asdict
from typing import Annotated

import typer

from menura import api
from menura.cli.globals import EPILOG, Globals
from menura.cli.terminal import Screen, columns
from menura.cli.train import SIZE

app = typer.Typer(help="Models: parts and parameter counts, no weights needed.", epilog=EPILOG, no_args_is_help=True)


@app.command("list", epilog=EPILOG)
def list_models(context: typer.Context) -> None:
    """Show the catalogue, with the models of other packages."""
    given: Globals = context.obj
    found = api.models()
    Screen(as_json=given.as_json).give("models", {"models": found}, columns([[n, a] for n, a in found.items()]))


@app.command(epilog=EPILOG)
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A name of `menura model list`, or a recipe's.")],
    size: SIZE = None,
) -> None:
    """Show a model's parts with their parameter counts; settings by --set, of a recipe as `config show` has them."""
    given: Globals = context.obj
    found = api.count_parameters(name, size, config=given.config, assignments=given.assignments)
    total, adapting = (sum(getattr(part, which) for part in found.parts) for which in ("parameters", "adapting"))
    rows = [["part", "parameters", "adapting"]]
    rows += [
        [_shown(part.part, found.under), f"{part.parameters:,}", f"{part.adapting:,}"]
        for part in found.parts
        if part.parameters
    ]
    rows += [["total", f"{total:,}", f"{adapting:,}"]]
    settings = "\n".join(f"  {path} = {value}" for path, value in found.settings)
    facts = {"model": name, "parts": [asdict(part) for part in found.parts], "total": total, "adapting": adapting}
    Screen(as_json=given.as_json).give("model", facts, f"{name}\n{settings}\n\n{columns(rows)}")


@app.command(epilog=EPILOG)
def masks(context: typer.Context, run: Annotated[str, typer.Argument(help="The folder of a cmaml run.")]) -> None:
    """Show what a run's training personas keep of the private weights, and whether alike personas keep alike ones."""
    given: Globals = context.obj
    found = api.mask_similarity(run)
    Screen(as_json=given.as_json).give("masks", asdict(found), "\n".join(found.lines()))


def _shown(part: str, base: str) -> str:
    return part.removesuffix("network") + f"base ({base})" if part.endswith("network") else part
