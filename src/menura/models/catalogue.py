"""The models by name: their settings, and how they are built around a network."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from menura.batches.layout import Layout
from menura.models.causal_lm import CausalLm, CausalLmConfig
from menura.models.dialogue_model import DialogueModel
from menura.models.p2_bot import P2Bot, P2BotConfig
from menura.models.transfer_transfo import TransferTransfo, TransferTransfoConfig

ModelConfig = CausalLmConfig | TransferTransfoConfig | P2BotConfig
Build = Callable[[PreTrainedModel, Any, Layout | None], DialogueModel[Any]]


@dataclass(frozen=True)
class ModelEntry:
    """A model of the catalogue; ``build`` takes a network, settings of ``config``, and the layout if there is one."""

    config: type[ModelConfig]
    model: type[DialogueModel[Any]]
    build: Build
    about: str


MODELS = {
    "causal_lm": ModelEntry(
        CausalLmConfig,
        CausalLm,
        lambda network, config, layout: CausalLm(network, config),
        "any pre-trained causal language model, in-place or with adapters",
    ),
    "transfer_transfo": ModelEntry(
        TransferTransfoConfig,
        TransferTransfo,
        lambda network, config, layout: TransferTransfo(network, config),
        "the same, told whose each token is, with a head that chooses the reply",
    ),
    "p2_bot": ModelEntry(
        P2BotConfig, P2Bot, P2Bot, "a transfer_transfo and a receiver that perceives whose facts it hears; self-play"
    ),
}


def model_name(config: ModelConfig) -> str:
    """Return the name of the model that these are settings of."""
    return next(name for name, entry in MODELS.items() if type(config) is entry.config)


def named_settings(config: ModelConfig) -> dict[str, Any]:
    """Return a model's settings as plain data, its name with them."""
    return {"name": model_name(config), **asdict(config)}


def build(network: PreTrainedModel, config: ModelConfig, layout: Layout | None = None) -> DialogueModel[Any]:
    """Return the model that these are settings of; without a layout it can be counted, but not talk to itself."""
    return MODELS[model_name(config)].build(network, config, layout)


def voice_of(model: DialogueModel[Any]) -> CausalLm:
    """Return the causal language model that a model speaks through."""
    voice = model if isinstance(model, CausalLm) else model.voice
    assert isinstance(voice, CausalLm)
    return voice


@dataclass(frozen=True)
class PartCount:
    """Parameters of one part: all of them, and those that adapt."""

    part: str
    parameters: int
    adapting: int


def counted(model: nn.Module, within: str = "") -> list[PartCount]:
    """Return the parameters of each part of a model, none counted twice where weights are tied.

    A part that is a model itself is counted by its own parts, ``within.part``.
    """
    parts: Mapping[str, nn.Module | nn.Parameter | None] = {**model._modules, **model._parameters}
    counts = []
    for name, part in parts.items():
        if isinstance(part, DialogueModel):
            counts += counted(part, f"{within}{name}.")
            continue
        held = [part] if isinstance(part, nn.Parameter) else list(part.parameters()) if part is not None else []
        adapting = sum(p.numel() for p in held if p.requires_grad)
        counts.append(PartCount(f"{within}{name}", sum(p.numel() for p in held), adapting))
    return counts
