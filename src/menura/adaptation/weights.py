"""Persona weights: what adapts, beside the model (extra) or written into it for a while (in place)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from menura.batches.batch import Batch
from menura.models.dialogue_model import DialogueModel, Loss

PersonaWeights = Mapping[str, Tensor]  # by parameter name


def adaptable(model: DialogueModel[Any]) -> dict[str, Tensor]:
    """Return the parameters that adapt: all that require a gradient."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def loss_with(model: DialogueModel[Any], weights: PersonaWeights, batch: Batch) -> Loss:
    """Return the loss under these weights, the model's own left aside; gradients flow into ``weights``."""
    loss: Loss = torch.func.functional_call(model, dict(weights), (batch,))
    return loss


@contextmanager
def holding(model: DialogueModel[Any], weights: PersonaWeights) -> Iterator[None]:
    """Write the weights into the model while the block runs; afterwards it is bit-identical to before.

    One copy of what differs is held meanwhile, never of the whole model.
    """
    parameters = dict(model.named_parameters())
    before = {name: parameters[name].detach().clone() for name in weights}
    try:
        _write(parameters, weights)
        yield
    finally:
        _write(parameters, before)


@torch.no_grad()
def _write(parameters: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, value in values.items():
        parameters[name].copy_(value)
