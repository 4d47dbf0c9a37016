"""Settings of AR and AR+, and what three presets differ in: the paper, its program, and that without its defects."""

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
# What the programs hold and count and nothing uses: norms and a gate in AR+'s layers, maps to a predictor in AR's.
Dead = Literal["none", "norms", "stubs"]


@dataclass(frozen=True)
class RoutingRules:
    """What the three presets differ in (spec B2 to B8)."""

    factor: FeedForwardKind = "factor_fixed"  # what a factorised feed-forward network is
    gates: Gating = "per_sublayer"
    normed_skip: bool = False  # the norm stands on the skip path, too
    shared_projection: bool = True  # one map from embeddings to states for all streams
    token_slots: bool = False  # each token of a profile is a slot of the memory, keys as well
    whole_query: bool = False  # the memory is asked by the whole context, not by what was said last
    amplified_hops: bool = False  # what a hop found is pooled again over the places it was added to
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
    """AR+ as it stands; AR and the rows of the ablation are recipes that change some of it.

    ``pieces`` are what texts are made of, ``vocabulary`` the most of them that are learnt from the training side (0 =
    all that are said ``least_said`` times). ``attributes`` are the keys of profiles that are read, comma-separated
    ("" = all there are). ``embedding`` 0 is the width. ``groups`` is how often a stack of layers / groups different
    layers is gone through. With ``memory`` profiles are read by words from a memory of ``hops`` hops, whose ``slots``
    are their values, or each word of these ("" = as the preset has it), and reach the reply by ``persona_path``;
    without it by characters, as a stream of their own. ``hop_tying`` adjacent has hops + 1 tables, layer_wise two and a
    map from hop to hop.

    ``strength`` is a of Eq 1, the weight of the persona's stream; ``strength_by`` predicted computes it from the
    context, labelled takes in training whether the reply says something of the persona's, and predicts it beside that;
    graded takes a number between 0 and 1 that is likelier the nearer it is to that label, so that what lies between
    is learnt, too. Replies that say something are few: of the others both learn from ``unexpressed_share`` only, and of
    these that say something of another training speaker's, ``lent_share`` is learnt as though another had replied, who
    tells a piece of it or does not.
    ``auxiliary`` is the second task of pooled training, and counts ``auxiliary_weight`` times (λ1), the predictor's
    loss ``predictor_weight`` times (λ2); what lm says is ``auxiliary_text``. Without ``keep`` the wide layer of a
    factorised network is not kept for the backward pass but computed again, which is a tenth of a layer's work.

    What the study found ineffective, all off: ``adapter_size`` is the bottleneck of two networks in every layer, which
    encoder and decoder go through alike. ``pretrained_weights`` names a BERT (minilm, a folder) whose layers the layers
    begin as. ``pretrained_features`` names one whose states of a context, of layer ``features_layer`` (0 is the
    embeddings), stand beside the table's rows or in their place; ``features_width`` is filled in. With ``pieces_of``
    the word pieces are those of an encoder; features need those of their own.
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
    tied: bool = False  # output and embedding are one table
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
        """Refuse numbers that make no network; all that are wrong are reported together."""
        problems = [*self._sizes(), *self._shares(), *self._borrowed()]
        if problems:
            raise ConfigError.of([p for error in problems for p in error.problems])

    @property
    def rules(self) -> RoutingRules:
        """The preset's rules."""
        return RULES[self.preset]

    @property
    def network(self) -> FeedForwardKind:
        """What the feed-forward networks are."""
        return self.feed_forward or self.rules.factor

    @property
    def gating(self) -> Gating:
        """How many gates there are."""
        return self.gates or self.rules.gates

    @property
    def token_slots(self) -> bool:
        """Whether each token of a profile is a slot of the memory."""
        return self.slots == "tokens" if self.slots else self.rules.token_slots

    @property
    def unused(self) -> Dead:
        """What is there and never used."""
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
                    hint=f"--set model.groups= one of {goes}",
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
