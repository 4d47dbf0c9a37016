"""What models over words share that say a reply from one vector: the words, a recurrent decoder, what is never said.

Shape letters: B exchanges, R rows, N reply tokens of all rows by time, H size, V vocabulary.
"""

from abc import ABC
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from menura.batches.batch import Batch
from menura.batches.time_major import TimeMajor
from menura.models.dialogue_model import DialogueModel, State
from menura.models.layers.argmax import suppress_tokens
from menura.models.recurrent.lstm import LstmCell

NEAR_ZERO = 0.01  # deviation of a word's vector where none is known


@dataclass(frozen=True)
class DecoderState:
    """Where a decoder stands, (R, H) twice, and (R, ·) what it is told beside every word."""

    hidden: Tensor
    cell: Tensor
    beside: Tensor

    def rows(self, rows: Tensor | slice) -> "DecoderState":
        """Return the state of some rows."""
        return DecoderState(self.hidden[rows], self.cell[rows], self.beside[rows])


class WordDecoder(nn.Module):
    """A word in, the chances of the next one out; ``beside`` numbers stand beside each word.

    Embedding and output share their weights.
    """

    def __init__(self, vocabulary: int, size: int, beside: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, size)
        nn.init.normal_(self.embedding.weight, std=NEAR_ZERO)
        self.cell = LstmCell(size + beside, size)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def step(self, state: DecoderState, last: Tensor) -> DecoderState:
        """Read one word a row, ``last`` (R,)."""
        given = self.cell.given(torch.cat([self.embedding(last), state.beside], -1))
        return DecoderState(*self.cell.step(given, state.hidden, state.cell), state.beside)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return (…, V) from (…, H)."""
        return nn.functional.linear(hidden, self.embedding.weight, self.bias)

    def nll(self, initial: DecoderState, batch: Batch) -> Tensor:
        """Return (B,) −log p of each reply, from where each one's decoder begins."""
        spoken = TimeMajor.of([(e.prefix[-1], *e.reply[:-1]) for e in batch.exchanges], batch.device, shared=False)
        replies = TimeMajor.of([e.reply for e in batch.exchanges], batch.device, shared=False)
        order = torch.tensor(spoken.row, device=batch.device).argsort()  # of the rows: the longest reply first
        states = self._said(initial.rows(order), spoken)
        token_nll = nn.functional.cross_entropy(self.logits(states), replies.line, reduction="none")
        return token_nll.new_zeros(len(batch)).index_add(0, order[spoken.standing], token_nll)

    def _said(self, state: DecoderState, tokens_in: TimeMajor) -> Tensor:
        """Return (N, H) states after each word; rows of ``state`` stand as said."""
        words = torch.cat([self.embedding(tokens_in.line), state.beside[tokens_in.standing]], -1)
        after = [state.hidden[:0]]
        for count, given in zip(tokens_in.counts, self.cell.given(words).split(list(tokens_in.counts)), strict=True):
            hidden, cell = self.cell.step(given, state.hidden[:count], state.cell[:count])
            state = DecoderState(hidden, cell, state.beside)
            after.append(hidden)
        return torch.cat(after)


class WordDecoderModel(DialogueModel[State], ABC):
    """A model whose words are those of its decoder."""

    def __init__(self, decoder: WordDecoder) -> None:
        super().__init__()
        self.decoder = decoder
        self.suppress_ids: tuple[int, ...] = ()  # tokens that no reply may hold: of words unknown, and of control

    def begin_words(self, rows: Sequence[int], vectors: Tensor) -> None:
        """Let the words of these rows begin at vectors (·, H); all others keep theirs."""
        with torch.no_grad():
            self.decoder.embedding.weight[list(rows)] = vectors.to(self.decoder.embedding.weight)

    def step_logits(self, state: State, last: Tensor) -> tuple[Tensor, State]:
        """Do ``advance``, with no chance for what is never to be said."""
        scores, state = self.step(state, last)
        return suppress_tokens(scores, self.suppress_ids), state

    @contextmanager
    def dropout(self, seed: int, progress: float = 1.0) -> Iterator[None]:
        """Leave out a share of the encoders' units between their layers."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.train()
            try:
                yield
            finally:
                self.eval()

    @property
    def dtype(self) -> torch.dtype:
        """The weights' number format."""
        return self.decoder.bias.dtype


def ends(states: Tensor, timed: TimeMajor) -> Tensor:
    """Return (B, H) the state (S, R, H) in which each sequence ends, zeros for one without a token."""
    return places(states)[timed.last]


def places(states: Tensor) -> Tensor:
    """Return (S R + 1, H): the states as a line, and behind them a row of zeros, all that there is of no token."""
    return nn.functional.pad(states.flatten(0, 1), (0, 0, 0, 1))
