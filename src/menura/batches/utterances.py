"""Contexts become turns: what reads a dialogue by utterances reads each of them once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from menura.batches.collate import Ids
from menura.batches.encode import EncodedExchange
from menura.batches.time_major import TimeMajor


@dataclass(frozen=True)
class Utterances:
    """Turns that differ, each once, and of every exchange the numbers of its context's turns, the oldest first."""

    turns: tuple[tuple[bool, Ids], ...]  # said by the persona itself, and its words
    contexts: tuple[Ids, ...]
    device: torch.device

    @classmethod
    def of(cls, exchanges: Sequence[EncodedExchange], device: torch.device) -> "Utterances":
        """Take contexts apart; what opens the reply belongs to no turn."""
        numbers: dict[tuple[bool, Ids], int] = {}
        contexts = tuple(
            tuple(numbers.setdefault(turn, len(numbers)) for turn in turns_of(exchange)) for exchange in exchanges
        )
        return cls(tuple(numbers), contexts, device)

    @cached_property
    def words(self) -> TimeMajor:
        """The turns' words by time."""
        return TimeMajor.of([words for _, words in self.turns], self.device, shared=True)

    @cached_property
    def backwards(self) -> TimeMajor:
        """The turns' words from the last to the first."""
        return TimeMajor.of([words[::-1] for _, words in self.turns], self.device, shared=True)

    @cached_property
    def own(self) -> Tensor:
        """(turns,) bool, True where the persona itself speaks."""
        return torch.tensor([own for own, _ in self.turns], dtype=torch.bool, device=self.device)

    @cached_property
    def last(self) -> TimeMajor:
        """The words of each context's last turn, of the same length as the exchanges; none where nothing was said."""
        said = [self.turns[numbers[-1]][1] if numbers else () for numbers in self.contexts]
        return TimeMajor.of(said, self.device, shared=True)

    @cached_property
    def before_last(self) -> TimeMajor:
        """Each context's turns but the last, as numbers by time."""
        return TimeMajor.of([numbers[:-1] for numbers in self.contexts], self.device, shared=True)

    @cached_property
    def all(self) -> TimeMajor:
        """Each context's turns, as numbers by time."""
        return TimeMajor.of(self.contexts, self.device, shared=True)


def turns_of(exchange: EncodedExchange) -> Iterator[tuple[bool, Ids]]:
    """Yield the turns of a context as (said by the persona itself, words)."""
    start = 0
    for own, tokens in exchange.turns:
        yield own, exchange.context[start : start + tokens]
        start += tokens
    assert start <= len(exchange.context), "turns that are longer than their context"
