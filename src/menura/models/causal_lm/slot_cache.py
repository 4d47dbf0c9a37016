"""Key-value caches of rows that enter and leave a running batch, each of its own length.

Shape letters: S slots, B rows in use, T tokens, K key heads, E width of a head.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import torch
from torch import Tensor

from menura.models.causal_lm.functional_layers import FunctionalLayer
from menura.models.causal_lm.kv_cache import RoomyLayer

TOKENS_AT_FIRST = 128  # capacity of a new cache; it doubles


@dataclass(frozen=True)
class CachedPrefix:
    """What was read of one row: its token ids, and each layer's keys and values (T, K, E)."""

    ids: tuple[int, ...]
    layers: tuple[tuple[Tensor, Tensor], ...]

    @property
    def bytes(self) -> int:
        """The memory that it takes."""
        return sum(keys.nbytes + values.nbytes for keys, values in self.layers)

    def shortened(self, tokens: int) -> "CachedPrefix":
        """Return what was read of the first ``tokens`` tokens; each token's keys depend on earlier tokens alone."""
        return CachedPrefix(self.ids[:tokens], tuple((keys[:tokens], values[:tokens]) for keys, values in self.layers))

    def as_layers(self) -> tuple[RoomyLayer, ...]:
        """Return the cache of one row to read on from; this one stays as it is."""
        made = []
        for keys, values in self.layers:
            layer = RoomyLayer()
            layer.append(keys[None], values[None])
            made.append(layer)
        return tuple(made)


class SlotLayer:
    """One layer's keys and values of all slots, (S, capacity, K, E) each; a row's stand at its beginning."""

    def __init__(self, cache: "SlotCache") -> None:
        self._cache = cache
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append (B, 1, K, E) to the rows in use, each behind its own; return the longest row's length of all."""
        assert self.keys is not None, "no row was put into this cache"
        assert self.values is not None, "no row was put into this cache"
        rows, ends, longest = self._cache.places
        self.keys[rows, ends] = keys[:, 0]
        self.values[rows, ends] = values[:, 0]
        return self.keys[: len(rows), :longest], self.values[: len(rows), :longest]

    def put(self, row: int, keys: Tensor, values: Tensor, room: tuple[int, int]) -> None:
        """Put (T, K, E) into a slot; ``room`` are the slots and tokens that there must be room for."""
        self.keys, self.values = _roomy(self.keys, keys, room), _roomy(self.values, values, room)
        self.keys[row, : len(keys)] = keys
        self.values[row, : len(values)] = values

    def move(self, source: int, target: int, tokens: int) -> None:
        """Copy a row to another slot."""
        assert self.keys is not None, "no row was put into this cache"
        assert self.values is not None, "no row was put into this cache"
        self.keys[target, :tokens] = self.keys[source, :tokens]
        self.values[target, :tokens] = self.values[source, :tokens]


class SlotCache:
    """Rows in use stand in slots 0 to B − 1, each with the tokens that it has read."""

    def __init__(self, depth: int, functional: Sequence[FunctionalLayer]) -> None:
        self.layers = tuple(SlotLayer(self) for _ in range(depth))
        self.functional = functional
        self.lengths: list[int] = []
        self.places: tuple[Tensor, Tensor, int] = (torch.empty(0), torch.empty(0), 0)
        self._room = (0, 0)

    def put(self, prefix: CachedPrefix) -> int:
        """Add a row that has read a prefix; return its number."""
        row, tokens = len(self.lengths), len(prefix.ids)
        self._make_room(row + 1, tokens + 1)
        for layer, (keys, values) in zip(self.layers, prefix.layers, strict=True):
            layer.put(row, keys, values, self._room)
        self.lengths.append(tokens)
        return row

    def prefix(self, row: int, ids: Sequence[int]) -> CachedPrefix:
        """Return a copy of what a row has read; ``ids`` are its tokens, of which the first so many were read."""
        tokens = self.lengths[row]
        layers = []
        for layer in self.layers:
            assert layer.keys is not None, "no row was put into this cache"
            assert layer.values is not None, "no row was put into this cache"
            layers.append((layer.keys[row, :tokens].clone(), layer.values[row, :tokens].clone()))
        return CachedPrefix(tuple(ids[:tokens]), tuple(layers))

    def remove(self, row: int) -> int:
        """Remove a row; return the number that the last row had, which stands in its slot now."""
        last = len(self.lengths) - 1
        if row != last:
            for layer in self.layers:
                layer.move(last, row, self.lengths[last])
            self.lengths[row] = self.lengths[last]
        self.lengths.pop()
        return last

    def step(self, like: Tensor, windows: Set[int | None]) -> tuple[Tensor, Mapping[int | None, Tensor | None]]:
        """Make room for one more token of each row; return its positions (B,) and the mask of each window.

        A mask (B, 1, 1, T) is 0 where a row's token attends to a key, −inf elsewhere; None where all attend to all.
        """
        longest = max(self.lengths) + 1
        self._make_room(len(self.lengths), longest)
        ends = torch.tensor(self.lengths, device=like.device)
        self.places = torch.arange(len(ends), device=like.device), ends, longest
        self.lengths = [length + 1 for length in self.lengths]
        return ends, {window: _mask(ends, longest, window, like) for window in windows}

    def _make_room(self, slots: int, tokens: int) -> None:
        """Grow all layers so that this many slots and tokens fit; both at least double."""
        if slots <= self._room[0] and tokens <= self._room[1]:
            return
        wanted = slots, max(tokens, TOKENS_AT_FIRST)
        grown = zip(self._room, wanted, strict=True)
        first, second = (have if need <= have else max(need, 2 * have) for have, need in grown)
        self._room = first, second
        for layer in self.layers:
            if layer.keys is not None and layer.values is not None:
                layer.keys, layer.values = (
                    _roomy(layer.keys, layer.keys[0], self._room),
                    _roomy(layer.values, layer.values[0], self._room),
                )


def _roomy(held: Tensor | None, like: Tensor, room: tuple[int, int]) -> Tensor:
    """Return a buffer of ``room`` slots and tokens, with what is held; the same where it is as large."""
    if held is not None and held.shape[:2] == room:
        return held
    # Zeros, not uninitialised memory: a masked value has weight 0, but 0 times NaN is NaN.
    made = like.new_zeros((*room, *like.shape[1:]))
    if held is not None:
        made[: held.shape[0], : held.shape[1]] = held
    return made


def _mask(ends: Tensor, longest: int, window: int | None, like: Tensor) -> Tensor | None:
    columns = torch.arange(longest, device=like.device)
    sees = columns <= ends[:, None]
    if window is not None:
        sees = sees & (columns > ends[:, None] - window)
    if bool(sees.all()):
        return None
    return torch.zeros_like(sees, dtype=like.dtype).masked_fill(~sees, float("-inf"))[:, None, None]
