"""The search for a latent that is used: PLATO on DailyDialog, each setting off and on, at the smallest size.

``plato-latent/ROW``: ``plain`` is PLATO's own objective in batches of some 56 exchanges; each other row changes what
its name says. ``without`` has no latent. All rows take the same steps; they are scored on validation dialogues.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from menura.training.config import RunConfig, with_model
from menura.training.recipes import plato
from menura.training.recipes.mamlviapp import Size

PLAIN: Mapping[str, Any] = {"targets": "none", "target_share": 0.5, "sampling": "", "selection": "mask"}
SEARCH: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "usage": {"mutual_info_weight": 20.0},
    "hard-em": {"sampling": "hard_em"},
    "clusters": {"targets": "clusters"},
    "clusters-match": {"targets": "clusters", "selection": "match"},
    "clusters-hard-em": {"targets": "clusters", "selection": "match", "sampling": "hard_em"},
    "without": {"num_latents": 0},
}
STEPS = 150  # at size cpu


def _made(row: str, size: Size) -> RunConfig:
    usual = plato.finetune("dailydialog", size)
    outer = replace(usual.outer, steps=STEPS, eval_every=STEPS) if size == "cpu" else usual.outer
    changes = {**PLAIN, **SEARCH[row]}
    if size != "cpu":  # there is no context that is read once to match with
        changes = {name: value for name, value in changes.items() if name != "selection"}
    return with_model(replace(usual, recipe=f"plato-latent/{row}@{size}", outer=outer), **changes)


ROWS: dict[str, Callable[[Size], RunConfig]] = {f"plato-latent/{row}": partial(_made, row) for row in SEARCH}
