"""Lost in Conversation (LIC; Golovanov et al., 2019): one stack of layers encodes facts and history, decodes the reply.

Encoder and decoder share all weights. Facts and history are encoded separately, each causally, as the layers were
pretrained (spec C2). A decoder layer attends to the reply so far, to the facts and to the history with the same
attention and takes the mean of the results; a source that an exchange does not have is left out of its mean.

Differences from the published program: it is initialised from a BERT (MiniLM) or a GPT-2, as the original's GPT is not
available; role embeddings mark whose a turn is, in place of tokens around it; the sequence-level loss and the diverse
beam search are left out.

Shape letters: B exchanges, R rows that differ, M tokens of a memory, T reply tokens, H heads, d of each, D width, V
vocabulary, N label positions.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from menura.batches.batch import Batch
from menura.batches.collate import Ids, pad
from menura.batches.encode import EncodedExchange
from menura.batches.time_major import TimeMajor
from menura.batches.utterances import turns_of
from menura.errors import ConfigError
from menura.models.dialogue_model import DialogueModel, Loss, mean_loss
from menura.models.layers.argmax import suppress_tokens
from menura.models.layers.embeddings_and_heads import DEVIATION, MaskedWordHead
from menura.models.layers.transformer import Sizes, Transformer, TransformerBlock

ROLES = OWN, PARTNER, FACT = range(3)
LABELS_AT_ONCE = 1024  # bounds memory, changes nothing else

KeyValues = tuple[Tensor, Tensor]  # keys and values of a layer, (·, H, tokens, d) each


@dataclass(frozen=True)
class LicConfig:
    """Lost in Conversation (LIC); sizes that are 0 are the base's, and may differ from it only with ``init`` random.

    ``base`` gives the vocabulary and, with ``init`` base, the weights: minilm, a folder or a hub id of a BERT or a
    GPT-2. ``dropout``, ``label_smoothing`` and the language-model loss of facts and history, of weight
    ``lm_loss_weight``, act in pooled training only.
    """

    name: ClassVar[str] = "lic"

    base: str = "minilm"
    init: Literal["base", "random"] = "base"
    vocab_size: int = 0
    hidden_size: int = 0
    num_layers: int = 0
    num_heads: int = 0
    intermediate_size: int = 0
    max_positions: int = 0
    dropout: float = 0.1
    lm_head: Literal["tied", "bert_mlm"] = "tied"
    label_smoothing: float = 0.1
    lm_loss_weight: float = 0.5
    max_length: int = 256  # tokens of facts, context and reply (the paper's program: 128 of each)
    init_from: str = ""

    def __post_init__(self) -> None:
        """Refuse numbers that make no network, or that no weights fit."""
        for name in ("vocab_size", "hidden_size", "num_layers", "num_heads", "intermediate_size", "max_positions"):
            if getattr(self, name) < 0:
                raise ConfigError(f"model.{name}: {getattr(self, name)}, must not be negative")
        if self.max_length < 32:
            raise ConfigError(f"model.max_length: {self.max_length}, must be at least 32")
        for name in ("dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"model.{name}: {getattr(self, name)}, must be at least 0 and below 1")
        if self.lm_loss_weight < 0:
            raise ConfigError(f"model.lm_loss_weight: {self.lm_loss_weight}, must not be negative")
        if self.init == "base" and any((self.hidden_size, self.num_layers, self.num_heads, self.intermediate_size)):
            fits = (
                "model.hidden_size, num_layers, num_heads, intermediate_size: a base's weights fit its own sizes only"
            )
            raise ConfigError(fits, hint="--set model.init=random")

    def sizes(self, base: Sizes) -> Sizes:
        """Return the sizes of a base, with what is set in place of them."""
        names = ("vocab_size", "hidden_size", "num_layers", "num_heads", "intermediate_size", "max_positions")
        return replace(base, **{name: getattr(self, name) for name in names if getattr(self, name)})


@dataclass(frozen=True)
class Memory:
    """Encoded facts or history: each layer's keys and values, held once per different row, and each exchange's row."""

    kept: tuple[KeyValues, ...]  # (R, H, M, d) twice a layer
    row: Tensor  # (B,)
    length: Tensor  # (B,)

    def chosen(self, rows: Tensor) -> "Memory":
        """Return the memory of some exchanges; nothing is copied."""
        return Memory(self.kept, self.row[rows], self.length[rows])

    def found(self, layer: int, queries: Tensor, dropout: float) -> Tensor:
        """Return attention outputs (B, H, T, d) of queries (B, H, T, d), zero for an exchange with an empty memory."""
        keys, values = (kept[self.row] for kept in self.kept[layer])
        there = torch.arange(keys.shape[2], device=keys.device) < self.length[:, None]
        some = self.length > 0
        mask = (there | ~some[:, None])[:, None, None]  # attention over no key at all would be NaN
        attended = nn.functional.scaled_dot_product_attention(queries, keys, values, mask, dropout)
        return attended * some[:, None, None, None]


@dataclass(frozen=True)
class LicState:
    """Facts and history of each exchange, and the reply's keys and values so far, (B, H, T, d) twice a layer."""

    memories: tuple[Memory, ...]
    said: tuple[KeyValues, ...]


