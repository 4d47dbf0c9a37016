"""Keys and values of the tokens read so far, in buffers allocated ahead of need."""

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from menura.batches.passes import Rows

ROOM = 64  # tokens of free room a buffer is made with, and at least grows by


class RoomyLayer(DynamicLayer):  # type: ignore[misc]  # transformers ships no types for it
    """One layer's keys and values (B, heads, room, width); appending writes in place until the room is used up."""

    def __init__(self) -> None:
        super().__init__()
        self.used = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate for what comes first and ``ROOM`` tokens more."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self._key_room = _room_like(key_states, key_states.shape[2] + ROOM)
        self._value_room = _room_like(value_states, value_states.shape[2] + ROOM)
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append (B, heads, T, width) and return all read so far."""
        del args, kwargs
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.used + key_states.shape[2]
        if end > self._key_room.shape[2]:
            self._key_room = _grown(self._key_room, self.used, end)
            self._value_room = _grown(self._value_room, self.used, end)
        self._key_room.narrow(2, self.used, end - self.used).copy_(key_states)
        self._value_room.narrow(2, self.used, end - self.used).copy_(value_states)
        self.used = end
        self.keys, self.values = self._key_room.narrow(2, 0, end), self._value_room.narrow(2, 0, end)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Return the tokens read so far."""
        return self.used

    def selected(self, rows: Tensor) -> "RoomyLayer":
        """Return a layer of its own that holds these rows, in this order."""
        chosen = RoomyLayer()
        if self.used:
            chosen.update(self.keys.index_select(0, rows), self.values.index_select(0, rows))
        return chosen


def begun_layer(keys: Tensor, values: Tensor, rows: Rows) -> RoomyLayer:
    """Return a layer that holds rows side by side, (T, heads, width), filled up on the left."""
    made = RoomyLayer()
    made.update(_filled(keys, rows), _filled(values, rows))
    return made


def _filled(line: Tensor, rows: Rows) -> Tensor:
    longest = max(rows.lengths)
    # Zeros, not what was in memory: a masked value counts nothing, but not-a-number times nothing would.
    filled = line.new_zeros((len(rows.lengths), line.shape[1], longest, line.shape[2]))
    row = place = 0
    for count, length in rows.runs:
        piece = line[place : place + count * length].view(count, length, *line.shape[1:])
        filled[row : row + count, :, longest - length :] = piece.transpose(1, 2)
        row, place = row + count, place + count * length
    return filled


def empty_cache(depth: int) -> Cache:
    """Return a cache of ``depth`` layers that has read nothing."""
    return Cache(layers=[RoomyLayer() for _ in range(depth)])


def selected(cache: Cache, rows: Tensor) -> Cache:
    """Return a cache of its own that holds these rows."""
    return Cache(layers=[layer.selected(rows) for layer in cache.layers])


def _room_like(states: Tensor, length: int) -> Tensor:
    batch, heads, _, width = states.shape
    return torch.empty((batch, heads, length, width), dtype=states.dtype, device=states.device)


def _grown(room: Tensor, used: int, needed: int) -> Tensor:
    larger = _room_like(room, max(needed + ROOM, 2 * room.shape[2]))
    larger[:, :, :used] = room[:, :, :used]
    return larger
