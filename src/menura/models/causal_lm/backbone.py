"""Token embeddings become hidden states: of whole sequences, or of a few more tokens after a key-value cache.

``FastBackbone`` computes known networks (GPT-2, Llama) with plain functions on packed sequences, without padding
outside of decoding; ``HFBackbone`` calls any other network's own forward pass. Both give the same numbers.

Shape letters: W rows, T tokens of all rows concatenated, N wanted positions, B rows of a batch, L tokens of each,
D width, H heads, K key heads, E width of a head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from menura.batches.varlen import SequenceLayout
from menura.models.causal_lm.functional_layers import (
    AttentionInputs,
    FunctionalLayer,
    FunctionalNetwork,
    functional_network,
)
from menura.models.causal_lm.hf_modules import passing, standing_in
from menura.models.causal_lm.kv_cache import RoomyLayer, empty_cache, prefilled_layer, selected

# Where attention of one query per row is cheaper without matrix products; measured on a CPU, at batch 1 to 32.
MANY_NUMBERS = 1 << 18  # keys of a layer, at least: they come from memory, not from a cache
SHORT_PRODUCT = 1 << 13  # keys of a head, at most
LEAST_WIDTH = 32


class Backbone(Protocol):
    """The layers of a network. The first ``first`` layers are those below the lowest adapter.

    ``branches`` tells whether rows may be prefix trees.
    """

    branches: bool

    def rows(self, vectors: Tensor, rows: SequenceLayout, at: Tensor) -> Tensor:
        """Return (N, D) the last hidden states at positions ``at``, from embeddings (T, D)."""

    def forward_lower(self, vectors: Tensor, rows: SequenceLayout) -> Tensor:
        """Return (T, D), the input of layer ``first``, from embeddings (T, D)."""

    def forward_upper(self, lower: Tensor, rows: SequenceLayout, at: Tensor) -> Tensor:
        """Return (N, D) the last hidden states at positions ``at``, from the input (T, D) of layer ``first``."""

    def prefill(self, vectors: Tensor, rows: SequenceLayout) -> Any:
        """Return the cache of rows, padded on the left."""

    def prefill_last(self, vectors: Tensor, rows: SequenceLayout) -> tuple[Tensor, Any]:
        """Return (B, D) the last hidden state of each row, none of them empty, and what ``prefill`` returns."""

    def extend(self, cache: Any, vectors: Tensor, seen: Tensor | None) -> Tensor:
        """Return hidden states (B, L, D) of further tokens and append them to ``cache``.

        ``seen`` (B, cached and new tokens) is True where a token is real; None where all are.
        """

    def reorder(self, cache: Any, rows: Tensor) -> Any:
        """Return a new cache of these rows."""


def backbone_of(network: PreTrainedModel, blocks: Sequence[nn.Module], first: int) -> Backbone:
    """Return the fast backbone if the network's layers are known, else its own forward pass."""
    form = functional_network(network.base_model)
    return HFBackbone(network, blocks, first) if form is None else FastBackbone(form, first)


@dataclass(frozen=True)
class FastCache:
    """Each layer's keys and values, and the layers' functions with the weights at the time of the prefill."""

    layers: tuple[RoomyLayer, ...]
    functional: Sequence[FunctionalLayer]


