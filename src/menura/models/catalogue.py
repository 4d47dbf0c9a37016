"""The models by name: their settings, and how they are built around a network."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from menura.models.causal_lm import CausalLm, CausalLmConfig


@dataclass(frozen=True)
class ModelEntry:
    """A model of the catalogue."""

    config: type[CausalLmConfig]
    model: type[CausalLm]
    about: str


MODELS = {
    "causal_lm": ModelEntry(
        CausalLmConfig, CausalLm, "any pre-trained causal language model, in-place or with adapters"
    ),
}


@dataclass(frozen=True)
class PartCount:
    """Parameters of one part: all of them, and those that adapt."""

    part: str
    parameters: int
    adapting: int


def counted(model: nn.Module) -> list[PartCount]:
    """Return the parameters of each part of a model, none counted twice where weights are tied."""
    parts: Mapping[str, nn.Module | nn.Parameter | None] = {**model._modules, **model._parameters}
    counts = []
    for name, part in parts.items():
        held = [part] if isinstance(part, nn.Parameter) else list(part.parameters()) if part is not None else []
        adapting = sum(p.numel() for p in held if p.requires_grad)
        counts.append(PartCount(name, sum(p.numel() for p in held), adapting))
    return counts
