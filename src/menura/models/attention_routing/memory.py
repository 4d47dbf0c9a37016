"""A memory of a persona's key-value pairs, read in hops (MemN2N; spec B8).

Shape letters: B exchanges, R different profiles, M slots, J tokens of a value, S places of a context, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from menura.batches.speaker_profile import PADDING, Slots
from menura.models.attention_routing.layers import attention_mask_of


@dataclass(frozen=True)
class Pairs:
    """Profiles as padded tensors: keys (R, M), values (R, M, J)."""

    keys: Tensor
    values: Tensor

    @classmethod
    def of(cls, profiles: Sequence[Slots], device: torch.device, *, tokens: bool = False) -> "Pairs":
        """Pad slots; ``tokens`` makes each key and each token of a value a slot of its own, without a key."""
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
        """(R, M) True where a slot is real: each has at least one token."""
        return self.values[..., 0] != PADDING if self.values.shape[-1] else self.keys != PADDING


def as_tokens(slots: Slots) -> Slots:
    """Return each key and each token of each value as a slot without a key."""
    return tuple((PADDING, (token,)) for key, value in slots for token in (key, *value))


@dataclass(frozen=True)
class Query:
    """A memory's query: a text within each context, as 1-based positions within the text, 0 outside."""

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
    """Queries in, a weighted sum of the persona's slots out (Sukhbaatar et al., 2015).

    A slot is addressed by its key and the mean of its value's tokens, and its output is the mean of its value's tokens.
    With adjacent tying table k + 1 is the output of hop k and the address of hop k + 1; with ``layer_wise`` all hops
    have one address table and one output table, and the next query is W u + o.
    """

    def __init__(self, words: int, width: int, hops: int, *, amplified: bool = False, layer_wise: bool = False) -> None:
        super().__init__()
        tables = 2 if layer_wise else hops + 1
        self.tables = nn.ModuleList(nn.Embedding(words, width, padding_idx=PADDING) for _ in range(tables))
        self.onward = nn.Linear(width, width, bias=False) if layer_wise else None  # W
        self.hops, self.amplified = hops, amplified

    def forward(self, pairs: Pairs, rows: Tensor, query: Query, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """Return the memory's output (B, D), and the outputs of all slots in the last hop (R, M, D).

        The output is the sum over the hops, u_H − u_0; if amplified or ``layer_wise``, that of the last hop: as W
        changes the query, u_H − u_0 would not be 0 for an empty profile.
        ``rows`` (B,) is each exchange's profile, ``embedded`` (B, S, D) are the contexts' embeddings.
        """
        values = [self._means(table, pairs) for table in self.tables]
        real = attention_mask_of(pairs.real[rows])  # an empty profile attends to padding, which is zero
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
        """Return (R, M, D) the mean over each value's tokens; 0 at padding."""
        count = (pairs.values != PADDING).sum(-1, keepdim=True).clamp(min=1)
        mean: Tensor = table(pairs.values).sum(-2) / count
        return mean
