"""The models by name: their settings, and how they are built around a network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from menura.batches.chat_format import ChatFormat
from menura.models.attention_routing.config import AttentionRoutingConfig
from menura.models.attention_routing.model import AttentionRouting
from menura.models.causal_lm.model import CausalLm, CausalLmConfig
from menura.models.causal_lm.p2_bot import P2Bot, P2BotConfig
from menura.models.causal_lm.transfer_transfo import TransferTransfo, TransferTransfoConfig
from menura.models.dialogue_model import DialogueModel
from menura.models.layers.transformer import Sizes
from menura.models.lic import Lic, LicConfig
from menura.models.plato.config import PlatoConfig
from menura.models.plato.model import Plato, sized
from menura.models.recurrent.hierarchical import Hierarchical, HierarchicalConfig
from menura.models.recurrent.ivae_mi import IvaeMi, IvaeMiConfig
from menura.models.recurrent.seq2seq import Seq2Seq, Seq2SeqConfig
from menura.models.recurrent.seq2spg import Seq2Spg, Seq2SpgConfig
from menura.models.recurrent.speaker import Speaker, SpeakerConfig

ModelConfig = (
    CausalLmConfig
    | TransferTransfoConfig
    | P2BotConfig
    | Seq2SeqConfig
    | SpeakerConfig
    | Seq2SpgConfig
    | HierarchicalConfig
    | IvaeMiConfig
    | PlatoConfig
    | LicConfig
    | AttentionRoutingConfig
)
Build = Callable[["BuildInputs", Any], DialogueModel[Any]]


@dataclass(frozen=True)
class BuildInputs:
    """What there is to build on: a network and a layout, sizes, or, for a model over words, the people of its table."""

    network: PreTrainedModel | None = None
    chat_format: ChatFormat | None = None
    people: Sequence[str] = ()
    sizes: Sizes | None = None


@dataclass(frozen=True)
class ModelEntry:
    """A model of the catalogue; ``build`` takes what there is to build on, and settings of ``config``."""

    config: type[ModelConfig]
    model: type[DialogueModel[Any]]
    build: Build
    about: str


MODELS = {
    "causal_lm": ModelEntry(
        CausalLmConfig,
        CausalLm,
        lambda inputs, config: CausalLm(_network(inputs), config),
        "any pre-trained causal language model, in-place or with adapters",
    ),
    "transfer_transfo": ModelEntry(
        TransferTransfoConfig,
        TransferTransfo,
        lambda inputs, config: TransferTransfo(_network(inputs), config),
        "the same, told whose each token is, with a head that chooses the reply",
    ),
    "p2_bot": ModelEntry(
        P2BotConfig,
        P2Bot,
        lambda inputs, config: P2Bot(_network(inputs), config, inputs.chat_format),
        "a transfer_transfo and a receiver that perceives whose facts it hears; self-play",
    ),
    "seq2seq": ModelEntry(
        Seq2SeqConfig,
        Seq2Seq,
        lambda inputs, config: Seq2Seq(config),
        "recurrent encoder and decoder with attention, over words",
    ),
    "speaker": ModelEntry(
        SpeakerConfig,
        Speaker,
        lambda inputs, config: Speaker(config, inputs.people),
        "a seq2seq that is told at every word who speaks",
    ),
    "seq2spg": ModelEntry(
        Seq2SpgConfig,
        Seq2Spg,
        lambda inputs, config: Seq2Spg(config),
        "a seq2seq with a private module and a gate (CMAML); reads=state is Seq2SP'G",
    ),
    "plato": ModelEntry(
        PlatoConfig,
        Plato,
        lambda inputs, config: Plato(config, sized(config, inputs.sizes or Sizes(config.vocab_size))),
        "a unified transformer with a discrete latent act and response selection",
    ),
    "hierarchical": ModelEntry(
        HierarchicalConfig,
        Hierarchical,
        lambda inputs, config: Hierarchical(config),
        "a recurrent encoder of turns, and attention that the last one guides (the baseline of AVSD, of text alone)",
    ),
    "ivae_mi": ModelEntry(
        IvaeMiConfig,
        IvaeMi,
        lambda inputs, config: IvaeMi(config),
        "a recurrent model with an implicit latent variable (iVAE with mutual information)",
    ),
    "lic": ModelEntry(
        LicConfig,
        Lic,
        lambda inputs, config: Lic(config, config.sizes(inputs.sizes or Sizes(config.vocab_size))),
        "one stack of layers reads facts, reads the history and says the reply (Lost in Conversation)",
    ),
    "attention_routing": ModelEntry(
        AttentionRoutingConfig,
        AttentionRouting,
        lambda inputs, config: AttentionRouting(config, config.vocab_size, config.profile_vocab_size),
        "a small transformer that weighs persona, context and what it said, over attributes (AR, AR+)",
    ),
}


def _network(inputs: BuildInputs) -> PreTrainedModel:
    assert inputs.network is not None, "asked for without a network"
    return inputs.network


def model_name(config: ModelConfig) -> str:
    """Return the name of the model that these are settings of."""
    return next(name for name, entry in MODELS.items() if type(config) is entry.config)


def named_settings(config: ModelConfig) -> dict[str, Any]:
    """Return a model's settings as plain data, its name with them."""
    return {"name": model_name(config), **asdict(config)}


def about_settings(config: ModelConfig) -> dict[str, str]:
    """Return what a table says of a model beside its name."""
    if isinstance(config, Seq2SeqConfig):
        return {"sizes": f"{config.hidden_size} wide, {config.num_layers} encoder layers, {config.vocab_size:,} words"}
    if isinstance(config, PlatoConfig):
        latents = f"{config.num_latents} latents" if config.num_latents else "without latent"
        return {"preset": config.preset, "latents": latents, "visibility": config.rules.visibility}
    if isinstance(config, LicConfig):
        return {"sizes": f"{config.base}, begun {'at random' if config.init == 'random' else 'with its weights'}"}
    if isinstance(config, AttentionRoutingConfig):
        kind = "rezero" if config.rezero else "norms"
        shared = f"{config.different} of {config.num_layers} layers differ"
        return {"preset": config.preset, "sizes": f"{config.hidden_size} wide, {shared}, {config.network}, {kind}"}
    adapters = f"{config.adapters.kind} {config.adapters.size}, {config.adapters.layers} layers"
    forgotten = {} if config.reinit == "none" else {"weights": f"forgotten ({config.reinit})"}
    return {"adapters": adapters, **forgotten}


def over_network(config: ModelConfig) -> CausalLmConfig:
    """Return settings of which it is known that they are of a model over a network."""
    assert not isinstance(config, Seq2SeqConfig | PlatoConfig | LicConfig | AttentionRoutingConfig)
    return config


def build(
    network: PreTrainedModel | None,
    config: ModelConfig,
    layout: ChatFormat | None = None,
    people: Sequence[str] = (),
    sizes: Sizes | None = None,
) -> DialogueModel[Any]:
    """Return the model that these are settings of; without a layout it can be counted, but not talk to itself."""
    return MODELS[model_name(config)].build(BuildInputs(network, layout, people, sizes), config)


def lm_of(model: DialogueModel[Any]) -> CausalLm:
    """Return the causal language model that a model speaks through."""
    lm = model if isinstance(model, CausalLm) else model.lm
    assert isinstance(lm, CausalLm)
    return lm


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