class FastBackbone:
    """The layers of a known network as plain functions."""

    branches = True

    def __init__(self, form: FunctionalNetwork, first: int) -> None:
        self._form = form
        self._first = first

    def rows(self, vectors: Tensor, rows: SequenceLayout, at: Tensor) -> Tensor:
        """Run all layers."""
        hidden = self._form.embed(vectors, rows.positions)
        return self._form.final_norm(self._through(self._form.layers(), hidden, rows, at))

    def forward_lower(self, vectors: Tensor, rows: SequenceLayout) -> Tensor:
        """Run the lower layers."""
        hidden = self._form.embed(vectors, rows.positions)
        return self._through(self._form.layers()[: self._first], hidden, rows, None)

    def forward_upper(self, lower: Tensor, rows: SequenceLayout, at: Tensor) -> Tensor:
        """Run the upper layers."""
        return self._form.final_norm(self._through(self._form.layers()[self._first :], lower, rows, at))

    def _through(
        self, layers: Sequence[FunctionalLayer], hidden: Tensor, rows: SequenceLayout, at: Tensor | None
    ) -> Tensor:
        rope = self._form.rope(hidden, rows.positions)
        for layer in layers:
            inputs = layer.qkv(hidden, rope)
            hidden_in, attended_heads = inputs.inputs, attended(rows, inputs)
            if at is not None and layer is layers[-1]:  # the other positions are not wanted
                hidden, hidden_in, attended_heads = (
                    part.index_select(0, at) for part in (hidden, hidden_in, attended_heads)
                )
            hidden = layer.finish(hidden, hidden_in, attended_heads)
        return hidden

    def prefill(self, vectors: Tensor, rows: SequenceLayout) -> FastCache:
        """Run all layers, the last one only up to its keys and values."""
        if not len(vectors):
            layers = self._form.layers()
            return FastCache(tuple(RoomyLayer() for _ in layers), layers)
        return self._prefill_layers(vectors, rows, None)[1]

    def prefill_last(self, vectors: Tensor, rows: SequenceLayout) -> tuple[Tensor, FastCache]:
        """Run all layers, the output of the last one only for the last token of each row."""
        ends = rows.starts + torch.tensor(rows.lengths, device=rows.device) - 1
        hidden, cache = self._prefill_layers(vectors, rows, ends)
        return self._form.final_norm(hidden), cache

    def _prefill_layers(self, vectors: Tensor, rows: SequenceLayout, at: Tensor | None) -> tuple[Tensor, FastCache]:
        layers, made = self._form.layers(), []
        hidden = self._form.embed(vectors, rows.positions)
        rope = self._form.rope(hidden, rows.positions)
        for layer in layers:
            inputs = layer.qkv(hidden, rope)
            made.append(prefilled_layer(inputs.keys, inputs.values, rows))
            if layer is not layers[-1]:
                hidden = layer.finish(hidden, inputs.inputs, attended(rows, inputs))
            elif at is not None:
                parts = hidden, inputs.inputs, attended(rows, inputs)
                hidden = layer.finish(*(part.index_select(0, at) for part in parts))
        return hidden, FastCache(tuple(made), layers)

    def extend(self, cache: FastCache, vectors: Tensor, seen: Tensor | None) -> Tensor:
        """Run all layers on B * L concatenated tokens; only attention treats rows separately."""
        if torch.is_grad_enabled():
            return self._extend(cache, vectors, seen)
        # Of the tensors made in here only the cache's are kept, until decoding ends: none can reach training.
        with torch.inference_mode():
            return self._extend(cache, vectors, seen)

    def _extend(self, cache: FastCache, vectors: Tensor, seen: Tensor | None) -> Tensor:
        batch, length, width = vectors.shape
        positions, mask = _positions_and_mask(cache, vectors, seen)
        hidden = self._form.embed(vectors.reshape(-1, width), positions)
        rope = self._form.rope(hidden, positions)
        for layer, held in zip(cache.functional, cache.layers, strict=True):
            inputs = layer.qkv(hidden, rope)
            hidden = layer.finish(hidden, inputs.inputs, _attended_after(held, inputs, length, mask))
        return self._form.final_norm(hidden).view(batch, length, width)

    def reorder(self, cache: FastCache, rows: Tensor) -> FastCache:
        """Copy the rows."""
        return FastCache(tuple(held.selected(rows) for held in cache.layers), cache.functional)


def attended(rows: SequenceLayout, inputs: AttentionInputs) -> Tensor:
    """Return attention outputs (T, H E); each token attends to itself and to earlier tokens of its row."""
    if len(rows.runs) == 1:
        return _attended_run(inputs, rows.runs[0], rows.sees[0])
    sizes = [count * length for count, length in rows.runs]
    hidden_in, queries, keys, values = (torch.split(part, sizes) for part in inputs[:4])
    pieces = zip(hidden_in, queries, keys, values, [inputs.scale] * len(sizes), strict=True)
    runs = zip(pieces, rows.runs, rows.sees, strict=True)
    return torch.cat([_attended_run(AttentionInputs(*piece), run, sees) for piece, run, sees in runs])


def _attended_run(inputs: AttentionInputs, run: tuple[int, int], sees: Tensor | None) -> Tensor:
    """Attend in rows of one length, ``run`` = (rows, length): causally, or by the mask ``sees``."""
    queries, keys, values = (part.view(*run, *part.shape[1:]).transpose(1, 2) for part in inputs[1:4])
    shared = queries.shape[1] != keys.shape[1]
    attended_heads = functional.scaled_dot_product_attention(
        queries, keys, values, attn_mask=sees, is_causal=sees is None, scale=inputs.scale, enable_gqa=shared
    )
    return attended_heads.transpose(1, 2).flatten(2).flatten(0, 1)


