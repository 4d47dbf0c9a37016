"""Attention of many rows to contexts that they share: each context's keys and values are held once.

Shape letters: B contexts, R rows (each has one context), C context places, t places of a row's own, n new ones, H
heads, d of each, G the most rows of one context.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

KeyValues = tuple[Tensor, Tensor]  # keys and values of a layer
FUSED = "_scaled_dot_product_flash_attention_for_cpu"  # of torch.ops.aten; not a public operation


@dataclass(frozen=True)
class Owners:
    """Which context each row attends to."""

    of: Tensor  # (R,) int64, in ascending order or not
    contexts: int  # B

    @classmethod
    def alike(cls, contexts: int, rows: int, device: torch.device) -> "Owners":
        """Give each context ``rows`` adjacent rows."""
        return cls(torch.arange(contexts, device=device).repeat_interleave(rows), contexts)

    @cached_property
    def slots(self) -> tuple[Tensor | None, int]:
        """Return each row's index in (B, G), grouped by context (None if rows are in this order already), and G."""
        count = torch.bincount(self.of, minlength=self.contexts)
        widest = int(count.max()) if len(self.of) else 0
        order = self.of.argsort(stable=True)
        before = count.cumsum(0) - count
        within = torch.empty_like(self.of)
        within[order] = torch.arange(len(self.of), device=self.of.device) - before[self.of[order]]
        slots = self.of * widest + within
        whole = len(self.of) == self.contexts * widest
        return (None if whole and bool((slots[1:] > slots[:-1]).all()) else slots), widest

    def gathered(self, rows: Tensor) -> Tensor:
        """Turn (R, H, n, d) into (B, H, G·n, d)."""
        slots, widest = self.slots
        if slots is not None:
            empty = rows.new_zeros((self.contexts * widest, *rows.shape[1:]))
            rows = empty.index_copy(0, slots, rows)
        return rows.reshape(self.contexts, widest, *rows.shape[1:]).transpose(1, 2).flatten(2, 3)

    def scattered(self, places: Tensor, new: int) -> Tensor:
        """Turn (B, H, G·n, x) back into (R, H, n, x)."""
        slots, widest = self.slots
        rows = places.reshape(*places.shape[:2], widest, new, places.shape[-1]).transpose(1, 2).flatten(0, 1)
        return rows if slots is None else rows[slots]


@dataclass(frozen=True)
class SharedPrefix:
    """A key-value cache: by layer the contexts, held once, and each row's own keys and values."""

    shared: tuple[KeyValues, ...]  # (B, H, C, d) twice
    shut: Tensor  # (B, 1, 1, C): −inf at padding, else 0
    owners: Owners
    own: tuple[KeyValues, ...]  # (R, H, t, d) twice
    waiting: Tensor | None = None  # (R, 1, D): head slots, to be encoded with the next token

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.owners.of)

    @property
    def places(self) -> int:
        """How many keys are held, over all rows."""
        return self.shut.shape[0] * self.shut.shape[-1] + self.rows * self.own[0][0].shape[2]

    def attends(
        self,
        grown: list[KeyValues],
        *,
        both_ways: bool = False,
        dropout: float = 0.0,
        real: Tensor | None = None,
    ) -> "list[Extending]":
        """Return attention by layer for new places, which attend to the context, their row's own and earlier new ones.

        The rows' own keys and values, the new ones included, are appended to ``grown``. With ``both_ways`` new places
        attend to each other in both directions, as an utterance of a context does; ``real`` (R, n) is then False where
        a new place is padding, which none attends to (None: all are real).
        """
        return [Extending(self, layer, grown, both_ways, dropout, real) for layer in range(len(self.shared))]

    def chosen(self, rows: Tensor) -> "SharedPrefix":
        """Return the cache of some rows; contexts are not copied."""
        own = tuple((keys[rows], values[rows]) for keys, values in self.own)
        waiting = None if self.waiting is None else self.waiting[rows]
        return replace(self, owners=Owners(self.owners.of[rows], self.owners.contexts), own=own, waiting=waiting)


@dataclass(frozen=True)
class Extending:
    """Attention of one layer over a shared prefix and the rows' own places."""

    reading: SharedPrefix
    layer: int
    grown: list[KeyValues]
    both_ways: bool
    dropout: float
    real: Tensor | None = None

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Map queries, keys, values (R, H, n, d) to (R, H, n, d): one softmax over shared and own places together."""
        reading, owners, new = self.reading, self.reading.owners, q.shape[2]
        before = reading.own[self.layer]
        keys, values = torch.cat([before[0], k], 2), torch.cat([before[1], v], 2)
        self.grown.append((keys, values))
        shared_keys, shared_values = reading.shared[self.layer]
        if new == 1 and self._fused_serves(q, shared_keys):
            return _merged(q, (shared_keys, shared_values), (keys, values))
        q = q * q.shape[-1] ** -0.5
        shared = owners.scattered(owners.gathered(q) @ shared_keys.transpose(-1, -2) + reading.shut, new)
        own = q @ keys.transpose(-1, -2)
        if new > 1 and not self.both_ways:
            held = keys.shape[2]
            sees = torch.ones((new, held), dtype=torch.bool, device=q.device).tril(held - new)
            own = own.masked_fill(~sees, float("-inf"))
        if self.real is not None:
            own = own.masked_fill(~self.real[:, None, None], float("-inf"))
        weights = torch.cat([shared, own], -1).softmax(-1)
        weights = torch.nn.functional.dropout(weights, self.dropout, self.dropout > 0)
        context = shared_keys.shape[2]
        from_shared = owners.scattered(owners.gathered(weights[..., :context]) @ shared_values, new)
        return from_shared + weights[..., context:] @ values

    def _fused_serves(self, q: Tensor, shared_keys: Tensor) -> bool:
        return (
            hasattr(torch.ops.aten, FUSED)
            and len(shared_keys) == 1
            and shared_keys.shape[2] > 0
            and q.device.type == "cpu"
            and not self.dropout
            and not torch.is_grad_enabled()
        )


def _merged(q: Tensor, shared: KeyValues, own: KeyValues) -> Tensor:
    """Attend with q (R, H, 1, d) to one context and to a row's own keys; weigh both by their shares of the softmax."""
    together = q[:, :, 0].transpose(0, 1).unsqueeze(0)  # (1, H, R, d): rows as query positions
    fused = getattr(torch.ops.aten, FUSED)  # it also returns the logsumexp of the scores
    of_shared, much = fused(together, *shared)
    of_own, little = fused(q, *own)
    of_shared = of_shared[0].transpose(0, 1).unsqueeze(2)
    share = (much[0].transpose(0, 1).unsqueeze(2) - little).sigmoid().unsqueeze(-1)
    return torch.lerp(of_own, of_shared, share)
