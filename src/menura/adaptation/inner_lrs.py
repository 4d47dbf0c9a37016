"""Inner rates that are learnt, one for each tensor (Meta-SGD, Li et al., 2017; MAML++, Antoniou et al., 2019)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from menura.errors import ConfigError
from menura.models.dialogue_model import DialogueModel

RATES = "rates."  # begins the names of what is here: trained with the model, never part of a persona
LOGARITHM = f"{RATES}logarithm"


class InnerLearningRates(nn.Module):
    """The rate of each tensor by name, a row for each of the first inner steps; later steps use the last row.

    Logarithms are what trains, so that a rate stays above zero.
    """

    def __init__(self, names: Sequence[str], logarithm: Tensor) -> None:
        super().__init__()
        self.column = {name: index for index, name in enumerate(names)}
        self.logarithm = nn.Parameter(logarithm)  # (rows, tensors)

    @property
    def rows(self) -> int:
        """How many steps have rates of their own."""
        return len(self.logarithm)

    def of_step(self, step: int, names: Sequence[str]) -> Tensor:
        """Return (names,) rates of an inner step, counted from 0, as a function of the logarithms."""
        columns = torch.tensor([self.column[name] for name in names], device=self.logarithm.device)
        return self.logarithm[min(step, self.rows - 1)][columns].exp()


def inner_lrs_of(model: DialogueModel[Any]) -> InnerLearningRates | None:
    """Return a model's learnt rates, if it has any."""
    found = getattr(model, RATES.rstrip("."), None)
    return found if isinstance(found, InnerLearningRates) else None


def attach_inner_lrs(model: DialogueModel[Any], lr: float, rows: int) -> None:
    """Give the model rates to learn, all at ``rate`` to begin with; those that its start brought stay.

    Raises ConfigError if the start's have another number of rows.
    """
    found = inner_lrs_of(model)
    if found and found.rows != rows:
        raise ConfigError(f"method.lr_steps: {rows}, but the start has rates for {found.rows}")
    if not found:
        adapting = {name: p for name, p in model.named_parameters() if p.requires_grad}
        first = next(iter(adapting.values()))
        logarithm = torch.full((rows, len(adapting)), math.log(lr), dtype=first.dtype, device=first.device)
        model.add_module(RATES.rstrip("."), InnerLearningRates(tuple(adapting), logarithm))


def restore_inner_lrs(model: DialogueModel[Any], found: Mapping[str, Tensor]) -> None:
    """Make room for the rates that lie among a start's weights, if any do; their values are put as all others are."""
    if LOGARITHM in found and found[LOGARITHM].ndim > 0:
        attach_inner_lrs(model, 1.0, len(found[LOGARITHM]))
