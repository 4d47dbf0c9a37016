"""Settings of AR and AR+, and their presets: as in the paper, as in its program, and with its defects fixed."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from menura.batches.tokenizer import Pieces
from menura.errors import ConfigError
from menura.models.attention_routing.frozen_encoder import FeaturesAs

Preset = Literal["fixed", "release", "paper"]
FeedForwardKind = Literal["full", "factor_release", "factor_fixed"]
Gating = Literal["per_model", "per_layer", "per_sublayer"]
PersonaPath = Literal["context_bias", "memory_stream", "both"]
HopTying = Literal["adjacent", "layer_wise"]
Auxiliary = Literal["none", "lm", "mlm", "bart"]
AuxiliaryText = Literal["reply", "context_and_reply"]
Strength = Literal["given", "predicted", "labelled", "graded"]
# Weights that the programs have and count but never use: norms and a gate in AR+'s layers, predictor maps in AR's.
Dead = Literal["none", "norms", "stubs"]


@dataclass(frozen=True)
class RoutingRules:
    """The choices in which the three presets differ (spec B2 to B8)."""

    factor: FeedForwardKind = "factor_fixed"  # how a factorised feed-forward network is computed
    gates: Gating = "per_sublayer"
    normed_skip: bool = False  # the norm is on the skip path, too
    shared_projection: bool = True  # one map from embeddings to states for all streams
    token_slots: bool = False  # each token of a profile, keys included, is a memory slot
    whole_query: bool = False  # the memory's query is the whole context, not the last turn
    amplified_hops: bool = False  # a hop's output is pooled again over the places it was added to
    dead: Dead = "none"


RULES: dict[Preset, RoutingRules] = {
    "fixed": RoutingRules(),
    "release": RoutingRules(
        factor="factor_release",
        gates="per_layer",
        normed_skip=True,
        shared_projection=False,
        token_slots=True,
        whole_query=True,
        amplified_hops=True,
        dead="norms",
    ),
    "paper": RoutingRules(gates="per_model", shared_projection=False),
}


@dataclass(frozen=True)
class AttentionRoutingConfig:
    """Settings of AR+; AR and the rows of the ablation are recipes that change some of them.

    ``pieces`` is the unit of tokens. ``vocab_size`` is how many are learnt from the training split at most (0 = all
    that occur ``min_count`` times), ``profile_vocab_size`` the same for words of profiles. ``attributes`` are the
    profile keys that are read, comma-separated ("" = all). ``embedding`` 0 means ``hidden_size``. The stack has
    ``num_layers`` / ``groups`` different layers and is applied ``groups`` times. With ``memory`` profiles are words in
    a memory of ``hops`` hops, whose ``slots`` are values, or single words of values ("" = as in the preset), and reach
    the reply by ``persona_path``; without it they are characters in a stream of their own. ``hop_tying`` adjacent has
    hops + 1 tables, layer_wise two and a map from hop to hop.

    ``strength`` is a of Eq 1, the weight of the persona stream. ``strength_by`` predicted computes it from the context;
    labelled uses, in training, a label that is 1 if the reply expresses a fact of the persona, and trains the predictor
    on it; graded draws a number in 0..1 around that label, so that values between are trained, too. Few replies
    express a fact: labelled and graded train on a share ``unexpressed_share`` of the others. A share ``lent_share`` of
    the replies that express a fact of another training persona is trained as if another persona had replied, with or
    without that fact in its profile.
    ``auxiliary`` is the auxiliary task of pooled training, of weight ``auxiliary_weight`` (λ1); the predictor's loss
    has weight ``predictor_weight`` (λ2); ``auxiliary_text`` is the text of lm. Without ``keep_activations`` the wide
    layer of a factorised network is recomputed in the backward pass, which costs a tenth of a layer.

    The study found these ineffective; all are off: ``adapter_bottleneck`` is the size of two adapters in every layer,
    shared by encoder and decoder. ``pretrained_weights`` names a BERT (minilm, a folder) from which the layers are
    initialised. ``pretrained_features`` names one whose hidden states, of layer ``features_layer`` (0 is the
    embeddings), are joined to the token embeddings or replace them (``features_as``); ``features_width`` is filled in.
    With ``pieces_of`` the word pieces are those of an encoder; features need their own encoder's.
    """

    name: ClassVar[str] = "attention_routing"

    preset: Preset = "fixed"
    pieces: Pieces = "char"
    vocab_size: int = 0
    profile_vocab_size: int = 0
    min_count: int = 2
    attributes: str = ""
    hidden_size: int = 512
    num_layers: int = 6
    num_heads: int = 8
    intermediate_size: int = 2048
    embedding: int = 200
    groups: int = 6
    feed_forward: Literal["", "full", "factor_release", "factor_fixed"] = ""
    rank: int = 100
    rezero: bool = True
    gates: Literal["", "per_model", "per_layer", "per_sublayer"] = ""
    bias: float = 0.1  # b of Eq 5
    memory: bool = True
    slots: Literal["", "values", "tokens"] = ""
    hops: int = 3
    hop_tying: HopTying = "adjacent"
    persona_path: PersonaPath = "context_bias"
    strength: float = 1.0
    strength_by: Strength = "given"
    predictor_weight: float = 0.5
    unexpressed_share: float = 1.0
    lent_share: float = 0.0
    auxiliary: Auxiliary = "mlm"
    auxiliary_text: AuxiliaryText = "reply"
    auxiliary_weight: float = 0.5
    tied: bool = False  # output and input embeddings are tied
    dead: Literal["", "none", "norms", "stubs"] = ""
    dropout: float = 0.1
    keep_activations: bool = False
    word_vectors: str = ""
    max_turns: int = 7
    max_utterance_tokens: int = 15
    max_reply_tokens: int = 15
    max_length: int = 160
    init_from: str = ""
    adapter_bottleneck: int = 0
    pretrained_weights: str = ""
    pretrained_features: str = ""
    features_as: FeaturesAs = "concat"
    features_layer: int = -1
    features_width: int = 0
    pieces_of: str = ""

    def __post_init__(self) -> None:
        """Refuse numbers that make no network; all errors are reported together."""
        problems = [*self._sizes(), *self._shares(), *self._borrowed()]
        if problems:
            raise ConfigError.of([p for error in problems for p in error.problems])

    @property
    def rules(self) -> RoutingRules:
        """The preset's rules."""
        return RULES[self.preset]

    @property
    def network(self) -> FeedForwardKind:
        """The kind of feed-forward network."""
        return self.feed_forward or self.rules.factor

    @property
    def gating(self) -> Gating:
        """Which sublayers share a gate."""
        return self.gates or self.rules.gates

    @property
    def token_slots(self) -> bool:
        """Whether each token of a profile is a memory slot."""
        return self.slots == "tokens" if self.slots else self.rules.token_slots

    @property
    def unused(self) -> Dead:
        """Which unused weights there are."""
        return self.dead or self.rules.dead

    @property
    def embedded(self) -> int:
        """The width of the embeddings, e."""
        return self.embedding or self.hidden_size

    @property
    def different(self) -> int:
        """How many layers differ."""
        return self.num_layers // self.groups

    @property
    def streams(self) -> bool:
        """Whether a persona has a stream of its own in the decoder."""
        return not self.memory or self.persona_path != "context_bias"

    def _sizes(self) -> list[ConfigError]:
        wrong = []
        for name in (
            "hidden_size",
            "num_layers",
            "num_heads",
            "intermediate_size",
            "groups",
            "rank",
            "hops",
            "min_count",
        ):
            if getattr(self, name) < 1:
                wrong.append(ConfigError(f"model.{name}: {getattr(self, name)}, must be at least 1"))
        for name in (
            "vocab_size",
            "profile_vocab_size",
            "embedding",
            "max_turns",
            "max_utterance_tokens",
            "max_reply_tokens",
            "adapter_bottleneck",
        ):
            if getattr(self, name) < 0:
                wrong.append(ConfigError(f"model.{name}: {getattr(self, name)}, must not be negative"))
        if self.num_heads > 0 and self.hidden_size % self.num_heads:
            wrong.append(ConfigError(f"a width of {self.hidden_size} cannot be shared by {self.num_heads} heads"))
        if self.groups > 0 and self.num_layers % self.groups:
            goes = ", ".join(str(n) for n in range(1, self.num_layers + 1) if not self.num_layers % n)
            wrong.append(
                ConfigError(
                    f"model.groups: {self.num_layers} layers cannot be {self.groups} times the same stack",
                    hint=f"--set model.groups=1, or another of {goes}",
                )
            )
        if self.max_length < 16:
            wrong.append(ConfigError(f"model.max_length: {self.max_length}, must be at least 16"))
        return wrong

    def _shares(self) -> list[ConfigError]:
        wrong = []
        if not 0 <= self.strength <= 1:
            wrong.append(ConfigError(f"model.strength: {self.strength}, must be between 0 and 1"))
        if not 0 <= self.dropout < 1:
            wrong.append(ConfigError(f"model.dropout: {self.dropout}, must be at least 0 and below 1"))
        for name in ("unexpressed_share", "lent_share"):
            if not 0 <= getattr(self, name) <= 1:
                wrong.append(ConfigError(f"model.{name}: {getattr(self, name)}, must be between 0 and 1"))
        for name in ("auxiliary_weight", "predictor_weight", "bias"):
            if getattr(self, name) < 0:
                wrong.append(ConfigError(f"model.{name}: {getattr(self, name)}, must not be negative"))
        if self.tied and self.embedded != self.hidden_size:
            hint = "--set model.embedding=0"
            wrong.append(ConfigError("model.tied: output and embedding have different widths", hint=hint))
        if self.auxiliary_text != "reply" and self.auxiliary != "lm":
            told = f"model.auxiliary_text: only lm says a context, too; the second task is {self.auxiliary}"
            wrong.append(ConfigError(told, hint="--set model.auxiliary=lm"))
        if self.strength_by != "given" and not self.streams:
            hint = "--set model.persona_path=memory_stream"
            wrong.append(ConfigError("model.strength_by: no stream of the persona's is there to weigh", hint=hint))
        return wrong

    def _borrowed(self) -> list[ConfigError]:
        wrong = []
        if self.pieces_of and self.pieces != "wordpiece":
            hint = "--set model.pieces=wordpiece"
            wrong.append(ConfigError(f"model.pieces_of: of an encoder are word pieces, not {self.pieces}", hint=hint))
        if self.pretrained_features and self.pieces_of != self.pretrained_features:
            told = f"model.pretrained_features: {self.pretrained_features} reads no word pieces but its own"
            hint = f"--set model.pieces=wordpiece --set model.pieces_of={self.pretrained_features}"
            wrong.append(ConfigError(told, hint=hint))
        return wrong
