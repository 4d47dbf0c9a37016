"""What a decoder has read and said, as keys and values, and the places of what it reads.

Shape letters: B exchanges, R different rows, S places, T tokens said, D width, H heads, d = D/H, e width of tables.
"""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from menura.models.attention_routing.layers import KeyValues, SharedAttention, shut_to

PLACES = 512  # of which sines are kept, and of more where more are asked for


@dataclass(frozen=True)
class Stream:
    """What was read, as keys and values of each different layer, and which of them are real; rows by exchange."""

    kept: tuple[KeyValues, ...]
    real: Tensor  # (R, S)
    everybody: bool  # has read something
    row: Tensor | None = None  # (B,) None where each exchange has a row of its own, in order

    @classmethod
    def of(cls, kept: tuple[KeyValues, ...], real: Tensor) -> "Stream":
        """Return a stream with a row for each exchange."""
        return cls(kept, real, bool(real.any(1).all()))

    def chosen(self, rows: Tensor) -> "Stream":
        """Return the stream of some exchanges; nothing is copied."""
        return replace(self, row=rows if self.row is None else self.row[rows])

    def heard(self, attention: SharedAttention, layer: int, q: Tensor) -> Tensor:
        """Return (B, T, D) what queries (B, H, T, d) hear, not yet projected; of nothing, padding."""
        # Where something is learnt they are spread anew each time: what is kept would be held for the gradient.
        kept = self._spread(self.kept[layer]) if torch.is_grad_enabled() else self._by_row[layer]
        return attention.heard(q, kept, self._shut)

    @cached_property
    def some(self) -> Tensor | None:
        """(B, 1, 1) True where anything was read; None where everybody has."""
        return None if self.everybody else self._rows(self.real.any(1))[:, None, None]

    @cached_property
    def _by_row(self) -> tuple[KeyValues, ...]:
        """What was read, spread to the exchanges' rows."""
        return tuple(self._spread(kept) for kept in self.kept)

    def _spread(self, kept: KeyValues) -> KeyValues:
        keys, values = kept
        return self._rows(keys), self._rows(values)

    @cached_property
    def _shut(self) -> Tensor:
        return self._rows(shut_to(self.real, self.kept[0][0].dtype))

    def _rows(self, each: Tensor) -> Tensor:
        """Return the rows of the exchanges, (B, …) from (R, …); one row for all is not copied."""
        if self.row is None or len(each) == 1:
            return each
        return each[self.row]


@dataclass(frozen=True)
class Said:
    """Keys and values of ``count`` tokens, (count or more, 2, B, H, d): behind them may be room for the next."""

    room: Tensor
    count: int

    @property
    def tokens(self) -> Tensor:
        """Those said, (count, 2, B, H, d)."""
        return self.room[: self.count]

    def chosen(self, rows: Tensor) -> "Said":
        """Return what some exchanges said, as their own."""
        return Said(self.tokens[:, :, rows], self.count)

    def followed_by(self, new: Tensor) -> "Said":
        """Return what was said with new keys and values (T, 2, B, H, d) behind it; this one is used up.

        Where nothing is learnt they are written into the room; what was said before is copied only for a larger one.
        """
        end = self.count + len(new)
        if not self.count:
            return Said(new, end)
        if torch.is_grad_enabled():  # what was multiplied by stays as it was
            return Said(torch.cat([self.tokens, new]), end)
        room = self.room
        if end > len(room):
            room = room.new_empty((2 * end, *room.shape[1:]))
            room[: self.count] = self.tokens
        room[self.count : end] = new
        return Said(room, end)


@dataclass(frozen=True)
class RoutingState:
    """What each exchange has read, how much its persona weighs, and what it said by application."""

    context: Stream | None
    persona: Stream | None
    strength: Tensor  # (B,)
    said: tuple[Said, ...]
    predicted: Tensor | None = None  # (B,) log-odds that the reply says something of the persona's

    @cached_property
    def read(self) -> tuple[tuple[Stream, Tensor], ...]:
        """What there is to attend to, each with its weight in Eq. 1, (B, 1, 1): 2 − a the context, a the persona."""
        a = self.strength[:, None, None]
        weighed = ((self.context, 2 - a), (self.persona, a))
        return tuple((stream, weight) for stream, weight in weighed if stream is not None)


def sinusoids(start: int, length: int, like: Tensor) -> Tensor:
    """Return (length, e) sines and cosines of places from ``start`` on (Vaswani et al., 2017)."""
    end = start + length
    places = max(PLACES, 1 << (end - 1).bit_length())
    return _sinusoids(places, like.shape[-1], like.device, like.dtype)[start:end]


@lru_cache(maxsize=8)  # a token that is said alone would wait for them longer than for its products
def _sinusoids(places: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    place = torch.arange(places, device=device, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, device=device, dtype=torch.float32) * (-9.210340371976184 / width))
    table = torch.zeros(places, width, device=device)
    table[:, 0::2] = (place * rate).sin()
    table[:, 1::2] = (place * rate[: width // 2]).cos()
    return table.to(dtype)
