"""Attention of packed rows, and of a few more tokens after a cache; windows limit how far back a token attends.

Shape letters: T tokens of all rows concatenated, B rows of a batch, L tokens of each, D width, H heads, K key heads,
E width of a head.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from menura.batches.varlen import SequenceLayout
from menura.models.causal_lm.functional_layers import AttentionInputs, FunctionalLayer

# Where attention of one query per row is cheaper without matrix products; measured on a CPU, at batch 1 to 32.
MANY_NUMBERS = 1 << 18  # keys of a layer, at least: they come from memory, not from a cache
SHORT_PRODUCT = 1 << 13  # keys of a head, at most
LEAST_WIDTH = 32


class Appends(Protocol):
    """One layer's keys and values so far."""

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append (B, L, K, E) and return all read so far, (B, tokens, K, E)."""


Masks = Sequence[Tensor | None]  # (L, L) of each run of rows, True where a token attends to another; None if causal


def masks_by_window(rows: SequenceLayout, layers: Iterable[FunctionalLayer]) -> Mapping[int | None, Masks]:
    """Return the masks of packed rows for each window that some layer has."""
    return {window: _masks(rows, window) for window in {layer.window for layer in layers}}


def _masks(rows: SequenceLayout, window: int | None) -> Masks:
    if window is None:
        return rows.sees
    made, start = [], 0
    for (count, length), sees in zip(rows.runs, rows.sees, strict=True):
        made.append(sees if length <= window else _within(rows.positions[start : start + length], sees, window))
        start += count * length
    return made


def _within(positions: Tensor, sees: Tensor | None, window: int) -> Tensor:
    """Return the mask (L, L) of a row with these positions; a branch counts from where it leaves its trunk."""
    if sees is None:
        sees = torch.ones((len(positions), len(positions)), dtype=torch.bool, device=positions.device).tril()
    return sees & (positions > positions[:, None] - window)


def attended(rows: SequenceLayout, inputs: AttentionInputs, masks: Masks) -> Tensor:
    """Return attention outputs (T, H E); each token attends to itself and, by the masks, to earlier ones of its row."""
    if len(rows.runs) == 1:
        return _attended_run(inputs, rows.runs[0], masks[0])
    sizes = [count * length for count, length in rows.runs]
    hidden_in, queries, keys, values = (torch.split(part, sizes) for part in inputs[:4])
    pieces = zip(hidden_in, queries, keys, values, [inputs.scale] * len(sizes), strict=True)
    runs = zip(pieces, rows.runs, masks, strict=True)
    return torch.cat([_attended_run(AttentionInputs(*piece), run, sees) for piece, run, sees in runs])


def _attended_run(inputs: AttentionInputs, run: tuple[int, int], sees: Tensor | None) -> Tensor:
    """Attend in rows of one length, ``run`` = (rows, length): causally, or by the mask ``sees``."""
    queries, keys, values = (part.view(*run, *part.shape[1:]).transpose(1, 2) for part in inputs[1:4])
    shared = queries.shape[1] != keys.shape[1]
    attended_heads = functional.scaled_dot_product_attention(
        queries, keys, values, attn_mask=sees, is_causal=sees is None, scale=inputs.scale, enable_gqa=shared
    )
    return attended_heads.transpose(1, 2).flatten(2).flatten(0, 1)


def cached_positions_and_masks(
    used: int, vectors: Tensor, seen: Tensor | None, windows: Set[int | None]
) -> tuple[Tensor, Mapping[int | None, Tensor | None]]:
    """Return the positions of new tokens, (B * L,), or (1,) where all B have the same, and each window's mask.

    A mask is 0 where a query attends to a key, −inf elsewhere; None where each attends to all ``used`` and new tokens.
    """
    batch, length, _ = vectors.shape
    total = used + length
    if seen is None and length == 1 and all(window is None or total <= window for window in windows):
        return torch.full((1,), used, device=vectors.device), dict.fromkeys(windows)
    columns = torch.arange(total, device=vectors.device)
    sees = columns <= columns[used:, None]  # (L, tokens)
    if seen is None:
        places, itself = columns[None], None
        positions = columns[used:] if length == 1 else columns[used:].repeat(batch)
    else:
        places = (seen.cumsum(1) - 1).clamp(min=0)
        positions = places[:, used:].reshape(-1)
        # A padding query attends to itself: attention over no key at all would be NaN.
        itself = columns == columns[used:, None]
        sees = sees & seen[:, None, None] | itself  # (B, 1, L, tokens)
    masks: dict[int | None, Tensor | None] = {}
    for window in windows:
        near = sees
        if window is not None and total > window:
            # Counted in positions, not in columns: padding may stand between a row's tokens.
            near = sees & (places[:, None, None] > places[:, None, used:, None] - window)
            near = near if itself is None else near | itself
        elif seen is None and length == 1:
            masks[window] = None
            continue
        masks[window] = torch.zeros_like(near, dtype=vectors.dtype).masked_fill(~near, float("-inf"))
    return positions, masks


def attended_after(held: Appends, inputs: AttentionInputs, length: int, mask: Tensor | None) -> Tensor:
    """Return attention outputs (B * L, H E); each new token attends to the cache and to new tokens up to itself."""
    batch, key_heads, width = len(inputs.queries) // length, *inputs.keys.shape[1:]
    shape = (batch, length, key_heads, width)
    keys, values = held.append(inputs.keys.view(shape), inputs.values.view(shape))
    if length == 1 and inputs.queries.shape[1] == key_heads and _cheaper_by_hand(keys):
        return _attended_by_hand(inputs, keys, values, mask)
    if length == 1:  # grouped-query attention: the heads that share a key head become one product, no key is repeated
        queries, shared = inputs.queries.view(batch, key_heads, -1, width), False
    else:
        queries = inputs.queries.view(batch, length, *inputs.queries.shape[1:]).transpose(1, 2)
        shared = queries.shape[1] != key_heads
    attended_heads = functional.scaled_dot_product_attention(
        queries, keys.transpose(1, 2), values.transpose(1, 2), attn_mask=mask, scale=inputs.scale, enable_gqa=shared
    )
    return (attended_heads if length == 1 else attended_heads.transpose(1, 2)).reshape(batch * length, -1)


def _cheaper_by_hand(keys: Tensor) -> bool:
    """Tell whether attention over keys (B, tokens, H, E) would be many short matrix products.

    A CPU then spends more time on jumping through memory from one product to the next than on multiplying.
    """
    _, tokens, _, width = keys.shape
    many, short = keys.numel() >= MANY_NUMBERS, width >= LEAST_WIDTH and tokens * width <= SHORT_PRODUCT
    return many and short and keys.device.type == "cpu" and keys.dtype in (torch.float32, torch.float64)


def _attended_by_hand(inputs: AttentionInputs, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Return attention outputs (B, H E) of one query per row, elementwise in memory order."""
    scores = (keys * (inputs.queries * inputs.scale)[:, None]).sum(-1, keepdim=True)  # (B, tokens, H, 1)
    if mask is not None:
        scores = scores + mask.transpose(1, 3)
    return (scores.softmax(1) * values).sum(1).flatten(1)
