"""The models by name: the settings of each, how it is built, and how tables describe it.

A family is imported when one of its models is first asked for. The registry joins to each entry how its weights are
loaded; packages outside of Menura add their models there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from menura.errors import ConfigError, shown

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from menura.batches.chat_format import ChatFormat
    from menura.models.dialogue_model import DialogueModel
    from menura.models.layers.transformer import Sizes

T = TypeVar("T")


class ModelSettings(Protocol):
    """What the settings of every model have; they are a frozen dataclass, and ``name`` is the model's."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    name: ClassVar[str]

    @property
    def init_from(self) -> str:
        """The run, file or name of the initial weights; empty: fresh ones."""

    @property
    def max_length(self) -> int:
        """The most tokens of a sequence, reply included."""


@dataclass(frozen=True)
class BuildInputs:
    """What a model is built from: a network and a chat format, sizes, or, for a user embedding, the persona ids."""

    network: "PreTrainedModel | None" = None
    chat_format: "ChatFormat | None" = None
    persona_ids: Sequence[str] = ()
    sizes: "Sizes | None" = None


@dataclass(frozen=True)
class ModelEntry:
    """A model of the catalogue; ``build`` and ``describe`` take an instance of the class ``settings``."""

    settings: type[ModelSettings]
    model: "type[DialogueModel[Any]]"
    build: "Callable[[BuildInputs, Any], DialogueModel[Any]]"
    about: str = ""
    describe: Callable[[Any], dict[str, str]] = lambda settings: {}

    @property
    def name(self) -> str:
        """The model's name."""
        return self.settings.name


class Catalogue(Mapping[str, T], Generic[T]):
    """Entries by name, each made when it is first asked for, so that nothing is imported that is not used."""

    def __init__(self, what: str, make: Mapping[str, Callable[[], T]]) -> None:
        self._what = what
        self._make = dict(make)
        self._made: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._made:
            self._made[name] = self._make[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._make)

    def __len__(self) -> int:
        return len(self._make)

    def add(self, name: str, make: Callable[[], T]) -> None:
        """Add an entry; ConfigError if there is one of this name."""
        if name in self._make:
            raise ConfigError(f"two {self._what}s are called {shown(name)}", hint="give one another name", code="taken")
        self._make[name] = make

    def remove(self, name: str) -> None:
        """Take out an entry that was added."""
        del self._make[name]
        self._made.pop(name, None)


def _causal_lm() -> ModelEntry:
    from menura.models.causal_lm.config import CausalLmConfig
    from menura.models.causal_lm.model import CausalLm

    return ModelEntry(
        CausalLmConfig,
        CausalLm,
        lambda inputs, settings: CausalLm(_network(inputs), settings),
        "any pre-trained causal language model, in-place or with adapters",
        _describe_adapters,
    )


def _transfer_transfo() -> ModelEntry:
    from menura.models.causal_lm.transfer_transfo import TransferTransfo, TransferTransfoConfig

    return ModelEntry(
        TransferTransfoConfig,
        TransferTransfo,
        lambda inputs, settings: TransferTransfo(_network(inputs), settings),
        "the same with token types and a head that chooses the reply",
        _describe_adapters,
    )


def _p2_bot() -> ModelEntry:
    from menura.models.causal_lm.p2_bot import P2Bot, P2BotConfig

    return ModelEntry(
        P2BotConfig,
        P2Bot,
        lambda inputs, settings: P2Bot(_network(inputs), settings, inputs.chat_format),
        "a transfer_transfo and a receiver that perceives whose facts it hears; self-play",
        _describe_adapters,
    )


def _seq2seq() -> ModelEntry:
    from menura.models.recurrent.seq2seq import Seq2Seq, Seq2SeqConfig

    return ModelEntry(
        Seq2SeqConfig,
        Seq2Seq,
        lambda inputs, settings: Seq2Seq(settings),
        "recurrent encoder and decoder with attention, over words",
        _describe_words,
    )


def _speaker() -> ModelEntry:
    from menura.models.recurrent.speaker import Speaker, SpeakerConfig

    return ModelEntry(
        SpeakerConfig,
        Speaker,
        lambda inputs, settings: Speaker(settings, inputs.persona_ids),
        "a seq2seq that is told at every word who speaks",
        _describe_words,
    )


def _seq2spg() -> ModelEntry:
    from menura.models.recurrent.seq2spg import Seq2Spg, Seq2SpgConfig

    return ModelEntry(
        Seq2SpgConfig,
        Seq2Spg,
        lambda inputs, settings: Seq2Spg(settings),
        "a seq2seq with a private module and a gate (CMAML); reads=state is Seq2SP'G",
        _describe_words,
    )


def _hierarchical() -> ModelEntry:
    from menura.models.recurrent.hierarchical import Hierarchical, HierarchicalConfig

    return ModelEntry(
        HierarchicalConfig,
        Hierarchical,
        lambda inputs, settings: Hierarchical(settings),
        "a recurrent encoder of turns, and attention that the last one guides (the baseline of AVSD, of text alone)",
        _describe_words,
    )


def _ivae_mi() -> ModelEntry:
    from menura.models.recurrent.ivae_mi import IvaeMi, IvaeMiConfig

    return ModelEntry(
        IvaeMiConfig,
        IvaeMi,
        lambda inputs, settings: IvaeMi(settings),
        "a recurrent model with an implicit latent variable (iVAE with mutual information)",
        _describe_words,
    )


