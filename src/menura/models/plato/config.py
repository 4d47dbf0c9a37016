"""PLATO's settings and its presets: as in the paper, as in its program, and as in the program with defects fixed."""

from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from menura.batches.plato_inputs import Knowledge, KnowledgeTurn, TurnNumbering
from menura.errors import ConfigError
from menura.models.layers.attention_mask import Attention, Visibility
from menura.models.layers.latent import Sampling

Preset = Literal["fixed", "release", "paper"]


@dataclass(frozen=True)
class PlatoRules:
    """The choices in which the three presets differ, in the words of the paper and of its program (A3 to A9)."""

    sampling: Sampling = "gumbel_st"
    temperature: float = 0.5  # at the end; with ``anneal`` it is 1 at the start of training
    anneal: bool = True
    visibility: Visibility = "response_only"
    knowledge: Knowledge = "after"
    knowledge_turn: KnowledgeTurn = "none"
    numbering: TurnNumbering = "to_reply"
    bow_head: Literal["separate", "tied", "transform"] = "transform"
    biases: bool = True  # b_1 and b_2 of posterior and bag of words
    mask_from_vocabulary: bool = True  # [M] is initialised as the base's [MASK]
    prior: Literal["learned", "uniform"] = "learned"
    negatives: Literal["corpus", "batch"] = "corpus"
    max_fact_tokens: int = 64  # of a fact, its end not counted
    through: bool = False  # truncation may cut the oldest kept utterance


RULES: dict[Preset, PlatoRules] = {
    "fixed": PlatoRules(),
    "release": PlatoRules(
        sampling="gumbel_soft",
        temperature=0.67,
        anneal=False,
        visibility="prefix",
        knowledge_turn="index",
        bow_head="separate",
        biases=False,
        mask_from_vocabulary=False,
        prior="uniform",
        negatives="batch",
        max_fact_tokens=16,
        through=True,
    ),
    "paper": PlatoRules(
        sampling="gumbel_soft",
        temperature=0.67,
        anneal=False,
        visibility="prefix",
        bow_head="separate",
        mask_from_vocabulary=False,
        prior="uniform",
    ),
}


