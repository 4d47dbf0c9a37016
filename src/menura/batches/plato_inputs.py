"""Exchanges become the input of a unified transformer: four ids per token, and its utterance (PLATO, A3).

Shape letters: B exchanges, C context tokens (facts included), T reply tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from menura.batches.collate import Ids, pad
from menura.batches.encode import EncodedExchange

OWN, PARTNER, FACT = 0, 1, 2  # roles
NOWHERE = -1  # the turn of a fact without one

# Knowledge (PLATO's word) are the persona's facts.
Knowledge = Literal["after", "before"]  # where they stand: after or before the utterances
KnowledgeTurn = Literal["none", "index"]  # their turn embedding: none, or the number of the fact as its turn
TurnNumbering = Literal["to_reply", "from_start"]  # turns are numbered back from the reply, or forward from the first


class Token(NamedTuple):
    """One token: id, role, turn, position in the turn; ``utterance`` counts utterances from the first."""

    id: int
    role: int
    turn: int
    position: int
    utterance: int


@dataclass(frozen=True)
class PlatoInputs:
    """What a unified transformer reads: token rows, padded on the right, five numbers each.

    ``mask`` is True where a token is real.
    """

    ids: Tensor  # (B, L) int64, as are the others
    role: Tensor
    turn: Tensor
    position: Tensor
    utterance: Tensor
    mask: Tensor  # (B, L) bool

    @classmethod
    def of(cls, rows: Sequence[Sequence[Token]], device: torch.device) -> "PlatoInputs":
        """Return rows as padded tensors."""
        made = [pad([tuple(token[field] for token in row) for row in rows]) for field in range(len(Token._fields))]
        ids, role, turn, position, utterance = (channel.to(device) for channel, _ in made)
        return cls(ids, role, turn, position, utterance, made[0][1].to(device))


@dataclass(frozen=True)
class ContextLayout:
    """How a context becomes tokens; ``end`` closes each utterance and each fact.

    ``knowledge`` says whether the persona's facts stand after or before the utterances; with ``knowledge_turn`` none
    they have no turn embedding, with index the n-th fact has turn n (from 0).
    ``turns`` to_reply numbers utterances back from the reply, whose turn is 0 (the last utterance is 1); from_start
    numbers them forward from 1, so that a cache stays valid when the dialogue goes on. The last is ``max_turns`` − 1.
    """

    end: int
    knowledge: Knowledge = "after"
    knowledge_turn: KnowledgeTurn = "none"
    turns: TurnNumbering = "to_reply"
    max_turns: int = 16

    def context(self, exchange: EncodedExchange) -> list[Token]:
        """Return the tokens before the reply, without the one that opens the reply."""
        facts = self._facts(exchange, first=len(exchange.turns) if self.knowledge == "after" else 0)
        said = self._said(exchange, first=0 if self.knowledge == "after" else 1)
        return [*said, *facts] if self.knowledge == "after" else [*facts, *said]

    def reply(self, ids: Ids, start: int = 0) -> list[Token]:
        """Return tokens of a reply, the first at position ``start``; the opening token is at 0."""
        return [Token(token, OWN, 0, place, 0) for place, token in enumerate(ids, start)]

    def next(self, last: Tensor, place: int) -> PlatoInputs:
        """Return one reply token per row, ``last`` (B,), at position ``place``."""
        ids = last.unsqueeze(1)
        none = torch.zeros_like(ids)
        return PlatoInputs(ids, none + OWN, none, none + place, none, torch.ones_like(ids, dtype=torch.bool))

    def _said(self, exchange: EncodedExchange, first: int) -> Iterator[Token]:
        ids = iter(exchange.context)
        for number, (own, count) in enumerate(exchange.turns):
            turn = number + 1 if self.turns == "from_start" else len(exchange.turns) - number
            role = OWN if own else PARTNER
            for position in range(count):
                yield Token(next(ids), role, min(turn, self.max_turns - 1), position, first + number)

    def _facts(self, exchange: EncodedExchange, first: int) -> Iterator[Token]:
        sentence = position = 0
        for token in exchange.facts:
            turn = min(sentence, self.max_turns - 1) if self.knowledge_turn == "index" else NOWHERE
            yield Token(token, FACT, turn, position, first)
            position += 1
            if token == self.end:
                sentence, position = sentence + 1, 0
