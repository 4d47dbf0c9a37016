"""The decoder's key-value cache: context, persona and reply; and position encodings.

Shape letters: B exchanges, R different rows, S places, T reply tokens, D width, H heads, d = D/H, e embedding width.
"""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from menura.models.attention_routing.layers import KeyValues, SharedAttention, additive_mask

PLACES = 512  # the least number of positions whose sines are cached


@dataclass(frozen=True)
class Stream:
    """An encoded context or persona: keys and values of each different layer, the mask, and each exchange's row."""

    kept: tuple[KeyValues, ...]
    real: Tensor  # (R, S)
    everybody: bool  # True if no row is empty
    row: Tensor | None = None  # (B,) None if exchange b has row b

    @classmethod
    def of(cls, kept: tuple[KeyValues, ...], real: Tensor) -> "Stream":
        """Return a stream with a row for each exchange."""
        return cls(kept, real, bool(real.any(1).all()))

    def chosen(self, rows: Tensor) -> "Stream":
        """Return the stream of some exchanges; nothing is copied."""
        return replace(self, row=rows if self.row is None else self.row[rows])

    def attend(self, attention: SharedAttention, layer: int, q: Tensor) -> Tensor:
        """Return attention outputs (B, T, D) of queries (B, H, T, d), before the output projection."""
        # In training rows are gathered at each call: a cached copy would stay in memory for the gradient.
        kept = self._spread(self.kept[layer]) if torch.is_grad_enabled() else self._by_row[layer]
        return attention.attend(q, kept, self._shut)

    @cached_property
    def some(self) -> Tensor | None:
        """(B, 1, 1) True where a row is not empty; None if no row is empty."""
        return None if self.everybody else self._rows(self.real.any(1))[:, None, None]

    @cached_property
    def _by_row(self) -> tuple[KeyValues, ...]:
        """Keys and values, one row per exchange."""
        return tuple(self._spread(kept) for kept in self.kept)

    def _spread(self, kept: KeyValues) -> KeyValues:
        keys, values = kept
        return self._rows(keys), self._rows(values)

    @cached_property
    def _shut(self) -> Tensor:
        return self._rows(additive_mask(self.real, self.kept[0][0].dtype))

    def _rows(self, each: Tensor) -> Tensor:
        """Return the rows of the exchanges, (B, …) from (R, …); one row for all is not copied."""
        if self.row is None or len(each) == 1:
            return each
        return each[self.row]


@dataclass(frozen=True)
class ReplyCache:
    """Keys and values of ``count`` reply tokens in a buffer (count or more, 2, B, H, d)."""

    room: Tensor
    count: int

    @property
    def tokens(self) -> Tensor:
        """The used part, (count, 2, B, H, d)."""
        return self.room[: self.count]

    def chosen(self, rows: Tensor) -> "ReplyCache":
        """Return a copy for some exchanges."""
        return ReplyCache(self.tokens[:, :, rows], self.count)

    def followed_by(self, new: Tensor) -> "ReplyCache":
        """Append keys and values (T, 2, B, H, d); this object must not be used any more.

        Without gradients they are written into the buffer, which is copied only when it grows.
        """
        end = self.count + len(new)
        if not self.count:
            return ReplyCache(new, end)
        if torch.is_grad_enabled():  # autograd needs the old tensors unchanged
            return ReplyCache(torch.cat([self.tokens, new]), end)
        room = self.room
        if end > len(room):
            room = room.new_empty((2 * end, *room.shape[1:]))
            room[: self.count] = self.tokens
        room[self.count : end] = new
        return ReplyCache(room, end)


@dataclass(frozen=True)
class RoutingState:
    """Each exchange's context, persona and persona weight, and the reply so far by layer application."""

    context: Stream | None
    persona: Stream | None
    strength: Tensor  # (B,)
    said: tuple[ReplyCache, ...]
    predicted: Tensor | None = None  # (B,) log-odds that the reply expresses a fact of the persona

    @cached_property
    def read(self) -> tuple[tuple[Stream, Tensor], ...]:
        """The streams to attend to, with their weights (B, 1, 1) in Eq. 1: 2 − a for the context, a for the persona."""
        a = self.strength[:, None, None]
        weighed = ((self.context, 2 - a), (self.persona, a))
        return tuple((stream, weight) for stream, weight in weighed if stream is not None)


def sinusoids(start: int, length: int, like: Tensor) -> Tensor:
    """Return (length, e) sinusoidal position encodings from ``start`` on (Vaswani et al., 2017)."""
    end = start + length
    places = max(PLACES, 1 << (end - 1).bit_length())
    return _sinusoids(places, like.shape[-1], like.device, like.dtype)[start:end]


@lru_cache(maxsize=8)  # for a single token, computing them would take longer than its matrix products
def _sinusoids(places: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    place = torch.arange(places, device=device, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, device=device, dtype=torch.float32) * (-9.210340371976184 / width))
    table = torch.zeros(places, width, device=device)
    table[:, 0::2] = (place * rate).sin()
    table[:, 1::2] = (place * rate[: width // 2]).cos()
    return table.to(dtype)