@dataclass(frozen=True)
class PlatoConfig:
    """Settings of a PLATO; "" (or a negative number) means: as in the ``preset``.

    ``base`` gives the vocabulary and, with ``init`` base, the weights: minilm, a folder or a hub id of a BERT or a
    GPT-2. ``vocab_size``, ``hidden_size``, ``num_layers``, ``num_heads``, ``intermediate_size`` and ``max_positions``
    are the base's where they are 0, and may differ only with ``init`` random; but ``num_layers`` may be fewer than the
    base's, the lowest. With ``pieces`` training only the word pieces stay that occur ``min_count`` times in the
    training data, at most ``vocab_size`` (0 = no bound); the others' words are spelt with smaller pieces.
    ``num_latents`` 0 is "without latent": no head slot, no recognition, no selection. ``adapter_bottleneck`` is the
    size of Houlsby adapters in every layer, 0 for none. ``top_latents`` limits training on the mixture to the latents
    that recognition finds likeliest for an exchange (0 = all); evaluation always sums over all.

    ``knowledge`` says whether the persona's facts stand after or before the utterances; with ``knowledge_turn`` none
    they have no turn embedding, with index the n-th fact has turn n (counted from 0).

    ``visibility`` response_only hides z from the context, so that all candidates share its cache. ``context`` block_bi
    lets an utterance attend to itself and to earlier ones, so that the cache stays valid when the dialogue goes on.
    ``reduction`` averages the NLL of reply and bag of words over replies (sentence_sum) or tokens (token_mean). ``bow``
    exact takes the bag's NLL as its expectation under the posterior, not under the one drawn latent: the same mean with
    less variance. ``entropy_weight`` rewards uncertain posteriors, ``mutual_info_weight`` mutual information of latent
    and exchange.

    Against a latent that is never used: with ``targets`` clusters the first ``target_share`` of training is supervised:
    a reply is generated under, and recognised as, the number of its k-means cluster, over mean states of replies alone
    under the initial weights. ``sampling`` hard_em trains each reply under the latent that gives it the lowest NLL, and
    recognition towards it. ``mutual_info_weight`` is a usage term over the replies of a batch, which ``outer.batched``
    makes large.

    ``recognition`` after_context reads a context once, for generation and for recognition, in which reply and [M] then
    see the context, but the context does not see the reply; it saves the tokens of reading contexts again. With it
    ``selection`` match gives response selection, beside [M], the products of the mean states of context and reply.
    """

    name: ClassVar[str] = "plato"

    base: str = "minilm"
    init: Literal["base", "random"] = "base"
    preset: Preset = "fixed"
    pieces: Literal["base", "training"] = "base"
    min_count: int = 1
    vocab_size: int = 0
    hidden_size: int = 0
    num_layers: int = 0
    num_heads: int = 0
    intermediate_size: int = 0
    max_positions: int = 0
    num_roles: int = 3
    max_turns: int = 16
    num_latents: int = 20
    dropout: float = 0.1
    context: Attention = "bi"
    recognition: Literal["bidirectional", "after_context"] = "bidirectional"
    norm: Literal["", "post", "pre"] = ""  # empty: as the base was trained
    lm_head: Literal["tied", "bert_mlm"] = "tied"
    sampling: Literal["", "gumbel_soft", "gumbel_st", "argmax", "sample", "enumerate", "hard_em"] = ""
    temperature: float = -1.0
    visibility: Literal["", "prefix", "response_only"] = ""
    knowledge: Literal["", "after", "before"] = ""
    knowledge_turn: Literal["", "none", "index"] = ""
    bow_head: Literal["", "separate", "tied", "transform"] = ""
    prior: Literal["", "learned", "uniform"] = ""
    negatives: Literal["", "corpus", "batch"] = ""
    num_negatives: int = 1  # per exchange, for response selection
    selection: Literal["mask", "match"] = "mask"  # what its head reads
    selection_weight: float = 1.0
    bow_weight: float = 1.0
    bow: Literal["drawn", "exact"] = "drawn"
    bow_end: bool = True  # whether the end token is in the bag
    reduction: Literal["sentence_sum", "token_mean"] = "sentence_sum"
    entropy_weight: float = 0.0
    mutual_info_weight: float = 0.0
    targets: Literal["none", "clusters"] = "none"
    target_share: float = 0.5  # of the training's steps
    target_weight: float = 20.0  # of recognition's loss towards targets, as selection's beside sums over tokens
    label_smoothing: float = 0.0  # of the reply's labels
    max_length: int = 308  # tokens of context and reply: 256 and 52
    max_utterance_tokens: int = 50  # of an utterance, its end token not counted: the last ones are kept
    max_reply_tokens: int = 50  # tokens of a reply to learn from
    max_facts: int = 16  # further ones are left out
    max_fact_tokens: int = 0  # 0: as in the preset
    adapter_bottleneck: int = 0
    top_latents: int = 0
    init_from: str = ""
    attention: Literal["fused", "plain", "flex"] = "fused"

    def __post_init__(self) -> None:
        """Refuse numbers that make no network, and settings that exclude each other."""
        least = {
            "max_length": 32,
            "num_roles": 2,
            "max_turns": 2,
            "max_utterance_tokens": 1,
            "max_reply_tokens": 1,
            "max_facts": 1,
            "num_negatives": 1,
            "min_count": 1,
        }
        for name in (
            "vocab_size",
            "hidden_size",
            "num_layers",
            "num_heads",
            "intermediate_size",
            "max_positions",
            "num_latents",
            "adapter_bottleneck",
            "top_latents",
            "max_fact_tokens",
        ):
            least[name] = 0
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise ConfigError(f"model.{name}: {getattr(self, name)}, must be at least {lowest}")
        if self.temperature == 0:
            raise ConfigError("model.temperature: 0, must be above 0", hint="--set model.sampling=argmax draws nothing")
        for name in ("dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"model.{name}: {getattr(self, name)}, must be at least 0 and below 1")
        if not 0 <= self.target_share <= 1:
            raise ConfigError(f"model.target_share: {self.target_share}, must be between 0 and 1")
        for name in ("selection_weight", "bow_weight", "entropy_weight", "mutual_info_weight", "target_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"model.{name}: {getattr(self, name)}, must not be negative")
        self._check_together()

    def _check_together(self) -> None:
        if self.num_latents and self.context == "uni":
            raise ConfigError(
                "model.context: uni, but the latent stands at position 0 and recognition there would see nothing",
                hint="--set model.num_latents=0, or leave model.context at bi",
            )
        if self.context == "block_bi" and (self.rules.visibility == "prefix" and self.num_latents):
            raise ConfigError(
                "model.context: block_bi keeps what was read, but with visibility prefix it depends on the latent",
                hint="--set model.visibility=response_only",
            )
        if self.init == "base" and any((self.hidden_size, self.num_heads, self.intermediate_size)):
            raise ConfigError(
                "model.hidden_size, num_heads, intermediate_size: a base's weights fit its own sizes only",
                hint="--set model.init=random",
            )
        if self.selection == "match" and self.recognition != "after_context":
            raise ConfigError(
                "model.selection: match compares the reply with a context that was read without it",
                hint="--set model.recognition=after_context",
            )
        if self.recognition == "after_context" and self.num_latents and self.rules.visibility == "prefix":
            raise ConfigError(
                "model.recognition: after_context reads a context once, but by visibility prefix each latent has one",
                hint="--set model.visibility=response_only",
            )

    @property
    def rules(self) -> PlatoRules:
        """Return the preset's rules, overridden by the settings that are not empty."""
        preset = RULES[self.preset]
        given = {}
        for field in fields(PlatoRules):
            value = getattr(self, field.name, None)
            if value not in (None, "", 0) and not (isinstance(value, float) and value < 0):
                given[field.name] = value
        if self.context == "block_bi":  # the cache must stay valid when the dialogue goes on
            given |= {"knowledge": "before", "numbering": "from_start"}
        return PlatoRules(**{**{field.name: getattr(preset, field.name) for field in fields(PlatoRules)}, **given})
