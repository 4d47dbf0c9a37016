"""PLATO's network: a transformer that encodes contexts and decodes replies under a latent variable.

Shape letters: B exchanges, P pairs of context and reply, C context tokens, S latents in use, R = B·S rows, K latents,
D width, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import Tensor, nn

from menura.batches.batch import Batch
from menura.batches.collate import Ids
from menura.batches.encode import EncodedExchange
from menura.batches.plato_inputs import ContextLayout, PlatoInputs, Token
from menura.errors import ConfigError
from menura.models.dialogue_model import DialogueModel
from menura.models.layers.argmax import ScreenedArgmax, blocked_argmax, suppress_tokens
from menura.models.layers.attention_mask import Attend, AttentionMask, SegmentIds
from menura.models.layers.embeddings_and_heads import BagOfWords, Embeddings, MaskedWordHead, Prior, wide
from menura.models.layers.length_bucketing import TOKENS_AT_ONCE, buckets
from menura.models.layers.packed_linear import PackedWeight
from menura.models.layers.transformer import Flexible, Keeping, Masked, Sizes, Transformer
from menura.models.plato.config import PlatoConfig
from menura.models.plato.shared_context import KeyValues, Owners, SharedPrefix


@dataclass(frozen=True)
class PlatoState:
    """The cache: S adjacent rows per exchange, one for each latent.

    ``weights`` (B, S) are log p(z | c, the reply so far); ``offered`` (B, S, V) are each row's log-probabilities of the
    next token. With one row per exchange both are None.
    """

    reading: SharedPrefix
    said: int  # tokens of the reply in the cache
    rows: int  # S
    weights: Tensor | None = None
    offered: Tensor | None = None


@dataclass(frozen=True)
class Drawing:
    """A training pass: the seed of its random numbers, and the share (0 to 1) of training that is done."""

    seed: int
    progress: float


@dataclass(frozen=True)
class EncodedContexts:
    """An encoded dialogue that can be extended turn by turn."""

    ids: tuple[int, ...]
    contexts: "Contexts"


@dataclass(frozen=True)
class Contexts:
    """Encoded contexts: the cache that rows continue from, the hidden states, and those of the head slots."""

    reading: SharedPrefix
    states: Tensor  # (B, C, D), or (R, C, D) where the context depends on the latent
    mask: Tensor  # True where real
    heads: Tensor | None = None  # (R, D)


class PlatoNetwork(DialogueModel[PlatoState]):
    """Generation is bidirectional over [z; context] and causal over the reply; recognition is bidirectional over all.

    ``step`` predicts with the mixture Σ_z p(z | c) p(r | c, z). The training objective is in ``model``.
    """

    def __init__(self, config: PlatoConfig, sizes: Sizes, *, end: int = 0, pre_norm: bool = False) -> None:
        super().__init__()
        self.config, self.rules, self.latents = config, config.rules, config.num_latents
        rules, width = self.rules, sizes.hidden_size
        self.layout = ContextLayout(end, rules.knowledge, rules.knowledge_turn, rules.numbering, config.max_turns)
        pre_norm = pre_norm if config.norm == "" else config.norm == "pre"
        self.embeddings = Embeddings(sizes, config.num_roles, config.max_turns, normed=not pre_norm)
        self.body = Transformer(sizes, pre_norm=pre_norm, dropout=config.dropout)
        self.words = MaskedWordHead(sizes) if config.lm_head == "bert_mlm" else None
        self._packed = PackedWeight()  # of the output embeddings
        self._likeliest = ScreenedArgmax()
        self.prior: Prior | None = None
        if config.num_latents:
            self.latent = nn.Parameter(torch.empty(config.num_latents, width).normal_(std=0.02))
            self.mask_slot = nn.Parameter(torch.empty(1, width).normal_(std=0.02))
            self.posterior = nn.Linear(width, config.num_latents, bias=rules.biases)
            self.bag = BagOfWords(sizes, rules.bow_head, bias=rules.biases)
            self.selection = nn.Linear(width if config.selection == "mask" else 2 * width, 1)
            self.prior = Prior(width, config.num_latents) if rules.prior == "learned" else None
            for head in (self.posterior, self.selection):
                nn.init.normal_(head.weight, std=0.02)
                if head.bias is not None:
                    nn.init.zeros_(head.bias)
        if config.adapter_bottleneck:
            self.body.adapt_with(config.adapter_bottleneck, width)
        self.suppress_ids: tuple[int, ...] = ()  # tokens that no reply may contain
        self._drawing: Drawing | None = None

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        dtype: torch.dtype = self.embeddings.token.weight.dtype
        return dtype

    @property
    def shares_context(self) -> bool:
        """Whether all latents share a context's cache."""
        return self.rules.visibility == "response_only" or not self.latents

    # Recognition

    def recognised(self, pairs: Sequence[tuple[EncodedExchange, Ids]]) -> Tensor:
        """Return h_[M] (P, D) of contexts with replies; a missing end token is added."""
        rows = [(self.layout.context(e), self.layout.reply((e.prefix[-1], *reply))) for e, reply in pairs]
        found: dict[int, Tensor] = {}
        for places in buckets([len(context) + len(reply) for context, reply in rows], TOKENS_AT_ONCE):
            states = self._both_ways([rows[place] for place in places])
            found.update(zip(places, states, strict=True))
        return torch.stack([found[place] for place in range(len(pairs))])

    def _both_ways(self, rows: Sequence[tuple[list[Token], list[Token]]]) -> Tensor:
        context = PlatoInputs.of([context for context, _ in rows], self.device)
        reply = PlatoInputs.of([reply for _, reply in rows], self.device)
        places = SegmentIds.of(context.mask, context.utterance, reply.mask, head=True)
        slot = self.embeddings.slot(self.mask_slot).expand(len(rows), 1, -1)
        x = torch.cat([slot, self.embeddings(context), self.embeddings(reply)], 1)
        attend = self._attention(AttentionMask(recognition=True, context=self.config.context), places)
        states: Tensor = self.body(x, [attend] * len(self.body.blocks))
        return states[:, 0]

    # Generation

    def prefill(self, batch: Batch) -> PlatoState:
        """Read each context once, or once per latent if it depends on the latent; prefill all latents."""
        if not self.latents:
            return PlatoState(self._contexts(batch.exchanges, None).reading, 0, 1)
        contexts = self._contexts(batch.exchanges, self._all_heads(len(batch)))
        return PlatoState(contexts.reading, 0, self.latents, self._log_prior_of(batch.exchanges, contexts))

    def prefill_latents(self, batch: Batch, latents: Sequence[int], *, shared: bool | None = None) -> PlatoState:
        """Prefill a row for each exchange and each of ``latents``, the rows of an exchange adjacent.

        ``shared`` False reads the context again for every row, as is needed if the context depends on the latent; such
        a model raises ConfigError for True. None: shared if the model can.
        """
        if shared and not self.shares_context:
            raise ConfigError(
                "shared: with visibility prefix what is read of a context depends on the latent, so none can share it",
                hint="--set model.visibility=response_only trains one whose latents share it",
            )
        heads = self.latent[list(latents)].expand(len(batch), -1, -1)
        if shared is not False:
            return PlatoState(self._contexts(batch.exchanges, heads).reading, 0, 1)
        each = tuple(e for e in batch.exchanges for _ in latents)
        return PlatoState(self._contexts(each, heads.reshape(-1, 1, heads.shape[-1])).reading, 0, 1)

    def step(self, state: PlatoState, last: Tensor) -> tuple[Tensor, PlatoState]:
        """Append ``last`` (B,) to the reply; return log-probabilities (B, V) of the mixture and the new state."""
        scores, state = self._advanced(state, last)
        return scores if state.weights is not None else scores.log_softmax(-1), state

    def _advanced(self, state: PlatoState, last: Tensor) -> tuple[Tensor, PlatoState]:
        """Return what ``step`` does, but logits if there is one row per exchange."""
        states, after = self._read_last(state, last)
        offered = wide(self.logits(states))
        if state.weights is None:
            return offered, after
        weights, offered = state.weights, offered.log_softmax(-1)
        if state.offered is not None:
            heard = state.offered.gather(2, last[:, None, None].expand(-1, state.rows, 1)).squeeze(2)
            weights = (weights + heard).log_softmax(-1)
        offered = offered.view(-1, state.rows, offered.shape[-1])
        mixed = (weights.unsqueeze(2) + offered).logsumexp(1)
        return mixed, replace(after, weights=weights, offered=offered)

    def _read_last(self, state: PlatoState, last: Tensor) -> tuple[Tensor, PlatoState]:
        """Return hidden states (R, D) of ``last`` and the new cache; the latents' weights are not updated."""
        hidden, reading = self._said(state.reading, self.layout.next(last, state.said), state.rows)
        return hidden[:, 0], replace(state, reading=reading, said=state.said + 1)

    def step_logits(self, state: PlatoState, last: Tensor) -> tuple[Tensor, PlatoState]:
        """Do ``step``; return logits with −inf at ``suppress_ids``."""
        scores, state = self._advanced(state, last)
        return suppress_tokens(scores, self.suppress_ids), state

    def step_argmax(self, state: PlatoState, last: Tensor) -> tuple[Tensor, PlatoState]:
        """Do ``step``; return (B,) the likeliest tokens; with one row per exchange not all words are scored."""
        if state.weights is not None:
            scores, state = self.step_logits(state, last)
            return blocked_argmax(scores), state
        states, state = self._read_last(state, last)
        found = self._likeliest_word(states)
        return blocked_argmax(
            suppress_tokens(wide(self.logits(states)), self.suppress_ids)
        ) if found is None else found, state

    def reorder_cache(self, state: PlatoState, rows: Tensor) -> PlatoState:
        """Return the state of some exchanges; contexts are not copied."""
        each = (rows[:, None] * state.rows + torch.arange(state.rows, device=rows.device)).flatten()
        weights = None if state.weights is None else state.weights[rows]
        offered = None if state.offered is None else state.offered[rows]
        return PlatoState(state.reading.chosen(each), state.said, state.rows, weights, offered)

    def logits(self, states: Tensor) -> Tensor:
        """Return (…, V) of states (…, D)."""
        table = self.embeddings.token.weight
        return self._packed.linear(states, table, None) if self.words is None else self.words(states, table)

    def _likeliest_word(self, states: Tensor) -> Tensor | None:
        """Return (B,) the argmax of the logits of states (B, D); None where all have to be computed."""
        table, words = self.embeddings.token.weight, self.words
        if words is None:
            return self._likeliest.of(states, table, None, self.suppress_ids)
        return self._likeliest.of(words.transform(states), table, words.bias, self.suppress_ids)

    # A dialogue that is extended

    def read_on(self, exchange: EncodedExchange, before: EncodedContexts | None = None) -> EncodedContexts:
        """Encode an exchange's context; of a dialogue encoded ``before`` only the turns since.

        Raises ConfigError for any ``context`` but block_bi, where the earlier encoding would change.
        """
        if self.config.context != "block_bi":
            told = f"model.context: {self.config.context}, so that every turn is read anew with those that follow it"
            raise ConfigError(told, hint="train with --set model.context=block_bi to keep what was read")
        tokens = self.layout.context(exchange)
        ids = tuple(token.id for token in tokens)
        heard = before if before and ids[: len(before.ids)] == before.ids else self._silence()
        for _, turn in groupby(tokens[len(heard.ids) :], key=lambda token: token.utterance):
            heard = self._read_turn(heard, list(turn))
        return heard

    def prefill_encoded(self, heard: EncodedContexts, latents: Sequence[int] | None = None) -> PlatoState:
        """Prefill one reply after an encoded dialogue: under all latents, or with a row for each of ``latents``."""
        if not self.latents:
            return PlatoState(heard.contexts.reading, 0, 1)
        heads = self.latent if latents is None else self.latent[list(latents)]
        rows = len(heads)
        contexts = self._awaiting(self._in_rows(heard.contexts, 1, rows), heads)
        if latents is not None:
            return PlatoState(contexts.reading, 0, 1)
        return PlatoState(contexts.reading, 0, rows, self._log_prior_above(heard.contexts))

    def _silence(self) -> EncodedContexts:
        """Return the encoding of an empty dialogue."""
        width, layers = self.embeddings.token.embedding_dim, len(self.body.blocks)
        nothing = self.embeddings.token.weight.new_zeros((1, 0, width))
        kept = nothing.view(1, self.body.heads, 0, width // self.body.heads)
        none = ((kept, kept),) * layers
        reading = SharedPrefix(none, nothing.new_zeros((1, 1, 1, 0)), Owners.alike(1, 1, self.device), none)
        return EncodedContexts(
            (), Contexts(reading, nothing, torch.zeros((1, 0), dtype=torch.bool, device=self.device))
        )

    def _read_turn(self, heard: EncodedContexts, turn: list[Token]) -> EncodedContexts:
        """Encode one more utterance, bidirectional in itself, with attention to all turns before."""
        read = PlatoInputs.of([turn], self.device)
        contexts, grown = heard.contexts, list[KeyValues]()
        states = self.body(self.embeddings(read), contexts.reading.attends(grown, both_ways=True))
        before = contexts.reading
        shared = tuple(
            (torch.cat([keys, new_keys], 2), torch.cat([values, new_values], 2))
            for (keys, values), (new_keys, new_values) in zip(before.shared, grown, strict=True)
        )
        shut = torch.cat([before.shut, before.shut.new_zeros((1, 1, 1, len(turn)))], 3)
        together = Contexts(
            replace(before, shared=shared, shut=shut),
            torch.cat([contexts.states, states], 1),
            torch.cat([contexts.mask, read.mask], 1),
        )
        return EncodedContexts((*heard.ids, *(token.id for token in turn)), together)

    # Encoding

    def _all_heads(self, exchanges: int) -> Tensor:
        """Return (B, K, D): each latent's embedding for each exchange."""
        return self.latent.expand(exchanges, -1, -1)

    def _contexts(self, exchanges: Sequence[EncodedExchange], heads: Tensor | None) -> Contexts:
        """Encode contexts under head slots (B, S, D), or none; slots hidden from the context are encoded later."""
        read = PlatoInputs.of([self.layout.context(exchange) for exchange in exchanges], self.device)
        x = self.embeddings(read)
        if heads is None or self.shares_context:
            contexts = self._read(x, read, head=False)
            if heads is None:
                return contexts
            return self._awaiting(self._in_rows(contexts, len(exchanges), heads.shape[1]), heads.flatten(0, 1))
        rows = heads.shape[1]
        wide = PlatoInputs(*(value.repeat_interleave(rows, 0) for value in vars(read).values()))
        slot = self.embeddings.slot(heads.flatten(0, 1)).unsqueeze(1)
        return self._read(torch.cat([slot, x.repeat_interleave(rows, 0)], 1), wide, head=True)

    def _read(self, x: Tensor, read: PlatoInputs, *, head: bool) -> Contexts:
        """Encode everything before the reply in one pass, with its keys and values."""
        places = SegmentIds.of(read.mask, read.utterance, read.mask[:, :0], head=head)
        kept: list[KeyValues] = []
        attend = self._attention(AttentionMask(context=self.config.context, latent=self.rules.visibility), places)
        states = self.body(x, [Keeping(attend, kept)] * len(self.body.blocks))
        shut = torch.zeros_like(places.segment, dtype=x.dtype).masked_fill(places.segment < 0, float("-inf"))
        own = tuple((keys[:, :, :0], values[:, :, :0]) for keys, values in kept)
        reading = SharedPrefix(tuple(kept), shut[:, None, None], Owners.alike(len(x), 1, self.device), own)
        return Contexts(reading, states[:, int(head) :], read.mask, states[:, 0] if head else None)

    def _in_rows(self, contexts: Contexts, exchanges: int, rows: int) -> Contexts:
        """Give each context ``rows`` rows, with no keys of their own yet."""
        shared = contexts.reading.shared
        own = tuple((keys[:1, :, :0].expand(exchanges * rows, -1, -1, -1),) * 2 for keys, _ in shared)
        owners = Owners.alike(exchanges, rows, self.device)
        return replace(contexts, reading=replace(contexts.reading, owners=owners, own=own))

    def _awaiting(self, contexts: Contexts, heads: Tensor) -> Contexts:
        """Queue head slots (R, D), hidden from the contexts, to be encoded with the next tokens."""
        return replace(contexts, reading=replace(contexts.reading, waiting=self.embeddings.slot(heads).unsqueeze(1)))

    def _headed(self, contexts: Contexts) -> Contexts:
        """Encode the queued head slots, and return their hidden states, too."""
        reading, grown = contexts.reading, list[KeyValues]()
        if reading.waiting is None:
            return contexts
        states = self.body(reading.waiting, reading.attends(grown, dropout=self._dropped))
        return replace(contexts, reading=replace(reading, own=tuple(grown), waiting=None), heads=states[:, 0])

    def _said(self, reading: SharedPrefix, tokens: PlatoInputs, rows: int) -> tuple[Tensor, SharedPrefix]:
        """Return hidden states (R, T, D) of reply tokens (B, T), in ``rows`` rows each, and the new cache."""
        x, grown = self.embeddings(tokens).repeat_interleave(rows, 0), list[KeyValues]()
        before = () if reading.waiting is None else (reading.waiting,)
        states = self.body(torch.cat([*before, x], 1), reading.attends(grown, dropout=self._dropped))
        return states[:, len(before) :], replace(reading, own=tuple(grown), waiting=None)

    def _attention(self, sight: AttentionMask, places: SegmentIds) -> Attend:
        # FlexAttention has no dropout, and no gradient on a CPU.
        flexible = not self._dropped and not (torch.is_grad_enabled() and self.device.type == "cpu")
        if self.config.attention == "flex" and flexible:
            return Flexible(sight.block_mask(places))
        return Masked(sight.fused(places), self._dropped, plain=self.config.attention == "plain")

    @property
    def _dropped(self) -> float:
        return self.config.dropout if self._drawing else 0.0

    # The prior

    def _log_prior_of(self, exchanges: Sequence[EncodedExchange], contexts: Contexts) -> Tensor:
        """Return log p(z | c) (B, K); contexts that depend on the latent are encoded once more without one."""
        if self.prior is None:
            return self._uniform(len(exchanges))
        return self._log_prior_above(contexts if self.shares_context else self._contexts(exchanges, None))

    def _log_prior_above(self, contexts: Contexts) -> Tensor:
        """Return log p(z | c) (B, K) of contexts encoded without a latent; uniform if the prior is not learned.

        The prior is trained towards the posterior, and has no gradient to the contexts.
        """
        if self.prior is None:
            return self._uniform(len(contexts.mask))
        states = contexts.states.detach() if self._drawing else contexts.states
        return wide(self.prior(states, contexts.mask))

    def _uniform(self, exchanges: int) -> Tensor:
        return self.embeddings.token.weight.new_zeros((exchanges, max(self.latents, 1))).log_softmax(-1)
