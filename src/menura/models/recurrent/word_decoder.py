"""The recurrent word decoder of models that decode a reply from one vector.

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
from menura.models.recurrent.rnn import LstmCell

NEAR_ZERO = 0.01  # deviation of a word embedding that has no pretrained vector


@dataclass(frozen=True)
class DecoderState:
    """A decoder's hidden state and cell, (R, H) each, and (R, ·) the vector joined to every input word."""

    hidden: Tensor
    cell: Tensor
    beside: Tensor

    def rows(self, rows: Tensor | slice) -> "DecoderState":
        """Return the state of some rows."""
        return DecoderState(self.hidden[rows], self.cell[rows], self.beside[rows])


class WordDecoder(nn.Module):
    """A word in, logits of the next one out; ``beside`` is the size of the vector joined to each input word.

    Input and output embeddings are tied.
    """

    def __init__(self, vocabulary: int, size: int, beside: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, size)
        nn.init.normal_(self.embedding.weight, std=NEAR_ZERO)
        self.cell = LstmCell(size + beside, size)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def step(self, state: DecoderState, last: Tensor) -> DecoderState:
        """Read one word per row, ``last`` (R,)."""
        given = self.cell.given(torch.cat([self.embedding(last), state.beside], -1))
        return DecoderState(*self.cell.step(given, state.hidden, state.cell), state.beside)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return (…, V) from (…, H)."""
        return nn.functional.linear(hidden, self.embedding.weight, self.bias)

    def nll(self, initial: DecoderState, batch: Batch) -> Tensor:
        """Return (B,) −log p of each reply, from the initial decoder states."""
        spoken = TimeMajor.of([(e.prefix[-1], *e.reply[:-1]) for e in batch.exchanges], batch.device, shared=False)
        replies = TimeMajor.of([e.reply for e in batch.exchanges], batch.device, shared=False)
        order = torch.tensor(spoken.row, device=batch.device).argsort()  # the longest reply first
        states = self._said(initial.rows(order), spoken)
        token_nll = nn.functional.cross_entropy(self.logits(states), replies.packed, reduction="none")
        return token_nll.new_zeros(len(batch)).index_add(0, order[spoken.packed_row], token_nll)

    def _said(self, state: DecoderState, tokens_in: TimeMajor) -> Tensor:
        """Return (N, H) states after each word; rows of ``state``: the longest reply first."""
        words = torch.cat([self.embedding(tokens_in.packed), state.beside[tokens_in.packed_row]], -1)
        after = [state.hidden[:0]]
        for count, given in zip(
            tokens_in.batch_sizes, self.cell.given(words).split(list(tokens_in.batch_sizes)), strict=True
        ):
            hidden, cell = self.cell.step(given, state.hidden[:count], state.cell[:count])
            state = DecoderState(hidden, cell, state.beside)
            after.append(hidden)
        return torch.cat(after)


class WordDecoderModel(DialogueModel[State], ABC):
    """A model that generates through a ``WordDecoder``."""

    def __init__(self, decoder: WordDecoder) -> None:
        super().__init__()
        self.decoder = decoder
        self.suppress_ids: tuple[int, ...] = ()  # tokens that no reply may contain: unknown words and control tokens

    def set_word_embeddings(self, rows: Sequence[int], vectors: Tensor) -> None:
        """Initialise the embeddings of these rows with vectors (·, H); all others keep theirs."""
        with torch.no_grad():
            self.decoder.embedding.weight[list(rows)] = vectors.to(self.decoder.embedding.weight)

    def step_logits(self, state: State, last: Tensor) -> tuple[Tensor, State]:
        """Do ``step``; return logits with −inf at ``suppress_ids``."""
        scores, state = self.step(state, last)
        return suppress_tokens(scores, self.suppress_ids), state

    @contextmanager
    def dropout(self, seed: int, progress: float = 1.0) -> Iterator[None]:
        """Turn on dropout between the encoders' layers while the block runs.

        ``progress`` (share of training done, 0 to 1) has no effect.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.train()
            try:
                yield
            finally:
                self.eval()

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return self.decoder.bias.dtype


def ends(states: Tensor, timed: TimeMajor) -> Tensor:
    """Return (B, H) the final state, of (S, R, H), of each sequence; zeros for an empty one."""
    return places(states)[timed.last]


def places(states: Tensor) -> Tensor:
    """Return (S R + 1, H): the states of all places, and last a row of zeros for empty sequences."""
    return nn.functional.pad(states.flatten(0, 1), (0, 0, 0, 1))
