"""Who sees whom in a unified transformer: one predicate, compiled to what attention wants (PLATO, A5).

Shape letters: B rows, N places of a row (head slot, context, reply), H heads, d of each.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

HEAD, CONTEXT, REPLY, PADDING = 0, 1, 2, -1  # segments

Attention = Literal["bi", "block_bi", "uni"]
Visibility = Literal["prefix", "response_only"]


@dataclass(frozen=True)
class SegmentIds:
    """Of each place of a row: its segment, its utterance (blocks count from the first), its place."""

    segment: Tensor  # (B, N) int64, PADDING where there is nothing
    block: Tensor  # (B, N)

    @classmethod
    def of(cls, context: Tensor, blocks: Tensor, reply: Tensor, *, head: bool) -> "SegmentIds":
        """Lay out a head slot, if there is one, and masks of context (B, C) and reply (B, T), True where real."""
        rows = len(context)
        first = context.new_full((rows, int(head)), HEAD, dtype=torch.long)
        parts = [first, _segment(context, CONTEXT), _segment(reply, REPLY)]
        nothing = torch.zeros_like(first), torch.zeros_like(parts[2])
        return cls(torch.cat(parts, 1), torch.cat([nothing[0], blocks, nothing[1]], 1))


@dataclass(frozen=True)
class AttentionMask:
    """The rule. In recognition all see all; in generation nothing but the reply sees the reply, from left to right.

    ``latent`` response_only hides the head slot from the context, so that the context does not depend on it.
    ``context`` block_bi lets an utterance see itself and earlier ones, uni each token itself and earlier ones.
    """

    recognition: bool = False
    context: Attention = "bi"
    latent: Visibility = "prefix"

    def sees(self, query: tuple[Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Tell whether a query sees a key, each given as (segment, block, place); anything that broadcasts."""
        (from_segment, from_block, from_place), (to_segment, to_block, to_place) = query, key
        real = (from_segment != PADDING) & (to_segment != PADDING)
        earlier = to_place <= from_place
        if self.context == "uni":
            return real & earlier
        if self.recognition:
            return real
        within = (from_segment == CONTEXT) & (to_segment == CONTEXT)
        blocked = within & (to_block > from_block) if self.context == "block_bi" else within & False
        hidden = (from_segment == CONTEXT) & (to_segment == HEAD) if self.latent == "response_only" else within & False
        said = (from_segment == REPLY) & (to_segment == REPLY) & earlier
        return real & (((to_segment != REPLY) & ~blocked & ~hidden) | said)

    def dense(self, places: SegmentIds) -> Tensor:
        """Return (B, N, N), True where the row's place sees the column's."""
        place = torch.arange(places.segment.shape[1], device=places.segment.device)[None]
        parts = (places.segment, places.block, place)
        return self.sees(
            (parts[0][:, :, None], parts[1][:, :, None], parts[2][:, :, None]),
            (parts[0][:, None], parts[1][:, None], parts[2][:, None]),
        )

    def fused(self, places: SegmentIds) -> Tensor:
        """Return (B, 1, N, N) for ``scaled_dot_product_attention``: filling sees itself, as a row of nothing is NaN."""
        dense = self.dense(places)
        return (dense | torch.eye(dense.shape[-1], dtype=torch.bool, device=dense.device)).unsqueeze(1)

    def block_mask(self, places: SegmentIds) -> Any:
        """Return the rule as FlexAttention's block mask, which is never written out (torch 2.5 and later)."""
        from torch.nn.attention.flex_attention import create_block_mask  # noqa: PLC0415  # slow to import

        def rule(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            del h
            own = (places.segment[b, q], places.block[b, q], q)
            return self.sees(own, (places.segment[b, k], places.block[b, k], k)) | (q == k)

        rows, length = places.segment.shape
        return create_block_mask(rule, rows, None, length, length, device=places.segment.device.type)


Attend = Callable[[Tensor, Tensor, Tensor], Tensor]  # queries, keys, values (B, H, N, d) each -> (B, H, N, d)


def _segment(mask: Tensor, kind: int) -> Tensor:
    return torch.where(mask, kind, PADDING)
