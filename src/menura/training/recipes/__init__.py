"""A name becomes the settings of a run: one function per recipe."""

from collections.abc import Callable
from difflib import get_close_matches

from menura.errors import ConfigError
from menura.training import prepare_base
from menura.training.config import RunConfig
from menura.training.recipes import (
    arplus,
    arplus_negative_results,
    cmaml,
    default_adapters,
    mamlviapp,
    mamlviapp_baselines,
    plato,
    plato_baselines,
    plato_grid,
    plato_latent,
    tiny,
)
from menura.training.recipes.mamlviapp import Size

RECIPES: dict[str, Callable[[], RunConfig]] = {
    "shipped": default_adapters.shipped,
    "fresh": default_adapters.fresh,
    "prepared": default_adapters.prepared,
    "tiny/finetune": tiny.finetune,
    "tiny/maml": tiny.maml,
    "tiny/maml-exact": tiny.maml_exact,
    "tiny/reptile": tiny.reptile,
    "tiny/in-place": tiny.in_place,
    "base-prepare": prepare_base.recipe,
    "default-adapters/houlsby": default_adapters.houlsby,
    "default-adapters/warm": default_adapters.warm,
    "default-adapters/pooled": default_adapters.pooled,
    "default-adapters/meta": default_adapters.meta,
}
SIZED: dict[str, Callable[[Size], RunConfig]] = {  # recipes with sizes
    **mamlviapp.ROWS,
    **cmaml.ROWS,
    **mamlviapp_baselines.ROWS,
    **plato.ROWS,
    **plato_grid.ROWS,
    **plato_latent.ROWS,
    **plato_baselines.ROWS,
    **arplus.ROWS,
    **arplus_negative_results.ROWS,
}
SIZES: tuple[Size, ...] = ("tiny", "cpu", "paper")
USUAL: Size = "cpu"


def recipe(name: str, size: str | None = None) -> RunConfig:
    """Return a recipe's settings, from ``NAME`` and a size, or from ``NAME@SIZE``.

    Raises ConfigError with the nearest name if there is none, and for a size that does not exist.
    """
    name, _, written = name.partition("@")
    size = size or written or None
    if name in SIZED:
        return SIZED[name](size_named(size or USUAL))
    if name not in RECIPES:
        known = [*RECIPES, *SIZED]
        near = get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        raise ConfigError(f"unknown recipe {name!r}", hint=hint, code="unknown_recipe")
    if size:
        raise ConfigError(f"recipe {name!r} comes in one size only", hint="leave --size away", code="unknown_size")
    return RECIPES[name]()


def size_named(name: str) -> Size:
    """Return a size; ConfigError, with all of them, for a name that is none."""
    for size in SIZES:
        if name == size:
            return size
    raise ConfigError(f"unknown size {name!r}", hint=f"sizes: {', '.join(SIZES)}", code="unknown_size")
