"""The recurrent encoder and decoder with attention of CMAML (its shared module, spec section 2.1).

Shape letters: B exchanges, T source tokens of all rows and one more, N reply tokens of all exchanges by time, H size, V
vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from menura.batches.batch import Batch, SoftTargets
from menura.batches.time_major import TimeMajor
from menura.errors import ConfigError
from menura.models.dialogue_model import DialogueModel, Loss, mean_loss, softened_by
from menura.models.layers.argmax import suppress_tokens
from menura.models.recurrent.rnn import Lstm, LstmCell

NEAR_ZERO = 0.01  # deviation of a word embedding that has no pretrained vector (CMAML's public code)


@dataclass(frozen=True)
class Seq2SeqConfig:
    """An encoder of ``num_layers`` LSTM layers and a decoder of one cell, all ``hidden_size`` wide, over words.

    ``vocab_size`` is the number of words; a run counts those that occur ``min_count`` times or more in its training
    split. ``dropout`` acts between the encoder's layers in pooled training. ``word_vectors`` names the initial word
    embeddings (glove-50d, or a file); ``project_vectors`` projects them to a wider model's size. ``init_from`` names a
    run with the initial weights and the vocabulary.
    """

    name: ClassVar[str] = "seq2seq"

    vocab_size: int = 0
    hidden_size: int = 300
    num_layers: int = 4
    dropout: float = 0.2
    max_length: int = 460  # tokens of context and reply (the papers' programs: 400 and 60)
    min_count: int = 1
    word_vectors: str = ""  # empty: random, near zero
    project_vectors: bool = False
    init_from: str = ""

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        for name, least in (
            ("vocab_size", 0),
            ("hidden_size", 2),
            ("num_layers", 1),
            ("max_length", 32),
            ("min_count", 1),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"model.{name}: {getattr(self, name)}, must be at least {least}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"model.dropout: {self.dropout}, must be at least 0 and below 1")


@dataclass(frozen=True)
class Seq2SeqState:
    """The encoder's states of all contexts (T, H), and the decoder's state and cell (B, H).

    ``shut`` (B, T) is −inf where a place is not in an exchange's own context, and 0 elsewhere. ``speaker`` (B, ·) is
    joined to each input word embedding, in models that have one.
    """

    read: Tensor
    shut: Tensor
    hidden: Tensor
    cell: Tensor
    speaker: Tensor | None = None


class Seq2Seq(DialogueModel[Seq2SeqState]):
    """Words in, words out; input and output embeddings are tied."""

    def __init__(self, config: Seq2SeqConfig, *, beside: int = 0) -> None:
        super().__init__()
        size = config.hidden_size
        self.embedding = nn.Embedding(config.vocab_size, size)
        nn.init.normal_(self.embedding.weight, std=NEAR_ZERO)
        self.encoder = Lstm(size, size, config.num_layers, config.dropout)
        self.bridge = nn.Linear(size, size)
        self.decoder = LstmCell(size + beside, size)
        self.asking = nn.Linear(size, size, bias=False)  # W_a
        self.joining = nn.Linear(2 * size, size, bias=False)  # W_o
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.suppress_ids: tuple[int, ...] = ()  # tokens that no reply may contain: unknown words and control tokens

    def set_word_embeddings(self, rows: Sequence[int], vectors: Tensor) -> None:
        """Initialise the embeddings of these rows with vectors (·, H); all others keep theirs."""
        with torch.no_grad():
            self.embedding.weight[list(rows)] = vectors.to(self.embedding.weight)

    # The contract

    def loss(self, batch: Batch) -> Loss:
        """Return the loss of the replies; prefixes that contexts share are encoded once."""
        replies = TimeMajor.of([e.reply for e in batch.exchanges], self.device, shared=False)
        logits, whose = self._said_of(batch)
        token_nll = nn.functional.cross_entropy(logits, replies.packed, reduction="none")
        nll = torch.zeros(len(batch), device=self.device, dtype=token_nll.dtype).index_add(0, whose, token_nll)
        softened = []
        if batch.soft_targets:
            softened.append(nn.functional.cross_entropy(logits, batch.soft_targets.probabilities[0], reduction="sum"))
        return softened_by(mean_loss(nll, batch.reply_lengths), batch.soft_targets, softened)

    @torch.no_grad()
    def with_soft_targets(self, batch: Batch, share: float) -> Batch:
        """Return the batch with the model's present distribution at each label as soft target."""
        return replace(batch, soft_targets=SoftTargets(share, (self._said_of(batch)[0].softmax(-1),)))

    def _said_of(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return (N, V) logits of the replies' tokens, time-major, and (N,) the exchange of each."""
        spoken = TimeMajor.of([(e.prefix[-1], *e.reply[:-1]) for e in batch.exchanges], self.device, shared=False)
        order = torch.tensor(spoken.row, device=self.device).argsort()  # of the rows: the longest reply first
        words = self.embedding(spoken.packed)
        hidden, before = self._said(self.reorder_cache(self.prefill(batch), order), words, spoken)
        return self._logits(hidden, words, before), order[spoken.packed_row]

    def prefill(self, batch: Batch) -> Seq2SeqState:
        """Encode each prefix without its last token, which opens the reply."""
        states, cells = self.encoder(self.embedding(batch.source.padded))
        # The extra zero row is the final state of an empty context, and all that it attends to.
        states, cells = (nn.functional.pad(part.flatten(0, 1), (0, 0, 0, 1)) for part in (states, cells))
        shut = states.new_zeros(batch.source.own.shape).masked_fill(~batch.source.own, float("-inf"))
        last = batch.source.last
        return Seq2SeqState(states, shut, self.bridge(states[last]).tanh(), cells[last], self._beside(batch))

    def step(self, state: Seq2SeqState, last: Tensor) -> tuple[Tensor, Seq2SeqState]:
        """Append ``last`` (B,) to the reply; return log-probabilities (B, V) and the new state."""
        words, before = self.embedding(last), state.hidden
        state = self._step(state, self.decoder.given(_joined(words, state.speaker)))
        return self._logits(state.hidden, words, before).log_softmax(-1), state

    def step_logits(self, state: Seq2SeqState, last: Tensor) -> tuple[Tensor, Seq2SeqState]:
        """Do ``step``; return logits with −inf at ``suppress_ids``."""
        scores, state = self.step(state, last)
        return suppress_tokens(scores, self.suppress_ids), state

    def reorder_cache(self, state: Seq2SeqState, rows: Tensor) -> Seq2SeqState:
        """Return the state of some rows; they still share the encoder's states."""
        speaker = None if state.speaker is None else state.speaker[rows]
        return Seq2SeqState(state.read, state.shut[rows], state.hidden[rows], state.cell[rows], speaker)

    def _said(self, state: Seq2SeqState, words: Tensor, tokens_in: TimeMajor) -> tuple[Tensor, Tensor]:
        """Return (N, H) the decoder's states after and before each word; rows of ``state``: the longest reply first."""
        speaker = None if state.speaker is None else state.speaker[tokens_in.packed_row]
        given = torch.split(self.decoder.given(_joined(words, speaker)), list(tokens_in.batch_sizes))
        after, before = [state.hidden[:0]], [state.hidden[:0]]
        for count, now in zip(tokens_in.batch_sizes, given, strict=True):
            if count < len(state.hidden):
                state = _first(state, count)
            before.append(state.hidden)
            state = self._step(state, now)
            after.append(state.hidden)
        return torch.cat(after), torch.cat(before)

    def _step(self, state: Seq2SeqState, given: Tensor) -> Seq2SeqState:
        """Take one step: cell, attention (Luong et al., 2015, "general"), and the map that joins both."""
        hidden, cell = self.decoder.step(given, state.hidden, state.cell)
        # All rows attend to all states, each masked to its own context: shared prefixes are held once.
        scores = torch.addmm(state.shut, self.asking(hidden), state.read.T)
        found = scores.softmax(-1) @ state.read
        hidden = self.joining(torch.cat([found, hidden], -1)).tanh()
        return Seq2SeqState(state.read, state.shut, hidden, cell, state.speaker)

    @contextmanager
    def dropout(self, seed: int, progress: float = 1.0) -> Iterator[None]:
        """Turn on dropout between the encoder's layers while the block runs.

        ``progress`` (share of training done, 0 to 1) has no effect.
        """
        del progress
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder.train()
            try:
                yield
            finally:
                self.encoder.eval()

    # Hooks for subclasses

    def _logits(self, hidden: Tensor, words: Tensor, before: Tensor) -> Tensor:
        """Return logits (…, V), from the state after a word, the word's embedding, the state before it, (…, H) each."""
        del words, before
        return nn.functional.linear(hidden, self.embedding.weight, self.bias)

    def _beside(self, batch: Batch) -> Tensor | None:
        """Return (B, ·) the vector that is joined to each input word embedding, if there is one."""
        del batch
        return None

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return self.bias.dtype


def _joined(words: Tensor, speaker: Tensor | None) -> Tensor:
    return words if speaker is None else torch.cat([words, speaker], -1)


def _first(state: Seq2SeqState, rows: int) -> Seq2SeqState:
    """Return the state of the first rows."""
    speaker = None if state.speaker is None else state.speaker[:rows]
    return Seq2SeqState(state.read, state.shut[:rows], state.hidden[:rows], state.cell[:rows], speaker)
