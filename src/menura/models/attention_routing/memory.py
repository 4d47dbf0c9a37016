"""A memory of a persona's key-value pairs, read in hops (MemN2N; spec B8).

Shape letters: B exchanges, R different profiles, M slots, J tokens of a value, S places of a context, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from menura.batches.profile import PADDING, Slots
from menura.models.attention_routing.layers import seen_of


@dataclass(frozen=True)
class Pairs:
    """Profiles as rectangles: keys (R, M), values (R, M, J), padding where there is nothing."""

    keys: Tensor
    values: Tensor

    @classmethod
    def of(cls, profiles: Sequence[Slots], device: torch.device, *, tokens: bool = False) -> "Pairs":
        """Lay out slots; ``tokens`` makes each key and each token of a value a slot of its own, without a key."""
        if tokens:
            profiles = [as_tokens(slots) for slots in profiles]
        slots = max((len(held) for held in profiles), default=0)
        longest = max((len(value) for held in profiles for _, value in held), default=0)
        keys = torch.full((len(profiles), slots), PADDING)
        values = torch.full((len(profiles), slots, longest), PADDING)
        for row, held in enumerate(profiles):
            for place, (key, value) in enumerate(held):
                keys[row, place] = key
                values[row, place, : len(value)] = torch.tensor(value)
        return cls(keys.to(device), values.to(device))

    @property
    def real(self) -> Tensor:
        """(R, M) True where there is a slot: each has at least one token."""
        return self.values[..., 0] != PADDING if self.values.shape[-1] else self.keys != PADDING


def as_tokens(slots: Slots) -> Slots:
    """Return each key and each token of each value as a slot without a key."""
    return tuple((PADDING, (token,)) for key, value in slots for token in (key, *value))


@dataclass(frozen=True)
class Query:
    """What a memory is asked: texts within contexts, by the number of each place within its text, 0 outside."""

    places: Tensor  # (B, S) int64, 1 to the text's length

    @property
    def length(self) -> Tensor:
        """(B, 1) tokens of each text, at least 1."""
        return (self.places > 0).sum(1, keepdim=True).clamp(min=1)

    def pooled(self, embedded: Tensor) -> Tensor:
        """Return (B, D) the position-encoded sum over (B, S, D): l_jk = (1 − j/J) − (k/D)(1 − 2j/J)."""
        asked = (self.places > 0).to(embedded.dtype)
        share = self.places.to(embedded.dtype) / self.length
        plain = ((1 - share) * asked).unsqueeze(1) @ embedded
        tilted = ((1 - 2 * share) * asked).unsqueeze(1) @ embedded
        return (plain - steps(embedded) * tilted).squeeze(1)

    def sums(self, embedded: Tensor) -> Tensor:
        """Return (B, D) Σ_j l_jk = (J − 1)/2 + k/D, by which a vector added to every place is pooled."""
        return ((self.length - 1) / 2 + steps(embedded)) * (self.places > 0).any(1, keepdim=True)


def steps(embedded: Tensor) -> Tensor:
    """Return (D,) k/D for k from 1."""
    width = embedded.shape[-1]
    return torch.arange(1, width + 1, device=embedded.device, dtype=embedded.dtype) / width


class PersonaMemory(nn.Module):
    """Queries in, what the persona's slots give out (Sukhbaatar et al., 2015).

    A slot is addressed by its key and the mean of its value's tokens, and gives the mean of its value's tokens. Tied
    adjacently, table k + 1 is read by hop k and addressed by hop k + 1; tied ``layer_wise``, all hops address one table
    and read another, and a query goes on as W u + o.
    """

    def __init__(self, words: int, width: int, hops: int, *, amplified: bool = False, layer_wise: bool = False) -> None:
        super().__init__()
        tables = 2 if layer_wise else hops + 1
        self.tables = nn.ModuleList(nn.Embedding(words, width, padding_idx=PADDING) for _ in range(tables))
        self.onward = nn.Linear(width, width, bias=False) if layer_wise else None  # W
        self.hops, self.amplified = hops, amplified

    def forward(self, pairs: Pairs, rows: Tensor, query: Query, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """Return what was found (B, D), and what the slots of the last hop give (R, M, D).

        What was found is the sum over the hops, u_H − u_0; amplified or ``layer_wise``, the last hop's alone: where W
        changes a query, u_H − u_0 would be something even of a profile of nothing.
        ``rows`` (B,) says whose profile each exchange is, ``embedded`` (B, S, D) are the contexts' embeddings.
        """
        values = [self._means(table, pairs) for table in self.tables]
        real = seen_of(pairs.real[rows])  # a profile of nothing finds padding, which is zero
        asked = first = query.pooled(embedded)
        output = torch.zeros_like(asked)
        for hop in range(self.hops):
            addressed = 0 if self.onward is not None else hop
            addresses = (values[addressed] + self.tables[addressed](pairs.keys))[rows]
            scores = torch.einsum("bmd,bd->bm", addresses, asked).masked_fill(~real, float("-inf"))
            output = torch.einsum("bm,bmd->bd", scores.softmax(-1), values[addressed + 1][rows])
            asked = asked if self.onward is None else self.onward(asked)
            asked = asked + (query.sums(embedded) * output if self.amplified else output)
        of_last = self.amplified or self.onward is not None
        return (output if of_last else asked - first), values[-1]

    def _means(self, table: nn.Module, pairs: Pairs) -> Tensor:
        """Return (R, M, D) the mean over each value's tokens; that of padding is 0."""
        count = (pairs.values != PADDING).sum(-1, keepdim=True).clamp(min=1)
        mean: Tensor = table(pairs.values).sum(-2) / count
        return mean
