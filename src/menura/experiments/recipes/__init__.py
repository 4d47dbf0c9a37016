"""A name becomes a whole experiment: one function a recipe, each returning its settings."""

from collections.abc import Callable
from difflib import get_close_matches

from menura.errors import ConfigError
from menura.experiments.recipes import start, tiny
from menura.experiments.run_config import RunConfig

RECIPES: dict[str, Callable[[], RunConfig]] = {
    "shipped": start.shipped,
    "fresh": start.fresh,
    "tiny/finetune": tiny.finetune,
    "tiny/maml": tiny.maml,
    "tiny/maml-exact": tiny.maml_exact,
    "tiny/reptile": tiny.reptile,
    "tiny/in-place": tiny.in_place,
    "start/warm": start.warm,
    "start/pooled": start.pooled,
    "start/meta": start.meta,
}


def recipe(name: str) -> RunConfig:
    """Return a recipe's settings; ConfigError with the nearest name if there is none."""
    if name not in RECIPES:
        near = get_close_matches(name, RECIPES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(RECIPES)}"
        raise ConfigError(f"unknown recipe {name!r}", hint=hint, code="unknown_recipe")
    return RECIPES[name]()
