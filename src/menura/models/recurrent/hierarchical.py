"""The baseline of audio-visual scene-aware dialogue, on text alone (Hori et al., 2019; DSTC7-AVSD; spec C4).

A question encoder, a hierarchical encoder of the turns before, and attention with the question as query. The published
model attends to video and sound, this one to the turns of the history and to the words of the facts (caption and
summary).

Shape letters: B exchanges, U different turns, M places of a memory and one more, H size, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from menura.batches.batch import Batch
from menura.batches.time_major import TimeMajor
from menura.batches.utterances import Utterances
from menura.models.dialogue_model import Loss, mean_loss
from menura.models.recurrent.rnn import Lstm
from menura.models.recurrent.seq2seq import Seq2SeqConfig
from menura.models.recurrent.word_decoder import DecoderState, WordDecoder, WordDecoderModel, ends, places


@dataclass(frozen=True)
class HierarchicalConfig(Seq2SeqConfig):
    """A seq2seq's settings; ``num_layers`` is that of each word encoder, the encoder of turns has one layer."""

    name: ClassVar[str] = "hierarchical"

    num_layers: int = 2


class Hierarchical(WordDecoderModel[DecoderState]):
    """The last turn is the question; its attention outputs are joined to each word embedding of the reply."""

    def __init__(self, config: HierarchicalConfig) -> None:
        size = config.hidden_size
        super().__init__(WordDecoder(config.vocab_size, size, 2 * size))
        self.question = Lstm(size, size, config.num_layers, config.dropout)
        self.turn = Lstm(size, size, config.num_layers, config.dropout)
        self.history = Lstm(size, size, 1, 0.0)
        self.facts = Lstm(size, size, config.num_layers, config.dropout)
        self.in_history = Guided(size)
        self.in_facts = Guided(size)
        self.fusion = Fusion(size, 2)
        self.bridge = nn.Linear(size, size)

    def loss(self, batch: Batch) -> Loss:
        """Return the loss of the replies."""
        return mean_loss(self.decoder.nll(self.prefill(batch), batch), batch.reply_lengths)

    def prefill(self, batch: Batch) -> DecoderState:
        """Encode question, history and facts; equal turns are encoded once."""
        turned = Utterances.of(batch.exchanges, self.device)
        asked = ends(self._read(self.question, turned.last), turned.last)  # (B, H)
        said = ends(self._read(self.turn, turned.words), turned.words)  # (U, H)
        before = turned.before_last
        history, _ = self.history(said[before.padded])
        told = TimeMajor.of([e.facts for e in batch.exchanges], self.device, shared=True)
        found = (
            self.in_history(asked, places(history), before.own),
            self.in_facts(asked, places(self._read(self.facts, told)), told.own),
        )
        nothing = torch.stack([_empty(before), _empty(told)], 1)
        beside = torch.cat([asked, self.fusion(asked, found, nothing)], -1)
        return DecoderState(self.bridge(asked).tanh(), torch.zeros_like(asked), beside)

    def step(self, state: DecoderState, last: Tensor) -> tuple[Tensor, DecoderState]:
        """Append ``last`` (B,) to the reply; return log-probabilities (B, V) and the new state."""
        state = self.decoder.step(state, last)
        return self.decoder.logits(state.hidden).log_softmax(-1), state

    def reorder_cache(self, state: DecoderState, rows: Tensor) -> DecoderState:
        """Return the state of some rows."""
        return state.rows(rows)

    def _read(self, encoder: nn.Module, words: TimeMajor) -> Tensor:
        states: Tensor = encoder(self.decoder.embedding(words.padded))[0]
        return states


class Guided(nn.Module):
    """Additive attention of one vector over a memory: softmax of w·tanh(W q + V m + b)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.asking = nn.Linear(size, size, bias=False)
        self.asked = nn.Linear(size, size)
        self.weighing = nn.Linear(size, 1, bias=False)

    def forward(self, question: Tensor, memory: Tensor, there: Tensor) -> Tensor:
        """Return attention outputs (B, H) of questions (B, H) over a memory (M, H), masked by ``there`` (B, M)."""
        scores = self.weighing((self.asking(question)[:, None] + self.asked(memory)).tanh())[..., 0]
        found: Tensor = scores.masked_fill(~there, -torch.inf).softmax(-1) @ memory
        return found


class Fusion(nn.Module):
    """Several attention outputs as one vector: each mapped, and weighted by attention of the question."""

    def __init__(self, size: int, memories: int) -> None:
        super().__init__()
        self.asking = nn.Linear(size, size)
        self.asked = nn.ModuleList(nn.Linear(size, size, bias=False) for _ in range(memories))
        self.weighing = nn.Linear(size, 1, bias=False)
        self.mapped = nn.ModuleList(nn.Linear(size, size) for _ in range(memories))

    def forward(self, question: Tensor, found: Sequence[Tensor], nothing: Tensor) -> Tensor:
        """Return (B, H) of several (B, H); an output has weight 0 where ``nothing`` (B, memories) is True.

        If all memories are empty it is zero.
        """
        guided = self.asking(question)
        scores = [self.weighing((guided + asked(one)).tanh()) for asked, one in zip(self.asked, found, strict=True)]
        nowhere = nothing.all(1, keepdim=True)
        weights = torch.cat(scores, -1).masked_fill(nothing & ~nowhere, -torch.inf).softmax(-1)
        mapped = torch.stack([mapping(one) for mapping, one in zip(self.mapped, found, strict=True)], 1)
        joined: Tensor = (weights[..., None] * mapped).sum(1).tanh()
        return joined.masked_fill(nowhere, 0.0)


def _empty(memory: TimeMajor) -> Tensor:
    """Return (B,) True where a sequence is empty."""
    return torch.tensor([not length for length in memory.lengths], dtype=torch.bool, device=memory.device)
