"""The recurrent encoder and decoder with attention that CMAML starts from (its shared module, spec section 2.1).

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
from menura.models.recurrent.lstm import Lstm, LstmCell

NEAR_ZERO = 0.01  # deviation of a word's vector where none is known (CMAML's public code)


@dataclass(frozen=True)
class Seq2SeqConfig:
    """An encoder of ``layers`` LSTM layers and a decoder of one cell, all ``size`` wide, over words.

    ``vocabulary`` is how many words there are; a run counts those that its training side says ``least_said`` times or
    more. ``dropout`` acts between the encoder's layers in pooled training. ``vectors`` says where words' vectors begin
    (glove-50d, or a file), which ``project_vectors`` turns into a wider model's space. ``start`` names a run whose
    weights and words to begin from.
    """

    name: ClassVar[str] = "seq2seq"

    vocab_size: int = 0
    hidden_size: int = 300
    num_layers: int = 4
    dropout: float = 0.2
    max_length: int = 460  # tokens of context and reply (the papers' programs: 400 and 60)
    min_count: int = 1
    word_vectors: str = ""  # empty: all near zero, at random
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
    """What was read in all contexts (T, H), and where the decoder stands, (B, H) twice.

    ``shut`` (B, T) is −∞ where what was read is no part of an exchange's context, and 0 elsewhere. ``speaker`` (B, ·)
    is what stands beside each word that is said, where a model puts something there.
    """

    read: Tensor
    shut: Tensor
    hidden: Tensor
    cell: Tensor
    speaker: Tensor | None = None


class Seq2Seq(DialogueModel[Seq2SeqState]):
    """Words in, words out; embedding and output share their weights."""

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
        self.suppress_ids: tuple[int, ...] = ()  # tokens that no reply may hold: of words unknown, and of control

    def begin_words(self, rows: Sequence[int], vectors: Tensor) -> None:
        """Let the words of these rows begin at vectors (·, H); all others keep theirs."""
        with torch.no_grad():
            self.embedding.weight[list(rows)] = vectors.to(self.embedding.weight)

    # What it computes

    def loss(self, batch: Batch) -> Loss:
        """Return the loss of the replies; contexts that begin alike are encoded once."""
        replies = TimeMajor.of([e.reply for e in batch.exchanges], self.device, shared=False)
        logits, whose = self._said_of(batch)
        token_nll = nn.functional.cross_entropy(logits, replies.line, reduction="none")
        nll = torch.zeros(len(batch), device=self.device, dtype=token_nll.dtype).index_add(0, whose, token_nll)
        softened = []
        if batch.soft_targets:
            softened.append(nn.functional.cross_entropy(logits, batch.soft_targets.probabilities[0], reduction="sum"))
        return softened_by(mean_loss(nll, batch.reply_tokens), batch.soft_targets, softened)

    @torch.no_grad()
    def with_soft_targets(self, batch: Batch, share: float) -> Batch:
        """Return the batch with what the model now says at each label."""
        return replace(batch, soft_targets=SoftTargets(share, (self._said_of(batch)[0].softmax(-1),)))

    def _said_of(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return (N, V) logits of the replies' tokens by time, and (N,) whose they are."""
        spoken = TimeMajor.of([(e.prefix[-1], *e.reply[:-1]) for e in batch.exchanges], self.device, shared=False)
        order = torch.tensor(spoken.row, device=self.device).argsort()  # of the rows: the longest reply first
        words = self.embedding(spoken.line)
        hidden, before = self._said(self.reorder_cache(self.prefill(batch), order), words, spoken)
        return self._logits(hidden, words, before), order[spoken.standing]

    def prefill(self, batch: Batch) -> Seq2SeqState:
        """Encode each prefix but its last token, which opens the reply."""
        states, cells = self.encoder(self.embedding(batch.source.block))
        # One zero row behind all others is what a sequence of no token ends in, and all that it finds.
        states, cells = (nn.functional.pad(part.flatten(0, 1), (0, 0, 0, 1)) for part in (states, cells))
        shut = states.new_zeros(batch.source.own.shape).masked_fill(~batch.source.own, float("-inf"))
        last = batch.source.last
        return Seq2SeqState(states, shut, self.bridge(states[last]).tanh(), cells[last], self._beside(batch))

    def step(self, state: Seq2SeqState, last: Tensor) -> tuple[Tensor, Seq2SeqState]:
        """Say ``last`` (B,); return log-probabilities (B, V) and the new state."""
        words, before = self.embedding(last), state.hidden
        state = self._step(state, self.decoder.given(_joined(words, state.speaker)))
        return self._logits(state.hidden, words, before).log_softmax(-1), state

    def step_logits(self, state: Seq2SeqState, last: Tensor) -> tuple[Tensor, Seq2SeqState]:
        """Do ``advance``, with no chance for what is never to be said."""
        scores, state = self.step(state, last)
        return suppress_tokens(scores, self.suppress_ids), state

    def reorder_cache(self, state: Seq2SeqState, rows: Tensor) -> Seq2SeqState:
        """Return the state of some rows; they go on sharing what was read."""
        speaker = None if state.speaker is None else state.speaker[rows]
        return Seq2SeqState(state.read, state.shut[rows], state.hidden[rows], state.cell[rows], speaker)

    def _said(self, state: Seq2SeqState, words: Tensor, tokens_in: TimeMajor) -> tuple[Tensor, Tensor]:
        """Return (N, H) the decoder's states after each word, and those before it; rows of ``state`` stand as said."""
        speaker = None if state.speaker is None else state.speaker[tokens_in.standing]
        given = torch.split(self.decoder.given(_joined(words, speaker)), list(tokens_in.counts))
        after, before = [state.hidden[:0]], [state.hidden[:0]]
        for count, now in zip(tokens_in.counts, given, strict=True):
            if count < len(state.hidden):
                state = _first(state, count)
            before.append(state.hidden)
            state = self._step(state, now)
            after.append(state.hidden)
        return torch.cat(after), torch.cat(before)

    def _step(self, state: Seq2SeqState, given: Tensor) -> Seq2SeqState:
        """Take one step: cell, attention (Luong et al., 2015, "general"), and what both say together."""
        hidden, cell = self.decoder.step(given, state.hidden, state.cell)
        # All rows look at all that was read, each with its own part open: contexts that begin alike are held once.
        scores = torch.addmm(state.shut, self.asking(hidden), state.read.T)
        found = scores.softmax(-1) @ state.read
        hidden = self.joining(torch.cat([found, hidden], -1)).tanh()
        return Seq2SeqState(state.read, state.shut, hidden, cell, state.speaker)

    @contextmanager
    def dropout(self, seed: int, progress: float = 1.0) -> Iterator[None]:
        """Leave out a share of the encoder's units between its layers."""
        del progress
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder.train()
            try:
                yield
            finally:
                self.encoder.eval()

    # What others build on

    def _logits(self, hidden: Tensor, words: Tensor, before: Tensor) -> Tensor:
        """Return (…, V), from the state after a word, the word's vector, and the state before it, (…, H) each."""
        del words, before
        return nn.functional.linear(hidden, self.embedding.weight, self.bias)

    def _beside(self, batch: Batch) -> Tensor | None:
        """Return (B, ·) what stands beside each word that is said."""
        del batch
        return None

    @property
    def dtype(self) -> torch.dtype:
        """The weights' number format."""
        return self.bias.dtype


def _joined(words: Tensor, speaker: Tensor | None) -> Tensor:
    return words if speaker is None else torch.cat([words, speaker], -1)


def _first(state: Seq2SeqState, rows: int) -> Seq2SeqState:
    """Return the state of the first rows."""
    speaker = None if state.speaker is None else state.speaker[:rows]
    return Seq2SeqState(state.read, state.shut[:rows], state.hidden[:rows], state.cell[:rows], speaker)
