"""Contexts become turns: a hierarchical model encodes equal turns once."""

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
    """The different turns, and for every exchange the indices of its context's turns, the oldest first."""

    turns: tuple[tuple[bool, Ids], ...]  # whether the persona itself said it, and its tokens
    contexts: tuple[Ids, ...]
    device: torch.device

    @classmethod
    def of(cls, exchanges: Sequence[EncodedExchange], device: torch.device) -> "Utterances":
        """Split contexts into turns; the tokens that open the reply belong to none."""
        numbers: dict[tuple[bool, Ids], int] = {}
        contexts = tuple(
            tuple(numbers.setdefault(turn, len(numbers)) for turn in turns_of(exchange)) for exchange in exchanges
        )
        return cls(tuple(numbers), contexts, device)

    @cached_property
    def words(self) -> TimeMajor:
        """The turns' tokens, time-major."""
        return TimeMajor.of([words for _, words in self.turns], self.device, shared=True)

    @cached_property
    def backwards(self) -> TimeMajor:
        """The turns' tokens, time-major, in reverse order."""
        return TimeMajor.of([words[::-1] for _, words in self.turns], self.device, shared=True)

    @cached_property
    def own(self) -> Tensor:
        """(turns,) bool, True where the persona itself speaks."""
        return torch.tensor([own for own, _ in self.turns], dtype=torch.bool, device=self.device)

    @cached_property
    def last(self) -> TimeMajor:
        """The tokens of each exchange's last turn, time-major; empty for an empty context."""
        said = [self.turns[numbers[-1]][1] if numbers else () for numbers in self.contexts]
        return TimeMajor.of(said, self.device, shared=True)

    @cached_property
    def before_last(self) -> TimeMajor:
        """The indices of each context's turns without the last, time-major."""
        return TimeMajor.of([numbers[:-1] for numbers in self.contexts], self.device, shared=True)

    @cached_property
    def all(self) -> TimeMajor:
        """The indices of each context's turns, time-major."""
        return TimeMajor.of(self.contexts, self.device, shared=True)


def turns_of(exchange: EncodedExchange) -> Iterator[tuple[bool, Ids]]:
    """Yield the turns of a context as (said by the persona itself, tokens)."""
    start = 0
    for own, tokens in exchange.turns:
        yield own, exchange.context[start : start + tokens]
        start += tokens
    assert start <= len(exchange.context), "turns that are longer than their context"
