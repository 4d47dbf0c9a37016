"""The attention mask of a unified transformer: one rule, in the forms that attention kernels want (PLATO, A5).

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
    """The segment, utterance (counted from the first) and position of each place of a row."""

    segment: Tensor  # (B, N) int64, PADDING where not real
    utterance: Tensor  # (B, N)

    @classmethod
    def of(cls, context: Tensor, utterances: Tensor, reply: Tensor, *, head: bool) -> "SegmentIds":
        """Return the ids of a head slot, if any, context (B, C) and reply (B, T); masks are True where real."""
        rows = len(context)
        first = context.new_full((rows, int(head)), HEAD, dtype=torch.long)
        parts = [first, _segment(context, CONTEXT), _segment(reply, REPLY)]
        nothing = torch.zeros_like(first), torch.zeros_like(parts[2])
        return cls(torch.cat(parts, 1), torch.cat([nothing[0], utterances, nothing[1]], 1))


@dataclass(frozen=True)
class AttentionMask:
    """The rule. Recognition is bidirectional; in generation only the reply attends to the reply, causally.

    ``latent`` response_only hides the head slot from the context, so that the context does not depend on it.
    ``context`` bi is bidirectional; with block_bi an utterance attends to itself and to earlier ones, with uni a token
    does.
    """

    recognition: bool = False
    context: Attention = "bi"
    latent: Visibility = "prefix"

    def sees(self, query: tuple[Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Tell whether a query attends to a key, each given as (segment, utterance, position); shapes broadcast."""
        (from_segment, from_utterance, from_place), (to_segment, to_utterance, to_place) = query, key
        real = (from_segment != PADDING) & (to_segment != PADDING)
        earlier = to_place <= from_place
        if self.context == "uni":
            return real & earlier
        if self.recognition:
            return real
        within = (from_segment == CONTEXT) & (to_segment == CONTEXT)
        blocked = within & (to_utterance > from_utterance) if self.context == "block_bi" else within & False
        hidden = (from_segment == CONTEXT) & (to_segment == HEAD) if self.latent == "response_only" else within & False
        said = (from_segment == REPLY) & (to_segment == REPLY) & earlier
        return real & (((to_segment != REPLY) & ~blocked & ~hidden) | said)

    def dense(self, places: SegmentIds) -> Tensor:
        """Return (B, N, N), True where the row's place attends to the column's."""
        place = torch.arange(places.segment.shape[1], device=places.segment.device)[None]
        parts = (places.segment, places.utterance, place)
        return self.sees(
            (parts[0][:, :, None], parts[1][:, :, None], parts[2][:, :, None]),
            (parts[0][:, None], parts[1][:, None], parts[2][:, None]),
        )

    def fused(self, places: SegmentIds) -> Tensor:
        """Return (B, 1, N, N) for ``scaled_dot_product_attention``; padding attends to itself: an empty row is NaN."""
        dense = self.dense(places)
        return (dense | torch.eye(dense.shape[-1], dtype=torch.bool, device=dense.device)).unsqueeze(1)

    def block_mask(self, places: SegmentIds) -> Any:
        """Return the rule as FlexAttention's block mask, which is never materialised (torch 2.5 and later)."""
        from torch.nn.attention.flex_attention import create_block_mask  # noqa: PLC0415  # slow to import

        def rule(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            del h
            own = (places.segment[b, q], places.utterance[b, q], q)
            return self.sees(own, (places.segment[b, k], places.utterance[b, k], k)) | (q == k)

        rows, length = places.segment.shape
        return create_block_mask(rule, rows, None, length, length, device=places.segment.device.type)


Attend = Callable[[Tensor, Tensor, Tensor], Tensor]  # queries, keys, values (B, H, N, d) each -> (B, H, N, d)


def _segment(mask: Tensor, kind: int) -> Tensor:
    return torch.where(mask, kind, PADDING)
