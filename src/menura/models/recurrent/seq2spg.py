"""A seq2seq with a private module and a gate beside it: Seq2SPG and Seq2SP'G (CMAML; Song et al., 2020).

Shape letters: … any leading dimensions, H size, V vocabulary.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from menura.models.recurrent.seq2seq import Seq2Seq, Seq2SeqConfig

Gate = Literal["paper", "repo"]
Reads = Literal["word_and_state", "state"]


@dataclass(frozen=True)
class Seq2SpgConfig(Seq2SeqConfig):
    """A seq2seq's settings, the private module's input, and the gate that joins shared and private states.

    ``reads`` word_and_state is Seq2SPG, state is Seq2SP'G, whose private module sees no word. ``gate`` paper has tanh
    gates; repo, as in the public program, sigmoid gates and a tanh over the sum.
    """

    name: ClassVar[str] = "seq2spg"

    reads: Reads = "word_and_state"
    gate: Gate = "paper"


class Seq2Spg(Seq2Seq):
    """The private module acts on each predicted word, never on the encoder."""

    def __init__(self, config: Seq2SpgConfig) -> None:
        super().__init__(config)
        self._sees_words = config.reads == "word_and_state"
        self.private = Private(private_sizes(config.hidden_size, config.reads))
        self.gate = PaperGate(config.hidden_size) if config.gate == "paper" else RepoGate(config.hidden_size)

    def private_layers(self) -> tuple[tuple[str, str], ...]:
        """Return the names of weight and bias of each private layer, the lowest first."""
        return tuple((f"private.{n}.weight", f"private.{n}.bias") for n in range(len(self.private)))

    def _logits(self, hidden: Tensor, words: Tensor, before: Tensor) -> Tensor:
        """Return (…, V); the private module reads the state before the word, and the word."""
        given = torch.cat([words, before], -1) if self._sees_words else before
        joined = self.gate(hidden, self.private(given))
        return nn.functional.linear(joined, self.embedding.weight, self.bias)


class Private(nn.ModuleList):
    """Linear maps with biases, each followed by ReLU, the last by tanh."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__(nn.Linear(below, above) for below, above in pairwise(sizes))

    def forward(self, given: Tensor) -> Tensor:
        """Map (…, first size) to (…, last size)."""
        *lower, last = self
        for layer in lower:
            given = layer(given).relu()
        mapped: Tensor = last(given).tanh()
        return mapped


class PaperGate(nn.Module):
    """g_s = tanh(W_s [o_s; o_p] + b_s), g_p alike; o = g_s o_s + g_p o_p, on states and not on vocabularies."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.shared = nn.Linear(2 * size, size)
        self.private = nn.Linear(2 * size, size)

    def forward(self, shared: Tensor, private: Tensor) -> Tensor:
        """Join two (…, H) to one."""
        both = torch.cat([shared, private], -1)
        joined: Tensor = self.shared(both).tanh() * shared + self.private(both).tanh() * private
        return joined


class RepoGate(nn.Module):
    """The public program's gate: maps of both states, summed, sigmoid; tanh over the joined state."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.shared = nn.Linear(size, 2 * size)
        self.private = nn.Linear(size, 2 * size)

    def forward(self, shared: Tensor, private: Tensor) -> Tensor:
        """Join two (…, H) to one."""
        of_shared, of_private = (self.shared(shared) + self.private(private)).sigmoid().chunk(2, -1)
        joined: Tensor = (of_shared * shared + of_private * private).tanh()
        return joined


def private_sizes(size: int, reads: Reads) -> tuple[int, ...]:
    """Return the widths of the private module: 600-600-500-400-300 at size 300, or 300-300-200-100-300."""
    if reads == "state":
        return size, size, round(2 * size / 3), round(size / 3), size
    return 2 * size, 2 * size, round(5 * size / 3), round(4 * size / 3), size