class Lic(DialogueModel[LicState]):
    """Facts and history in, the reply out; all three share all layers and embeddings."""

    def __init__(self, config: LicConfig, sizes: Sizes, *, pre_norm: bool = False) -> None:
        super().__init__()
        self.config = config
        self.embeddings = LicEmbeddings(sizes, scaled=config.init == "random")
        self.body = Transformer(sizes, pre_norm=pre_norm, dropout=config.dropout)
        self.words = MaskedWordHead(sizes) if config.lm_head == "bert_mlm" else None
        self.suppress_ids: tuple[int, ...] = ()  # tokens that no reply may contain
        self._heads = sizes.num_heads
        self._pooling = False

    def loss(self, batch: Batch) -> Loss:
        """Return the loss of the replies; in pooled training with label smoothing and the language-model loss."""
        read = self._read(batch.exchanges)
        inputs = [(e.prefix[-1], *e.reply[:-1]) for e in batch.exchanges]
        ids, mask = (part.to(self.device) for part in pad(inputs))
        state = LicState(self._memories(read), self._nothing_said(len(batch)))
        states = self._heard(state, ids, start=1)[0][mask]  # (N, D)
        labels = torch.tensor([token for e in batch.exchanges for token in e.reply], device=self.device)
        nll, even = self._nll(states, labels)
        whose = torch.arange(len(batch), device=self.device).repeat_interleave(batch.reply_lengths)
        loss = mean_loss(nll.new_zeros(len(batch)).index_add(0, whose, nll), batch.reply_lengths)
        return self._with_reading(loss, even, read) if self._pooling else loss

    def prefill(self, batch: Batch) -> LicState:
        """Encode facts and history, each causally; prefixes that exchanges share are encoded once."""
        return LicState(self._memories(self._read(batch.exchanges)), self._nothing_said(len(batch)))

    def step(self, state: LicState, last: Tensor) -> tuple[Tensor, LicState]:
        """Append ``last`` (B,) to the reply; return log-probabilities (B, V) and the new state."""
        states, state = self._heard(state, last[:, None], start=1 + state.said[0][0].shape[2])
        return self.logits(states[:, 0]).log_softmax(-1), state

    def step_logits(self, state: LicState, last: Tensor) -> tuple[Tensor, LicState]:
        """Do ``step``; return logits with −inf at ``suppress_ids``."""
        scores, state = self.step(state, last)
        return suppress_tokens(scores, self.suppress_ids), state

    def reorder_cache(self, state: LicState, rows: Tensor) -> LicState:
        """Return the state of some rows; they still share facts and history."""
        said = tuple((keys[rows], values[rows]) for keys, values in state.said)
        return LicState(tuple(memory.chosen(rows) for memory in state.memories), said)

    def logits(self, states: Tensor) -> Tensor:
        """Return (…, V) from (…, D)."""
        table = self.embeddings.token.weight
        return nn.functional.linear(states, table) if self.words is None else self.words(states, table)

    @contextmanager
    def dropout(self, seed: int, progress: float = 1.0) -> Iterator[None]:
        """Turn on dropout, label smoothing and the language-model loss while the block runs.

        ``progress`` (share of training done, 0 to 1) has no effect.
        """
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            self._pooling = True
            self.train()
            try:
                yield
            finally:
                self._pooling = False
                self.eval()

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return self.embeddings.token.weight.dtype

    # Facts and history

    def _read(self, exchanges: Sequence[EncodedExchange]) -> tuple["Read", ...]:
        """Encode facts and history; a source that no exchange has is left out."""
        pieces = ([_facts(e) for e in exchanges], [_history(e) for e in exchanges])
        laid_out = (TimeMajor.of(sequences, self.device, shared=True) for sequences in pieces)
        return tuple(self._states(timed) for timed in laid_out if timed.batch_sizes)

    def _states(self, timed: TimeMajor) -> "Read":
        tokens = timed.padded.T
        ids, roles = tokens // len(ROLES), tokens % len(ROLES)
        x = self.embeddings(ids, roles, start=1)
        states = self.body(x, [Averaged(layer, (), None, [], self._dropped) for layer in range(len(self.body.blocks))])
        lengths = torch.tensor([len(row) for row in timed.rows], device=self.device)
        real = torch.arange(ids.shape[1], device=self.device) < lengths[:, None]
        return Read(ids, real, states, timed)

    def _memories(self, read: Sequence["Read"]) -> tuple[Memory, ...]:
        """Return each layer's keys and values of the encoded rows, for the decoder."""
        made = []
        for one in read:
            kept = tuple(_keys_and_values(block, one.states) for block in self.body.blocks)
            row, length = (torch.tensor(n, device=self.device) for n in (one.timed.row, one.timed.lengths))
            made.append(Memory(kept, row, length))
        return tuple(made)

    # The reply

    def _heard(self, state: LicState, ids: Tensor, start: int) -> tuple[Tensor, LicState]:
        """Decode reply tokens (B, T) after those in the state; return hidden states (B, T, D) and the new state."""
        grown: list[KeyValues] = []
        attends = [
            Averaged(layer, state.memories, state.said[layer], grown, self._dropped)
            for layer in range(len(self.body.blocks))
        ]
        states = self.body(self.embeddings(ids, torch.full_like(ids, OWN), start), attends)
        return states, LicState(state.memories, tuple(grown))

    def _nothing_said(self, rows: int) -> tuple[KeyValues, ...]:
        table = self.embeddings.token.weight
        nothing = table.new_zeros((rows, self._heads, 0, table.shape[1] // self._heads))
        return tuple((nothing, nothing) for _ in self.body.blocks)

    def _nll(self, states: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N,) −log p of labels, and (N,) the mean of −log p over the vocabulary, for label smoothing."""
        pieces = []
        for some, of_them in zip(*(torch.split(part, LABELS_AT_ONCE) for part in (states, labels)), strict=True):
            logits = self.logits(some)
            normaliser = logits.logsumexp(-1)
            pieces.append((normaliser - logits.gather(1, of_them[:, None])[:, 0], normaliser - logits.mean(-1)))
        nll, even = zip(*pieces, strict=True)
        return torch.cat(nll), torch.cat(even)

    def _with_reading(self, loss: Loss, even: Tensor, read: Sequence["Read"]) -> Loss:
        """Return LIC's objective; the language-model loss is a mean over facts and history, ``nll`` the reply's."""
        share, total = self.config.label_smoothing, loss.total
        if share:
            total = (1 - share) * total + share * even.mean()
        told = []
        for one in read if self.config.lm_loss_weight else ():
            follows = one.real[:, 1:]
            if follows.any():
                told.append(self._nll(one.states[:, :-1][follows], one.ids[:, 1:][follows])[0].mean())
        if not told:
            return replace(loss, total=total)
        reading = torch.stack(told).mean()
        return replace(loss, total=total + self.config.lm_loss_weight * reading, parts={"reading": reading.detach()})

    @property
    def _dropped(self) -> float:
        return self.config.dropout if self._pooling else 0.0


@dataclass(frozen=True)
class Read:
    """Encoded rows: ids (R, M), a mask that is True where real, and hidden states (R, M, D)."""

    ids: Tensor
    real: Tensor
    states: Tensor
    timed: TimeMajor


@dataclass(frozen=True)
class Averaged:
    """Attention of one layer: the mean of causal self-attention and of attention to each memory.

    The reply's keys and values, those ``before`` included, are appended to ``grown``.
    """

    layer: int
    memories: tuple[Memory, ...]
    before: KeyValues | None
    grown: list[KeyValues]
    dropout: float = 0.0

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Map (B, H, T, d) to (B, H, T, d)."""
        if self.before is not None:
            k, v = torch.cat([self.before[0], k], 2), torch.cat([self.before[1], v], 2)
        self.grown.append((k, v))
        new, held = q.shape[2], k.shape[2]
        sees = torch.ones((new, held), dtype=torch.bool, device=q.device).tril(held - new)
        total = nn.functional.scaled_dot_product_attention(q, k, v, sees, self.dropout)
        asked = torch.ones(len(q), dtype=q.dtype, device=q.device)
        for memory in self.memories:
            total = total + memory.found(self.layer, q, self.dropout)
            asked = asked + (memory.length > 0)
        return total / asked[:, None, None, None]


class LicEmbeddings(nn.Module):
    """Token, role and position embeddings, then a norm. Positions count from 1; 0 is padding.

    A randomly initialised table is multiplied by √D; a checkpoint's is used as it was trained.
    """

    def __init__(self, sizes: Sizes, *, scaled: bool) -> None:
        super().__init__()
        self.token = nn.Embedding(sizes.vocab_size, sizes.hidden_size)
        self.role = nn.Embedding(len(ROLES), sizes.hidden_size)
        self.position = nn.Embedding(sizes.max_positions, sizes.hidden_size)
        self.norm = nn.LayerNorm(sizes.hidden_size, eps=sizes.epsilon)
        for table in (self.token, self.role, self.position):
            nn.init.normal_(table.weight, std=DEVIATION)
        self.scale = sizes.hidden_size**0.5 if scaled else 1.0

    def forward(self, ids: Tensor, roles: Tensor, start: int) -> Tensor:
        """Return (…, T, D) of tokens (…, T), the first of which has position ``start``."""
        places = torch.arange(start, start + ids.shape[-1], device=ids.device)
        position = self.position(places.clamp(max=self.position.num_embeddings - 1))
        embedded: Tensor = self.norm(self.scale * self.token(ids) + self.role(roles) + position)
        return embedded


def _facts(exchange: EncodedExchange) -> Ids:
    return tuple(token * len(ROLES) + FACT for token in exchange.facts)


def _history(exchange: EncodedExchange) -> Ids:
    """Return the tokens of a context's turns, each combined with its role into one number."""
    turns = turns_of(exchange)
    return tuple(token * len(ROLES) + (OWN if own else PARTNER) for own, words in turns for token in words)


def _keys_and_values(block: nn.Module, states: Tensor) -> KeyValues:
    """Return keys and values (R, H, M, d), by the maps of a layer's self-attention."""
    assert isinstance(block, TransformerBlock)
    width = states.shape[-1]
    both = nn.functional.linear(states, block.qkv.weight[width:], block.qkv.bias[width:])
    keys, values = both.view(*states.shape[:-1], 2, block.heads, -1).permute(2, 0, 3, 1, 4)
    return keys, values
