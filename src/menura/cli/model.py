"""``menura model list | show``."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from menura.cli.globals import EPILOG, Globals, configured
from menura.cli.screen import Screen, columns
from menura.cli.train import SIZE

if TYPE_CHECKING:
    from menura.models.catalogue import ModelConfig, PartCount

app = typer.Typer(help="Models: parts and parameter counts, no weights needed.", epilog=EPILOG, no_args_is_help=True)


@app.command("list", epilog=EPILOG)
def list_models(context: typer.Context) -> None:
    """Show the catalogue."""
    from menura.models.catalogue import MODELS

    given: Globals = context.obj
    rows = [[name, entry.about] for name, entry in MODELS.items()]
    Screen(as_json=given.as_json).give("models", {"models": dict(rows)}, columns(rows))


@app.command(epilog=EPILOG)
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A name of `menura model list`, or a recipe's.")],
    size: SIZE = None,
) -> None:
    """Show a model's parts with their parameter counts; settings by --set, of a recipe as `config show` has them."""
    import torch

    from menura.artefacts.base import without_weights
    from menura.artefacts.pretrained import known_sizes
    from menura.models.attention_routing.config import AttentionRoutingConfig
    from menura.models.catalogue import build, counted
    from menura.models.lic import LicConfig
    from menura.models.plato.config import PlatoConfig
    from menura.models.recurrent.seq2seq import Seq2SeqConfig

    given: Globals = context.obj
    config, within = _asked(name, size, given)
    if isinstance(config, Seq2SeqConfig | AttentionRoutingConfig):
        _check_counted(config, within)
        network, under, sizes = None, "", None
    elif isinstance(config, PlatoConfig | LicConfig):
        network, under, sizes = None, "", known_sizes(config.base)
    else:
        network, under, sizes = without_weights(config.base), config.base, None
    with torch.device("meta"):
        counts = counted(build(network, config, sizes=sizes))
    _give(Screen(as_json=given.as_json), name, config, counts, under)


@app.command(epilog=EPILOG)
def masks(context: typer.Context, run: Annotated[str, typer.Argument(help="The folder of a cmaml run.")]) -> None:
    """Show what a run's training personas keep of the private weights, and whether alike personas keep alike ones."""
    from menura.evaluation.mask_similarity import likeness_of_run

    given: Globals = context.obj
    found = likeness_of_run(run)
    Screen(as_json=given.as_json).give("masks", asdict(found), "\n".join(found.lines()))


def _asked(name: str, size: str | None, given: Globals) -> "tuple[ModelConfig, str]":
    """Return the settings of a model of the catalogue, or of a recipe's, and what stands before them in ``--set``."""
    from difflib import get_close_matches

    from menura.errors import ConfigError
    from menura.models.catalogue import MODELS
    from menura.training.recipes import RECIPES, SIZED, recipe

    if name in MODELS:
        if size:
            raise ConfigError(f"model {name!r} comes in no sizes", hint="leave --size away, or name a recipe")
        return configured(MODELS[name].config(), given), ""
    if name.partition("@")[0] in {*RECIPES, *SIZED}:
        return configured(recipe(name, size), given).model, "model."
    near = get_close_matches(name, [*MODELS, *RECIPES, *SIZED], n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(MODELS)}, and recipes (menura config list)"
    raise ConfigError(f"unknown model {name!r}", hint=hint, code="unknown_model")


def _check_counted(config: "ModelConfig", within: str) -> None:
    """Raise ConfigError for a model over words, or pieces, of which it is not said how many there are."""
    from menura.errors import ConfigError

    wanted = {"vocab_size": "18600", "profile_vocab_size": "10004"}
    if not getattr(config, "memory", True):  # profiles are read in the vocabulary of what is said
        del wanted["profile_vocab_size"]
    missing = [name for name in wanted if getattr(config, name, 1) < 1]
    if missing:
        hint = " ".join(f"--set {within}{name}={wanted[name]}" for name in missing)
        raise ConfigError(f"{' and '.join(f'model.{name}' for name in missing)}: how many words?", hint=hint)


def _give(screen: Screen, name: str, config: "ModelConfig", counts: "Sequence[PartCount]", under: str) -> None:
    """Show settings, parts and sums."""
    from menura.training.overrides import paths_of

    total, adapting = sum(c.parameters for c in counts), sum(c.adapting for c in counts)
    rows = [["part", "parameters", "adapting"]]
    rows += [[_shown(c.part, under), f"{c.parameters:,}", f"{c.adapting:,}"] for c in counts if c.parameters]
    rows += [["total", f"{total:,}", f"{adapting:,}"]]
    settings = "\n".join(f"  {path} = {value}" for path, value in paths_of(config))
    facts = {"model": name, "parts": [asdict(c) for c in counts], "total": total, "adapting": adapting}
    screen.give("model", facts, f"{name}\n{settings}\n\n{columns(rows)}")


def _shown(part: str, base: str) -> str:
    return part.removesuffix("network") + f"base ({base})" if part.endswith("network") else part