def _plato() -> ModelEntry:
    from menura.models.layers.transformer import Sizes
    from menura.models.plato.config import PlatoConfig
    from menura.models.plato.model import Plato, sized

    def build_plato(inputs: BuildInputs, settings: PlatoConfig) -> Plato:
        return Plato(settings, sized(settings, inputs.sizes or Sizes(settings.vocab_size)))

    def describe(settings: PlatoConfig) -> dict[str, str]:
        latents = f"{settings.num_latents} latents" if settings.num_latents else "without latent"
        return {"preset": settings.preset, "latents": latents, "visibility": settings.rules.visibility}

    return ModelEntry(
        PlatoConfig,
        Plato,
        build_plato,
        "a unified transformer with a discrete latent act and response selection",
        describe,
    )


def _lic() -> ModelEntry:
    from menura.models.layers.transformer import Sizes
    from menura.models.lic import Lic, LicConfig

    def build_lic(inputs: BuildInputs, settings: LicConfig) -> Lic:
        return Lic(settings, settings.sizes(inputs.sizes or Sizes(settings.vocab_size)))

    def describe(settings: LicConfig) -> dict[str, str]:
        begun = "at random" if settings.init == "random" else "with its weights"
        return {"sizes": f"{settings.base}, begun {begun}"}

    return ModelEntry(
        LicConfig,
        Lic,
        build_lic,
        "one stack of layers reads facts, reads the history and says the reply (Lost in Conversation)",
        describe,
    )


def _attention_routing() -> ModelEntry:
    from menura.models.attention_routing.config import AttentionRoutingConfig
    from menura.models.attention_routing.model import AttentionRouting

    def build_routing(inputs: BuildInputs, settings: AttentionRoutingConfig) -> AttentionRouting:
        return AttentionRouting(settings, settings.vocab_size, settings.profile_vocab_size)

    def describe(settings: AttentionRoutingConfig) -> dict[str, str]:
        kind = "rezero" if settings.rezero else "norms"
        shared = f"{settings.different} of {settings.num_layers} layers differ"
        return {
            "preset": settings.preset,
            "sizes": f"{settings.hidden_size} wide, {shared}, {settings.network}, {kind}",
        }

    return ModelEntry(
        AttentionRoutingConfig,
        AttentionRouting,
        build_routing,
        "a small transformer that weighs persona, context and what it said, over attributes (AR, AR+)",
        describe,
    )


def _describe_adapters(settings: Any) -> dict[str, str]:
    adapters = f"{settings.adapters.kind} {settings.adapters.size}, {settings.adapters.layers} layers"
    reinitialized = {} if settings.reinit == "none" else {"weights": f"forgotten ({settings.reinit})"}
    return {"adapters": adapters, **reinitialized}


def _describe_words(settings: Any) -> dict[str, str]:
    layers = f"{settings.num_layers} encoder layers"
    return {"sizes": f"{settings.hidden_size} wide, {layers}, {settings.vocab_size:,} words"}


def _network(inputs: BuildInputs) -> "PreTrainedModel":
    assert inputs.network is not None, "asked for without a network"
    return inputs.network


MODELS: Catalogue[ModelEntry] = Catalogue(
    "model",
    {
        "causal_lm": _causal_lm,
        "transfer_transfo": _transfer_transfo,
        "p2_bot": _p2_bot,
        "seq2seq": _seq2seq,
        "speaker": _speaker,
        "seq2spg": _seq2spg,
        "plato": _plato,
        "hierarchical": _hierarchical,
        "ivae_mi": _ivae_mi,
        "lic": _lic,
        "attention_routing": _attention_routing,
    },
)


def named_settings(settings: ModelSettings) -> dict[str, Any]:
    """Return a model's settings as plain data, its name with them."""
    return {"name": settings.name, **asdict(settings)}


def build(
    network: "PreTrainedModel | None",
    settings: ModelSettings,
    chat_format: "ChatFormat | None" = None,
    persona_ids: Sequence[str] = (),
    sizes: "Sizes | None" = None,
) -> "DialogueModel[Any]":
    """Return the model of these settings; without a chat format it can be counted, but cannot run self-play."""
    return MODELS[settings.name].build(BuildInputs(network, chat_format, persona_ids, sizes), settings)


@dataclass(frozen=True)
class PartCount:
    """The parameters of one submodule: all, and those that can adapt."""

    part: str
    parameters: int
    adapting: int


def counted(model: "nn.Module", prefix: str = "") -> list[PartCount]:
    """Return the parameter counts of a model's submodules; tied weights are counted once.

    A submodule that is a model itself is listed by its own submodules; ``prefix`` is put before all names.
    """
    from torch import nn

    from menura.models.dialogue_model import DialogueModel

    parts: Mapping[str, nn.Module | nn.Parameter | None] = {**model._modules, **model._parameters}
    counts = []
    for name, part in parts.items():
        if isinstance(part, DialogueModel):
            counts += counted(part, f"{prefix}{name}.")
            continue
        held = [part] if isinstance(part, nn.Parameter) else list(part.parameters()) if part is not None else []
        adapting = sum(p.numel() for p in held if p.requires_grad)
        counts.append(PartCount(f"{prefix}{name}", sum(p.numel() for p in held), adapting))
    return counts
