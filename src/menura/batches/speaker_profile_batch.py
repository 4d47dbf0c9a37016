"""Exchanges become the profiles of their speakers, and the query of the persona memory.

Shape letters: B exchanges, S context tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from menura.batches.collate import Ids, pad
from menura.batches.encode import EncodedExchange
from menura.batches.speaker_profile import Slots
from menura.batches.utterances import turns_of


@dataclass(frozen=True)
class Profiles:
    """The different profiles of a batch, and for each exchange the index of its own and of its speakers'."""

    different: tuple[Slots, ...]
    own: Tensor  # (B,)
    speakers: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, exchanges: Sequence[EncodedExchange], device: torch.device) -> "Profiles":
        """Number the profiles; a speaker without one has the empty one."""
        numbers: dict[Slots, int] = {}
        speakers = tuple(
            tuple(numbers.setdefault(slots, len(numbers)) for slots in exchange.profiles or ((),))
            for exchange in exchanges
        )
        own = torch.tensor([people[0] for people in speakers], dtype=torch.long, device=device)
        return cls(tuple(numbers), own, speakers)

    def of_the_speakers(self) -> tuple[tuple[Slots, ...], Tensor]:
        """Return the different profiles of the replying personas, and (B,) the index of each exchange's."""
        own = self.own.tolist()
        place = {number: index for index, number in enumerate(dict.fromkeys(own))}
        row = torch.tensor([place[number] for number in own], dtype=torch.long, device=self.own.device)
        return tuple(self.different[number] for number in place), row

    def by_token(self, row: int, exchange: EncodedExchange) -> Ids:
        """Return, for each context token, 1 + the index of its speaker's profile, 0 if unknown."""
        if not exchange.turn_profiles:
            return (0,) * max(len(exchange.context) - 1, 0)
        turns = zip(exchange.turn_profiles, exchange.turns, strict=True)
        return tuple(1 + self.speakers[row][speaker] for speaker, (_, tokens) in turns for _ in range(tokens))


def asked_places(exchanges: Sequence[EncodedExchange], *, whole: bool) -> Tensor:
    """Return (B, S) 1-based positions within a memory's query: the last turn's content, or the whole context.

    As in the public program, ``whole`` leaves out the context's last token, which closes its last turn.
    """
    places = []
    for exchange in exchanges:
        length = len(exchange.context) - 1
        turns = [len(words) for _, words in turns_of(exchange)]
        asked = max(length - 1 if whole else turns[-1] - 1 if turns else 0, 0)
        start = 0 if whole else length - 1 - asked
        places.append((*([0] * max(start, 0)), *range(1, asked + 1), *([0] * (length - max(start, 0) - asked))))
    return pad(places)[0]
