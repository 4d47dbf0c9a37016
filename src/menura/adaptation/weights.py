"""Persona weights: what adapts, used beside the model (``loss_with``) or in it for a while (``swapped_weights``).

Of a model's parameters, ``trainable_parameters`` are those of the outer loop, ``adaptable_parameters`` those of them
that a persona may have, ``selected_parameters`` those of these that a setting names.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor

from menura.batches.batch import Batch
from menura.errors import ConfigError, NumericalError, number_of
from menura.models.dialogue_model import DialogueModel, Loss

RATES = "rates."  # prefix of learnt learning rates: trained with the model, never part of a persona
NAMED = 8  # layer names in the error if none matches
PersonaWeights = Mapping[str, Tensor]  # by parameter name
Decaying = Literal["all", "matrices"]  # matrices: no norm, no bias, no gate


def trainable_parameters(model: DialogueModel[Any]) -> dict[str, Tensor]:
    """Return the parameters of the outer loop: all that require a gradient, learnt rates included."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def outer_groups(model: DialogueModel[Any], decay: float, decay_of: Decaying = "all") -> list[dict[str, Any]]:
    """Return the outer optimiser's parameter groups: weights decay, the logarithms of learnt rates do not.

    With ``matrices`` only tensors of two dimensions decay: a norm's scale or a gate should not be pulled towards 0.
    """
    groups: dict[float, list[Tensor]] = {decay: []}
    for name, parameter in trainable_parameters(model).items():
        still = name.startswith(RATES) or (decay_of == "matrices" and parameter.ndim != 2)
        groups.setdefault(0.0 if still else decay, []).append(parameter)
    return [{"params": parameters, "weight_decay": share} for share, parameters in groups.items() if parameters]


def adaptable_parameters(model: DialogueModel[Any]) -> dict[str, Tensor]:
    """Return the parameters that can adapt to a persona: all that train, except learnt learning rates."""
    return {name: parameter for name, parameter in trainable_parameters(model).items() if not name.startswith(RATES)}


def filter_by_name(weights: PersonaWeights, parts: str) -> dict[str, Tensor]:
    """Return the weights whose name contains one of ``parts`` (comma-separated; "" = all)."""
    wanted = _listed(parts)
    return {name: value for name, value in weights.items() if not wanted or any(part in name for part in wanted)}


def selected_parameters(
    model: DialogueModel[Any], parts: str = "", setting: str = "method.trainable"
) -> dict[str, Tensor]:
    """Return what the inner loop moves: of the adaptable parameters those whose name contains one of ``parts``.

    Raises ConfigError, which names ``setting`` and the possible names, if a part is in no name.
    """
    there = adaptable_parameters(model)
    for part in _listed(parts):
        if not any(part in name for name in there):
            layers = sorted({name.rpartition(".")[0] for name in there})
            named = ", ".join(layers[:NAMED]) + (", …" if len(layers) > NAMED else "")
            raise ConfigError(f"{setting}: no weight has {part!r} in its name", hint=f"there are {named}")
    return filter_by_name(there, parts)


def _listed(parts: str) -> list[str]:
    return [part.strip() for part in parts.split(",") if part.strip()]


def loss_with(model: DialogueModel[Any], weights: PersonaWeights, batch: Batch) -> Loss:
    """Return the loss with these weights in place of the model's own; gradients flow into ``weights``."""
    loss: Loss = torch.func.functional_call(model, dict(weights), (batch,))
    return loss


@contextmanager
def swapped_weights(model: DialogueModel[Any], weights: PersonaWeights) -> Iterator[None]:
    """Write the weights into the model while the block runs; afterwards the model is bit-identical to before.

    Meanwhile one copy of the overwritten weights is held, never of the whole model.
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


def check_finite(weights: Mapping[str, Tensor], what: str, hint: str) -> None:
    """Raise NumericalError that names the first weights with a value that is not finite."""
    for name, value in weights.items():
        bad = int((~torch.isfinite(value.detach())).sum())
        if bad:
            raise NumericalError(f"{what}: {number_of(bad, 'value is', 'values are')} not finite in {name}", hint=hint)
