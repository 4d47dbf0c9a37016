"""A pretrained causal language model with adapters, any of transformers, that replies as a persona (MAMLviaPP).

Shape letters: B exchanges, T tokens side by side, L tokens of each row, N labels, D width, V vocabulary.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from menura.batches.batch import Batch, SoftTargets
from menura.batches.collate import indices_by_key
from menura.batches.encode import EncodedExchange, Ids
from menura.batches.padded import PaddedBatch, padded
from menura.batches.varlen import PackedChunk, SequenceLayout
from menura.errors import ConfigError
from menura.models.causal_lm.adapter_bank import AdapterBank, BatchedAdapters, batched_adapters
from menura.models.causal_lm.adapter_hooks import Attachment, neutral_weights
from menura.models.causal_lm.backbone import backbone_of
from menura.models.causal_lm.base_checks import check_starts_as_base as check_starts_as_base  # the loader asks here
from menura.models.causal_lm.base_checks import check_trainable
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.causal_lm.functional_networks import functional_network
from menura.models.causal_lm.head import head_of
from menura.models.causal_lm.hf_modules import blocks_of
from menura.models.causal_lm.kv_cache import joined_mask
from menura.models.causal_lm.label_losses import LabelLosses
from menura.models.causal_lm.padded_forward import padded_forward, padded_forward_above
from menura.models.dialogue_model import DialogueModel, Loss, mean_loss, softened_by
from menura.models.layers.argmax import suppress_tokens
from menura.models.layers.embeddings_and_heads import special_rows, wide
from menura.models.layers.neural_cache import NeuralCache

PASS_TOKENS = 2048  # tokens in one forward pass: bounds memory, changes no result
LOSS_TOKENS = 512  # the same where a gradient may be wanted, for which all that was computed on the way is kept
REPLIES_AT_ONCE = 5  # candidates in one forward pass after a shared context
KEPT_BYTES = 1 << 30  # of cached frozen-layer output for sequences seen before


@dataclass(frozen=True)
class CausalState:
    """The cache of the tokens read so far; ``mask`` (B, cached tokens) is True where real, None where all are."""

    cache: Any
    mask: Tensor | None
    persona_rows: Tensor | None = None  # (B,) each row's persona in the adapter bank in use


class CausalLm(DialogueModel[CausalState]):
    """Facts, context and reply as one sequence; loss on the reply's tokens and its end token only."""

    def __init__(self, network: PreTrainedModel, config: CausalLmConfig) -> None:
        super().__init__()
        self.network = network
        self._blocks = blocks_of(network.base_model, network.config.num_hidden_layers)
        # In a tuple, so that it is not registered as a submodule; asking the network each time costs more.
        self._table = (network.get_input_embeddings(),)
        self._vocabulary = self._table[0].weight.shape[0]
        self._head = head_of(network)
        self.suppress_ids: tuple[int, ...] = ()  # tokens that no reply may contain: rows beyond the vocabulary
        self._first = config.adapters.first_layer(len(self._blocks))
        self._kept: OrderedDict[tuple[int, ...], Tensor] = OrderedDict()
        self._kept_bytes = 0
        self._attachment = Attachment(config.adapters, self._blocks, network.config.hidden_size)
        self._adapters_in_use: BatchedAdapters | None = None
        self._cache_in_use: NeuralCache | None = None
        self.backbone = backbone_of(network, self._blocks, self._first)
        self.adapters = self._attachment.adapters.to(next(network.parameters()).device)
        self.special_rows = special_rows(self._table[0], self.dtype) if config.chat_format == "special" else None
        self.token_type_embeddings: nn.Parameter | None = None
        extra_place = config.adapters.kind != "none"
        check_trainable(network, train=config.train_base or not extra_place)
        network.requires_grad_(config.train_base or not extra_place)
        self.lower_is_frozen = extra_place and not config.train_base and self._first > 0 and self.special_rows is None

    @property
    def lm(self) -> "CausalLm":
        """The causal language model itself; models that wrap one have the same property."""
        return self

    def loss(self, batch: Batch) -> Loss:
        """Return the loss of the batch's replies, each dialogue read once; of one chunk, its share of that."""
        if isinstance(batch, PaddedBatch):
            return self._padded_loss(batch)
        nll = torch.zeros(len(batch), device=self.device, dtype=self.dtype)
        few = batch.chunk is not None and not self._head_learns and self._cache_in_use is None
        losses, softened = LabelLosses(self.logits_of, batch.soft_targets, few), []
        for number, part in enumerate(batch.packed.chunks(LOSS_TOKENS)):
            if batch.chunk not in (None, number):
                continue
            token_nll, soft = losses.of(self._hidden(part, part.predict_index), part.labels, number)
            nll = nll.index_add(0, part.label_exchange, token_nll.to(nll.dtype))
            softened.append(soft)
        return softened_by(mean_loss(nll, batch.reply_lengths), batch.soft_targets, softened)

    def parts(self, batch: Batch) -> list[Batch]:
        """Return the batch once for each of its packed chunks."""
        return [batch.part(number) for number in range(len(batch.packed.chunks(LOSS_TOKENS)))]

    @torch.no_grad()
    def with_soft_targets(self, batch: Batch, share: float) -> Batch:
        """Return the batch with the model's present distribution at each label as soft target."""
        states = tuple(self._hidden(part, part.predict_index) for part in batch.packed.chunks(LOSS_TOKENS))
        learns = self._head_learns
        probabilities = tuple(self.logits_of(hidden).softmax(-1) for hidden in states) if learns else ()
        return replace(batch, soft_targets=SoftTargets(share, probabilities, () if learns else states))

    @property
    def _head_learns(self) -> bool:
        """Whether what makes logits of states is trained: an in-place base's is."""
        return self.special_rows is not None or self._table[0].weight.requires_grad

    def check_padded(self) -> None:
        """Raise ConfigError if the network has no functional layers here."""
        if functional_network(self.network.base_model) is None:
            message = (
                f"{type(self.network).__name__}: only layers of the fast backbone can be compiled with their gradient"
            )
            raise ConfigError(message, hint="leave outer.compile out")

    def padded(self, batch: Batch) -> PaddedBatch:
        """Return a batch as padded tensors; frozen lower layers are run here."""
        parts = batch.packed.chunks(PASS_TOKENS)
        packed = [torch.cat([self._lower(row) for row in p.ids]) if self.lower_is_frozen else p.packed for p in parts]
        return padded(batch, list(zip(parts, packed, strict=True)), self.network.get_input_embeddings().weight)

    def _padded_loss(self, batch: PaddedBatch) -> Loss:
        nll, form = [], functional_network(self.network.base_model)
        assert form is not None, "check_padded was to refuse it"
        for part in batch.parts:
            if self.lower_is_frozen:
                hidden = padded_forward_above(form, self._first, part)
            else:
                hidden = padded_forward(form, self._embedded(part.packed), part)
            token_nll = nn.functional.cross_entropy(self.logits_of(hidden), part.labels, reduction="none")
            nll.append(token_nll * part.label_mask)
        return mean_loss(torch.cat(nll), wide(torch.cat([part.label_mask for part in batch.parts])))

    def prefill(self, batch: Batch) -> CausalState:
        """Read all of each prefix but its last token, which is the first input of ``step``."""
        packed, rows = self._side_by_side([exchange.prefix[:-1] for exchange in batch.exchanges])
        mask = None if len(rows.runs) == 1 else batch.prefix.mask[:, :-1]
        persona_rows = self._adapters_in_use.rows if self._adapters_in_use else None
        with self._with_adapters(persona_rows, rows.lengths):
            return CausalState(self.backbone.prefill(self._embedded(packed), rows), mask, persona_rows)

    def prefill_logits(self, batch: Batch) -> tuple[Tensor, CausalState]:
        """Read each whole prefix; return logits (B, V), −inf at ``suppress_ids``, and the state."""
        hidden, state = self.prefill_hidden(batch)
        return self.suppressed(self.logits_of(hidden)), state

    def prefill_hidden(self, batch: Batch) -> tuple[Tensor, CausalState]:
        """Read each whole prefix; return the last hidden state (B, D) behind each, and the state."""
        packed, rows = self._side_by_side([exchange.prefix for exchange in batch.exchanges])
        mask = None if len(rows.runs) == 1 else batch.prefix.mask
        persona_rows = self._adapters_in_use.rows if self._adapters_in_use else None
        with self._with_adapters(persona_rows, rows.lengths):
            hidden, cache = self.backbone.prefill_last(self._embedded(packed), rows)
        return hidden, CausalState(cache, mask, persona_rows)

    def step(self, state: CausalState, last: Tensor) -> tuple[Tensor, CausalState]:
        """Read ``last`` (B,); return log-probabilities (B, V) of all tokens and the new state."""
        hidden, state = self._read(state, last[:, None])
        return self.logits_of(hidden[:, -1]).log_softmax(-1), state

    def step_logits(self, state: CausalState, last: Tensor) -> tuple[Tensor, CausalState]:
        """Read ``last`` (B,); return logits (B, V), −inf at ``suppress_ids``, and the new state."""
        hidden, state = self._read(state, last[:, None])
        return self.suppressed(self.logits_of(hidden[:, -1])), state

    def extend_hidden(self, state: CausalState, ids: Tensor) -> tuple[Tensor, CausalState]:
        """Read ids (B, L); return the last hidden state (B, D) behind the last one, and the new state."""
        hidden, state = self._read(state, ids)
        return hidden[:, -1], state

    def suppressed(self, logits: Tensor) -> Tensor:
        """Return logits (…, V) with −inf at tokens that no reply may contain."""
        return suppress_tokens(logits, self.suppress_ids) if self.suppress_ids else logits

    def reorder_cache(self, state: CausalState, rows: Tensor) -> CausalState:
        """Return the state of some rows."""
        mask = None if state.mask is None else state.mask[rows]
        full = mask is None or bool(mask.all())
        persona_rows = None if state.persona_rows is None else state.persona_rows[rows]
        return CausalState(self.backbone.reorder(state.cache, rows), None if full else mask, persona_rows)

    @torch.no_grad()
    def reply_nll(self, batch: Batch, prefilled: CausalState | None = None) -> Tensor:
        """Return (B,) −log p of each reply; exchanges with the same prefix share one prefill.

        ``prefilled`` is the one-row state of a prefix that all share, if it was read before; it stays usable.
        """
        nll = torch.zeros(len(batch), device=self.device, dtype=self.dtype)
        for group in indices_by_key([e.prefix for e in batch.exchanges]):
            one = prefilled or self.prefill(self.batch([batch.exchanges[group[0]]]))
            # Batched by length: one long reply would pad all the others to its own length.
            by_length = sorted(group, key=lambda index: len(batch.exchanges[index].reply))
            for start in range(0, len(by_length), REPLIES_AT_ONCE):
                few = by_length[start : start + REPLIES_AT_ONCE]
                nll[torch.tensor(few, device=self.device)] = self._nll_after(one, [batch.exchanges[i] for i in few])
        return nll

    def _nll_after(self, one: CausalState, exchanges: Sequence[EncodedExchange]) -> Tensor:
        """Return −log p of each exchange's reply, from the one-row state of the prefix they share."""
        state = self.reorder_cache(one, torch.zeros(len(exchanges), dtype=torch.long, device=self.device))
        members = self.batch(exchanges)
        kept, last = members.reply.mask, members.prefix.ids[:, -1:]
        read = torch.cat([last, members.reply.ids[:, :-1]], 1)
        hidden, _ = self._read(state, read, torch.cat([torch.ones_like(last, dtype=torch.bool), kept[:, :-1]], 1))
        token_nll = torch.zeros(kept.shape, device=self.device, dtype=self.dtype)
        scored = nn.functional.cross_entropy(self.logits_of(hidden[kept]), members.reply.ids[kept], reduction="none")
        token_nll[kept] = scored.to(self.dtype)
        return token_nll.sum(1)

    def read(self, batch: Batch, replies: int) -> tuple[Tensor, Tensor]:
        """Return (replies,) −log p of the first ``replies`` replies, and (B, D) the final state of every reply.

        The final state is the last hidden state at a reply's last token. A prefix that exchanges share is read once.
        """
        nll = torch.zeros(replies, device=self.device, dtype=self.dtype)
        ends, persona_rows = [], []
        for part in (batch.prefix_tree if self.backbone.packed else batch.packed).chunks(PASS_TOKENS):
            of_replies, (at, exchange) = part.label_exchange < replies, part.ends
            predict_index = part.predict_index[of_replies]
            states, end = torch.split(self._hidden(part, torch.cat([predict_index, at])), [len(predict_index), len(at)])
            token_nll = nn.functional.cross_entropy(self.logits_of(states), part.labels[of_replies], reduction="none")
            nll = nll.index_add(0, part.label_exchange[of_replies], token_nll.to(nll.dtype))
            ends.append(end)
            persona_rows.append(exchange)
        return nll, wide(torch.cat(ends)[torch.cat(persona_rows).argsort()])

    @torch.no_grad()
    def reply_ends(self, batch: Batch, prefilled: CausalState | None = None) -> Tensor:
        """Return the final states of replies to one prefix; ``prefilled`` is its state, which stays usable."""
        assert len({exchange.prefix for exchange in batch.exchanges}) == 1, "replies to one prefix are wanted"
        one = prefilled or self.prefill(self.batch([batch.exchanges[0]]))
        ends = []
        for start in range(0, len(batch), REPLIES_AT_ONCE):
            few = self.batch(batch.exchanges[start : start + REPLIES_AT_ONCE])
            state = self.reorder_cache(one, torch.zeros(len(few), dtype=torch.long, device=self.device))
            last, reply = few.prefix.ids[:, -1:], few.reply
            mask = torch.cat([torch.ones_like(last, dtype=torch.bool), reply.mask], 1)
            hidden, _ = self._read(state, torch.cat([last, reply.ids], 1), mask)
            ends.append(hidden[torch.arange(len(few), device=self.device), reply.lengths])
        return wide(torch.cat(ends))

    def add_token_types(self, kinds: int) -> None:
        """Add token-type embeddings, initially zero; an id is then token + type * ``ids``."""
        table = self.network.get_input_embeddings().weight
        self.token_type_embeddings = nn.Parameter(table.new_zeros((kinds, table.shape[1]), dtype=self.dtype))
        self.lower_is_frozen = False

    @property
    def ids(self) -> int:
        """How many tokens there are, the chat format's own included."""
        return int(self._vocabulary + (0 if self.special_rows is None else len(self.special_rows)))

    def logits(self, ids: Tensor) -> Tensor:
        """Return logits (1, L, V) of one whole sequence of ids (1, L), computed the way ``loss`` does."""
        rows = SequenceLayout((ids.shape[1],), self.device)
        return self.logits_of(self._at((tuple(ids[0].tolist()),), ids[0], rows, rows.positions))[None]

    def neutral_weights(self) -> dict[str, Tensor]:
        """Return adapter weights under which the model computes what its base does."""
        return {f"adapters.{name}": value for name, value in neutral_weights(self.adapters).items()}

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of losses, scores and all that trains: that of the base, but at least float32."""
        return torch.promote_types(self._table[0].weight.dtype, torch.float32)

    @contextmanager
    def using_adapters(self, bank: AdapterBank, rows: Sequence[int]) -> Iterator[None]:
        """Use the bank's persona ``rows[b]`` in row b of each prefill; its steps keep it, the model's weights stay."""
        persona_rows = torch.tensor(rows, dtype=torch.long, device=self.device)
        with batched_adapters(bank, persona_rows, self.adapters, "adapters.") as self._adapters_in_use:
            try:
                yield
            finally:
                self._adapters_in_use = None

    @contextmanager
    def using_cache(self, cache: NeuralCache | None) -> Iterator[None]:
        """Mix a cache into every distribution while the block runs; with None, none is."""
        before, self._cache_in_use = self._cache_in_use, cache
        try:
            yield
        finally:
            self._cache_in_use = before

    @torch.no_grad()
    def reply_states(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return (N, D) the last hidden state before each token of the replies, (N,) these tokens, their exchanges."""
        parts = batch.packed.chunks(PASS_TOKENS)
        states = torch.cat([self._hidden(part, part.predict_index) for part in parts])
        return states, torch.cat([part.labels for part in parts]), torch.cat([part.label_exchange for part in parts])

    @torch.no_grad()
    def line_states(self, lines: Sequence[Ids]) -> Tensor:
        """Return (N, D) the mean over each line of what enters the lowest adapted layer, without the first token's.

        The layers below that one are the base's, whoever's adapters are in use. The first token's state is that of
        any first token: attention rests there.
        """
        states = []
        for line in lines:
            vectors = self._embedded(torch.tensor(line, dtype=torch.long, device=self.device))
            lower = self.backbone.forward_lower(vectors, SequenceLayout((len(line),), self.device))
            states.append(wide(lower[min(1, len(line) - 1) :]).mean(0))
        return torch.stack(states)

    def _with_adapters(self, persona_rows: Tensor | None, lengths: tuple[int, ...]) -> AbstractContextManager[None]:
        if persona_rows is None:
            return nullcontext()
        assert self._adapters_in_use is not None, "prefilled as several personas, so no one else can go on"
        layout = SequenceLayout(lengths, self.device)
        return self._adapters_in_use.reading(persona_rows, layout, packed=self.backbone.packed)

    def _read(self, state: CausalState, ids: Tensor, mask: Tensor | None = None) -> tuple[Tensor, CausalState]:
        """Read ids (B, L), all real where there is no mask; return their hidden states (B, L, D) and the new state."""
        seen = joined_mask(state.mask, state.cache.used, ids, mask)
        with self._with_adapters(state.persona_rows, (ids.shape[1],) * len(ids)):
            hidden = self.backbone.extend(state.cache, self._embedded(ids), seen)
        return hidden, CausalState(state.cache, seen, state.persona_rows)

    def _hidden(self, part: PackedChunk, at: Tensor) -> Tensor:
        """Return (N, D) the last hidden states at positions of a packed chunk."""
        return self._at(part.ids, part.packed, part.rows, at)

    def _at(self, ids: Sequence[tuple[int, ...]], packed: Tensor, rows: SequenceLayout, at: Tensor) -> Tensor:
        if not self.lower_is_frozen:
            return self.backbone.rows(self._embedded(packed), rows, at)
        if any(rows.branches):  # such rows hardly ever come again, so nothing of them is cached
            with torch.no_grad():
                lower = self.backbone.forward_lower(self._embedded(packed), rows)
        else:
            lower = torch.cat([self._lower(row) for row in ids])
        return self.backbone.forward_upper(lower, rows, at)

    def _lower(self, row: tuple[int, ...]) -> Tensor:
        """Return (L, D), the input of the first adapted layer, run alone so that no neighbour changes its last bit."""
        if row in self._kept:
            self._kept.move_to_end(row)
            return self._kept[row]
        with torch.no_grad():
            vectors = self._embedded(torch.tensor(row, device=self.device))
            lower = self.backbone.forward_lower(vectors, SequenceLayout((len(row),), self.device))
        self._keep(row, lower)
        return lower

    def _keep(self, row: tuple[int, ...], hidden: Tensor) -> None:
        self._kept[row] = hidden
        self._kept_bytes += hidden.nbytes
        while self._kept_bytes > KEPT_BYTES and self._kept:
            self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes

    def forget_lower(self) -> None:
        """Empty the cache of frozen-layer output; needed after these weights have changed."""
        self._kept.clear()
        self._kept_bytes = 0

    def _side_by_side(self, read: Sequence[Ids]) -> tuple[Tensor, SequenceLayout]:
        packed = torch.tensor(list(chain.from_iterable(read)), dtype=torch.long, device=self.device)
        return packed, SequenceLayout(tuple(map(len, read)), self.device)

    def _embedded(self, ids: Tensor) -> Tensor:
        if self.token_type_embeddings is None:
            return self.token_vectors(ids)
        vectors = self.token_vectors(ids % self.ids)
        return (vectors + self.token_type_embeddings[ids // self.ids]).to(vectors.dtype)

    def token_vectors(self, ids: Tensor) -> Tensor:
        """Return (…, D) the embeddings of ids without a token type."""
        table = self._table[0]
        if self.special_rows is None:
            return table(ids)  # type: ignore[no-any-return]
        own = (ids - self._vocabulary).clamp(min=0)
        old = table(ids.clamp(max=self._vocabulary - 1))
        return torch.where((ids >= self._vocabulary)[..., None], self.special_rows[own].to(old.dtype), old)

    def logits_of(self, hidden: Tensor) -> Tensor:
        """Return logits (…, V) of all tokens, from last hidden states (…, D); a cache in use is mixed in."""
        logits = wide(self._head(hidden, self.special_rows))
        return logits if self._cache_in_use is None else self._cache_in_use.mixed(logits, hidden)
