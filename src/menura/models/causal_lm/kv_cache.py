"""The key-value cache, in buffers allocated ahead of need."""

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from menura.batches.varlen import SequenceLayout

ROOM = 64  # tokens of spare capacity of a new buffer, and the least by which it grows


class RoomyLayer(DynamicLayer):  # type: ignore[misc]  # transformers ships no types for it
    """One layer's keys and values (B, capacity, heads, width); appending is in place until the capacity is used up."""

    def __init__(self) -> None:
        super().__init__()
        self.used = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append (B, T, heads, width) and return all read so far, (B, tokens, heads, width)."""
        start, end = self.used, self.used + keys.shape[1]
        if not start:
            self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
            self._room = _room_like(keys, end), _room_like(values, end)
        elif end > self._room[0].shape[1]:
            self._room = _grown(self._room[0], start, end), _grown(self._room[1], start, end)
        key_room, value_room = self._room
        key_room.narrow(1, start, end - start).copy_(keys)
        value_room.narrow(1, start, end - start).copy_(values)
        self.used = end
        return key_room.narrow(1, 0, end), value_room.narrow(1, 0, end)

    def read(self) -> tuple[Tensor, Tensor]:
        """Return all read so far."""
        return self._room[0].narrow(1, 0, self.used), self._room[1].narrow(1, 0, self.used)

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Do nothing: the first append allocates."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append (B, heads, T, width), as the network's own forward pass does, and return all read so far."""
        del args, kwargs
        keys, values = self.append(key_states.transpose(1, 2), value_states.transpose(1, 2))
        self.keys, self.values = keys.transpose(1, 2), values.transpose(1, 2)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Return the tokens read so far."""
        return self.used

    def selected(self, rows: Tensor) -> "RoomyLayer":
        """Return a new layer with these rows, in this order."""
        chosen = RoomyLayer()
        if self.used:
            chosen.append(*(part.index_select(0, rows) for part in self.read()))
        return chosen


def prefilled_layer(keys: Tensor, values: Tensor, rows: SequenceLayout) -> RoomyLayer:
    """Return a layer with packed rows (T, heads, width), padded on the left."""
    made = RoomyLayer()
    made.append(_filled(keys, rows), _filled(values, rows))
    return made


def _filled(packed: Tensor, rows: SequenceLayout) -> Tensor:
    longest = max(rows.lengths)
    # Zeros, not uninitialised memory: a masked value has weight 0, but 0 times NaN is NaN.
    filled = packed.new_zeros((len(rows.lengths), longest, *packed.shape[1:]))
    row = start = 0
    for count, length in rows.runs:
        piece = packed[start : start + count * length].view(count, length, *packed.shape[1:])
        filled[row : row + count, longest - length :] = piece
        row, start = row + count, start + count * length
    return filled


class RoomyCache(Cache):  # type: ignore[misc]  # transformers ships no types for it
    """A cache of such layers, as a network's own forward pass wants it."""

    @property
    def used(self) -> int:
        """The tokens read so far."""
        return int(self.layers[0].used)


def empty_cache(depth: int) -> RoomyCache:
    """Return a cache of ``depth`` layers that has read nothing."""
    return RoomyCache(layers=[RoomyLayer() for _ in range(depth)])


def selected(cache: RoomyCache, rows: Tensor) -> RoomyCache:
    """Return a new cache with these rows."""
    return RoomyCache(layers=[layer.selected(rows) for layer in cache.layers])


def _room_like(states: Tensor, tokens: int) -> Tensor:
    return states.new_empty((len(states), tokens + ROOM, *states.shape[2:]))


def _grown(room: Tensor, used: int, needed: int) -> Tensor:
    larger = _room_like(room, max(needed, 2 * room.shape[1] - ROOM))
    larger[:, :used] = room[:, :used]
    return larger


def joined_mask(cached: Tensor | None, used: int, ids: Tensor, mask: Tensor | None) -> Tensor | None:
    """Return which tokens are real after ids (B, L) have been read behind ``used`` cached ones; None if all are.

    ``cached`` (B, used) and ``mask`` (B, L) are those of the cached tokens and of the ids, None where all are real.
    """
    if cached is None and mask is None:
        return None
    before = ids.new_ones((len(ids), used)) if cached is None else cached
    return torch.cat([before.bool(), torch.ones_like(ids, dtype=torch.bool) if mask is None else mask], 1)
