"""``menura model list | show``."""

from dataclasses import asdict
from typing import Annotated

import typer

from menura.cli.globals import EPILOG, Globals, configured
from menura.cli.screen import Screen, columns

app = typer.Typer(help="Models: parts and parameter counts, no weights needed.", epilog=EPILOG, no_args_is_help=True)


@app.command("list", epilog=EPILOG)
def list_models(context: typer.Context) -> None:
    """Show the catalogue."""
    from menura.models.catalogue import MODELS

    given: Globals = context.obj
    rows = [[name, entry.about] for name, entry in MODELS.items()]
    Screen(as_json=given.as_json).give("models", {"models": dict(rows)}, columns(rows))


@app.command(epilog=EPILOG)
def show(context: typer.Context, name: Annotated[str, typer.Argument(help="A name of `menura model list`.")]) -> None:
    """Show a model's parts with their parameter counts; settings by --set, for example --set adapters.size=64."""
    from difflib import get_close_matches

    import torch

    from menura.artefacts.base import without_weights
    from menura.artefacts.pretrained import known_sizes
    from menura.errors import ConfigError
    from menura.experiments.settings import paths_of
    from menura.models.catalogue import MODELS, build, counted
    from menura.models.lic import LicConfig
    from menura.models.plato_settings import PlatoConfig
    from menura.models.seq2seq import Seq2SeqConfig

    given: Globals = context.obj
    if name not in MODELS:
        near = get_close_matches(name, MODELS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(MODELS)}"
        raise ConfigError(f"unknown model {name!r}", hint=hint, code="unknown_model")
    config = MODELS[name].config()
    config = configured(config, given)
    if isinstance(config, Seq2SeqConfig):
        if not config.vocabulary:
            raise ConfigError("model.vocabulary: how many words?", hint="--set vocabulary=18600")
        network, under, sizes = None, "", None
    elif isinstance(config, PlatoConfig | LicConfig):
        network, under, sizes = None, "", known_sizes(config.base)
    else:
        network, under, sizes = without_weights(config.base), config.base, None
    with torch.device("meta"):
        counts = counted(build(network, config, sizes=sizes))
    total, adapting = sum(c.parameters for c in counts), sum(c.adapting for c in counts)
    rows = [["part", "parameters", "adapting"]]
    rows += [[_shown(c.part, under), f"{c.parameters:,}", f"{c.adapting:,}"] for c in counts if c.parameters]
    rows += [["total", f"{total:,}", f"{adapting:,}"]]
    settings = "\n".join(f"  {path} = {value}" for path, value in paths_of(config))
    facts = {"model": name, "parts": [asdict(c) for c in counts], "total": total, "adapting": adapting}
    Screen(as_json=given.as_json).give("model", facts, f"{name}\n{settings}\n\n{columns(rows)}")


@app.command(epilog=EPILOG)
def structures(context: typer.Context, run: Annotated[str, typer.Argument(help="The folder of a cmaml run.")]) -> None:
    """Show what a run's training personas keep of the private weights, and whether alike personas keep alike ones."""
    from menura.experiments.structure_likeness import likeness_of_run

    given: Globals = context.obj
    found = likeness_of_run(run)
    Screen(as_json=given.as_json).give("structures", asdict(found), "\n".join(found.lines()))


def _shown(part: str, base: str) -> str:
    return part.removesuffix("network") + f"base ({base})" if part.endswith("network") else part
