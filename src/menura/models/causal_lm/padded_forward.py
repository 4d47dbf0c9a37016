"""The layers of a known network on padded chunks: plain functions of tensors, twice differentiable.

Shape letters: W rows, L tokens of the longest, T tokens of all rows concatenated, N labels, D width, H heads,
K key heads, E width of a head.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from menura.batches.padded import PaddedChunk
from menura.models.causal_lm.functional_layers import AttentionInputs, FunctionalLayer, FunctionalNetwork


def padded_forward(form: FunctionalNetwork, vectors: Tensor, part: PaddedChunk) -> Tensor:
    """Return (N, D) the last hidden states at labels, from token embeddings (T, D)."""
    return form.final_norm(_through(form, form.layers(), form.embed(vectors, part.positions), part))


def padded_forward_above(form: FunctionalNetwork, first: int, part: PaddedChunk) -> Tensor:
    """Return the same from the input of layer ``first``, which the chunk holds."""
    return form.final_norm(_through(form, form.layers()[first:], part.packed, part))


def _through(form: FunctionalNetwork, layers: Sequence[FunctionalLayer], hidden: Tensor, part: PaddedChunk) -> Tensor:
    rope = form.rope(hidden, part.positions)
    for layer in layers:
        asked = layer.qkv(hidden, rope)
        inputs, heads = asked.inputs, _attended(asked, part, layer.window)
        if layer is layers[-1]:  # the other positions are not wanted
            hidden, inputs, heads = (states.index_select(0, part.predict_index) for states in (hidden, inputs, heads))
        hidden = layer.finish(hidden, inputs, heads)
    return hidden


def _attended(asked: AttentionInputs, part: PaddedChunk, window: int | None) -> Tensor:
    """Return attention outputs (T, H E); each token attends to itself and to earlier tokens of its row, or window.

    Written out, as the fused kernels have no second derivative. Heads that share keys attend one after the other.
    """
    rows, length = part.pad_index.shape
    (_, heads, width), key_heads = asked.queries.shape, asked.keys.shape[1]
    groups = rows * key_heads
    queries, keys, values = (_padded(states.flatten(1), part) for states in asked[1:4])
    queries = (queries * asked.scale).view(rows, length, key_heads, -1, width).permute(0, 2, 3, 1, 4)
    keys, values = (states.view(rows, length, key_heads, width).transpose(1, 2) for states in (keys, values))
    keys, values = (states.reshape(groups, length, width) for states in (keys, values))
    scores = torch.bmm(queries.reshape(groups, -1, width), keys.transpose(1, 2)).view(-1, length, length)
    here = torch.arange(length, device=scores.device)
    hidden = here > here[:, None]
    if window is not None:
        hidden = hidden | (here <= here[:, None] - window)
    weights = scores.masked_fill(hidden, float("-inf")).softmax(-1)
    outputs = torch.bmm(weights.view(groups, -1, length), values).view(rows, heads, length, width)
    outputs = outputs.transpose(1, 2).reshape(rows * length, heads * width)
    packed: Tensor = _Unpad.apply(outputs, *_places(part))  # type: ignore[no-untyped-call]  # torch's own
    return packed


def _padded(packed: Tensor, part: PaddedChunk) -> Tensor:
    made: Tensor = _Pad.apply(packed, *_places(part))  # type: ignore[no-untyped-call]  # torch's own
    return made


def _places(part: PaddedChunk) -> tuple[Tensor, Tensor, Tensor]:
    return part.pad_index.flatten(), part.attention_mask.flatten(), part.unpad_index


class _Pad(torch.autograd.Function):
    """Pad packed tokens (T, D) to rows (W L, D), zero at padding; the backward pass is ``_Unpad``.

    By autograd both backward passes would be scatter-adds, which are slow and not deterministic across threads.
    """

    @staticmethod
    def forward(ctx: Any, packed: Tensor, pad_index: Tensor, attention_mask: Tensor, unpad_index: Tensor) -> Tensor:
        ctx.save_for_backward(pad_index, attention_mask, unpad_index)
        return packed.index_select(0, pad_index) * attention_mask[:, None]

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        return _Unpad.apply(slope, *ctx.saved_tensors), None, None, None  # type: ignore[no-untyped-call]  # torch's own


class _Unpad(torch.autograd.Function):
    """Pack padded rows (W L, D) to tokens (T, D); the backward pass is ``_Pad``."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, pad_index: Tensor, attention_mask: Tensor, unpad_index: Tensor) -> Tensor:
        ctx.save_for_backward(pad_index, attention_mask, unpad_index)
        return states.index_select(0, unpad_index)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        return _Pad.apply(slope, *ctx.saved_tensors), None, None, None  # type: ignore[no-untyped-call]  # torch's own
