"""A name becomes a whole experiment: one function a recipe, each returning its settings."""

from collections.abc import Callable
from difflib import get_close_matches

from menura.errors import ConfigError
from menura.training.config import RunConfig
from menura.training.recipes import (
    arplus,
    arplus_ineffective,
    cmaml,
    mamlviapp,
    plato,
    plato_grid,
    plato_quoted,
    quoted,
    start,
    tiny,
)
from menura.training.recipes.mamlviapp import Size

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
SIZED: dict[str, Callable[[Size], RunConfig]] = {  # each at every size
    **mamlviapp.ROWS,
    **cmaml.ROWS,
    **quoted.ROWS,
    **plato.ROWS,
    **plato_grid.ROWS,
    **plato_quoted.ROWS,
    **arplus.ROWS,
    **arplus_ineffective.ROWS,
}
SIZES: tuple[Size, ...] = ("tiny", "cpu", "paper")
USUAL: Size = "cpu"


def recipe(name: str, size: str | None = None) -> RunConfig:
    """Return a recipe's settings, ``NAME`` with a size beside it or ``NAME@SIZE``.

    Raises ConfigError with the nearest name if there is none, and for a size that does not exist.
    """
    name, _, written = name.partition("@")
    size = size or written or None
    if name in SIZED:
        return SIZED[name](_size(size or USUAL))
    if name not in RECIPES:
        known = [*RECIPES, *SIZED]
        near = get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        raise ConfigError(f"unknown recipe {name!r}", hint=hint, code="unknown_recipe")
    if size:
        raise ConfigError(f"recipe {name!r} comes in one size only", hint="leave --size away", code="unknown_size")
    return RECIPES[name]()


def _size(name: str) -> Size:
    for size in SIZES:
        if name == size:
            return size
    raise ConfigError(f"unknown size {name!r}", hint=f"sizes: {', '.join(SIZES)}", code="unknown_size")
