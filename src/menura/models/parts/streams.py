"""What a decoder has read and said, as keys and values, and the places of what it reads.

Shape letters: B exchanges, R different rows, S places, T tokens said, D width, H heads, d = D/H, e width of tables.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from menura.models.parts.routing import Kept, SharedAttention, seen_of


@dataclass(frozen=True)
class Stream:
    """What was read, as keys and values of each different layer, and which of them are real; rows by exchange."""

    kept: tuple[Kept, ...]
    real: Tensor  # (R, S)
    row: Tensor | None = None  # (B,) None where each exchange has a row of its own, in order

    def chosen(self, rows: Tensor) -> "Stream":
        """Return the stream of some exchanges; nothing is copied."""
        return replace(self, row=rows if self.row is None else self.row[rows])

    def heard(self, attention: SharedAttention, layer: int, q: Tensor) -> Tensor:
        """Return (B, T, D) what queries (B, H, T, d) hear, not yet projected; of nothing, padding."""
        keys, values = self.kept[layer]
        kept = (self._rows(keys), self._rows(values))
        return attention.heard(q, kept, self._rows(self._seen)[:, None, None])

    @cached_property
    def some(self) -> Tensor:
        """(B, 1, 1) True where anything was read."""
        return self._rows(self.real.any(1))[:, None, None]

    @cached_property
    def _seen(self) -> Tensor:
        return seen_of(self.real)

    def _rows(self, each: Tensor) -> Tensor:
        """Return the rows of the exchanges, (B, …) from (R, …); one row for all is not copied."""
        if self.row is None or len(each) == 1:
            return each
        return each[self.row]


@dataclass(frozen=True)
class RoutingState:
    """What each exchange has read, how much its persona weighs, and keys and values of what it said, by application."""

    context: Stream | None
    persona: Stream | None
    strength: Tensor  # (B,)
    said: tuple[Kept, ...]
    predicted: Tensor | None = None  # (B,) log-odds that the reply says something of the persona's


def sinusoids(start: int, length: int, like: Tensor) -> Tensor:
    """Return (length, e) sines and cosines of places from ``start`` on (Vaswani et al., 2017)."""
    width = like.shape[-1]
    place = torch.arange(start, start + length, device=like.device, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, device=like.device, dtype=torch.float32) * (-9.210340371976184 / width))
    table = torch.zeros(length, width, device=like.device)
    table[:, 0::2] = (place * rate).sin()
    table[:, 1::2] = (place * rate[: width // 2]).cos()
    return table.to(like.dtype)