def _positions_and_mask(cache: FastCache, vectors: Tensor, seen: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return the positions of new tokens, (B * L,), or (1,) where all B have the same, and the attention mask.

    The mask is 0 where a query attends to a key, −inf elsewhere; None where each attends to all.
    """
    batch, length, _ = vectors.shape
    read = cache.layers[0].used
    if seen is None and length == 1:
        return torch.full((1,), read, device=vectors.device), None
    here = torch.arange(read, read + length, device=vectors.device)
    sees = torch.arange(read + length, device=vectors.device) <= here[:, None]  # (L, tokens)
    if seen is None:
        positions = here.repeat(batch)
    else:
        positions = (seen.cumsum(1) - 1).clamp(min=0)[:, read:].reshape(-1)
        # A padding query attends to itself: attention over no key at all would be NaN.
        itself = torch.arange(read + length, device=vectors.device) == here[:, None]
        sees = sees & seen[:, None, None] | itself  # (B, 1, L, tokens)
    return positions, torch.zeros_like(sees, dtype=vectors.dtype).masked_fill(~sees, float("-inf"))


def _attended_after(held: RoomyLayer, inputs: AttentionInputs, length: int, mask: Tensor | None) -> Tensor:
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


class HFBackbone:
    """Any network of transformers, through its own forward pass on padded rows."""

    branches = False  # the network makes its own masks

    def __init__(self, network: PreTrainedModel, blocks: Sequence[nn.Module], first: int) -> None:
        self._network = network
        self._blocks = blocks
        self._first = first

    def rows(self, vectors: Tensor, rows: SequenceLayout, at: Tensor) -> Tensor:
        """Run it on rows padded on the right, so that causal attention never sees the padding."""
        return self._run(_padded(vectors, rows))[rows.row[at], rows.positions[at]]

    def forward_lower(self, vectors: Tensor, rows: SequenceLayout) -> Tensor:
        """Run it with the upper layers replaced by the identity."""
        entered: list[Tensor] = []

        def noting(hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            entered.append(hidden)
            return hidden

        forward_upper = self._blocks[self._first :]
        with standing_in(forward_upper, [noting] + [passing] * (len(forward_upper) - 1)):
            self._run(_padded(vectors, rows))
        return entered[0][rows.row, rows.positions]

    def forward_upper(self, lower: Tensor, rows: SequenceLayout, at: Tensor) -> Tensor:
        """Run it with the lower layers replaced by their cached output."""
        functional_network = _padded(lower, rows)
        remembered = [passing] * (self._first - 1) + [lambda hidden, *args, **kwargs: functional_network]
        with standing_in(self._blocks[: self._first], remembered):
            return self._run(functional_network)[rows.row[at], rows.positions[at]]

    def prefill(self, vectors: Tensor, rows: SequenceLayout) -> Cache:
        """Run it on rows padded on the left."""
        return self.prefill_last(vectors, rows)[1] if len(vectors) else empty_cache(len(self._blocks))

    def prefill_last(self, vectors: Tensor, rows: SequenceLayout) -> tuple[Tensor, Cache]:
        """Run it on rows padded on the left, so that all end in the last column."""
        cache, filled = empty_cache(len(self._blocks)), _padded(vectors, rows, left=True)
        lengths = torch.tensor(rows.lengths, device=rows.device)
        seen = torch.arange(filled.shape[1], device=rows.device) >= filled.shape[1] - lengths[:, None]
        return self.extend(cache, filled, None if bool(seen.all()) else seen)[:, -1], cache

    def extend(self, cache: Cache, vectors: Tensor, seen: Tensor | None) -> Tensor:
        """Run it with its cache."""
        batch, length, _ = vectors.shape
        read = cache.layers[0].used
        if seen is None:
            positions = torch.arange(read, read + length, device=vectors.device).expand(batch, -1)
        else:
            positions = (seen.cumsum(1) - 1).clamp(min=0)[:, read:]
        output = self._network.base_model(
            inputs_embeds=vectors,
            attention_mask=None if seen is None else seen.long(),  # without a mask attention takes its fast path
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def reorder(self, cache: Cache, rows: Tensor) -> Cache:
        """Copy the rows."""
        return selected(cache, rows)

    def _run(self, vectors: Tensor) -> Tensor:
        hidden: Tensor = self._network.base_model(inputs_embeds=vectors, use_cache=False).last_hidden_state
        return hidden


def _padded(packed: Tensor, rows: SequenceLayout, *, left: bool = False) -> Tensor:
    """Return (W, L, D) from (T, D), padded with zeros."""
    return nn.utils.rnn.pad_sequence(
        list(torch.split(packed, list(rows.lengths))), batch_first=True, padding_side="left" if left else "right"
    )
