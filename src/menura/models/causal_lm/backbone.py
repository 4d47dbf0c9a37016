"""How the layers of a network are read: rows side by side, or a few more tokens after what was read before.

``LeanReading`` computes known networks by plain functions, without a single padded token outside of decoding;
``NetworkReading`` asks any other network's own forward pass. Both give the same numbers.

Shape letters: W rows, T tokens of all rows side by side, N wanted places, B rows of a batch, L tokens of each, D width,
H heads, K key heads, E width of a head.
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

# Where attention of one token a row is cheaper without matrix products; measured on a processor, at batch 1 to 32.
MANY_NUMBERS = 1 << 18  # keys of a layer, at least: they come from memory, not from a cache
SHORT_PRODUCT = 1 << 13  # keys of a head, at most
LEAST_WIDTH = 32


class Backbone(Protocol):
    """Token embeddings become hidden states. The first ``first`` layers are those below the lowest adapter.

    ``branches`` tells whether rows may have some.
    """

    branches: bool

    def rows(self, vectors: Tensor, rows: SequenceLayout, at: Tensor) -> Tensor:
        """Return (N, D) the last hidden states at places of the line, from embeddings (T, D)."""

    def forward_lower(self, vectors: Tensor, rows: SequenceLayout) -> Tensor:
        """Return (T, D), the input of layer ``first``, from embeddings (T, D)."""

    def forward_upper(self, lower: Tensor, rows: SequenceLayout, at: Tensor) -> Tensor:
        """Return (N, D) the last hidden states at places of the line, from the input (T, D) of layer ``first``."""

    def prefill(self, vectors: Tensor, rows: SequenceLayout) -> Any:
        """Return the keys and values of rows, filled up on the left."""

    def prefill_last(self, vectors: Tensor, rows: SequenceLayout) -> tuple[Tensor, Any]:
        """Return (B, D) the last hidden state of each row, none of them empty, and what ``begin`` returns."""

    def extend(self, cache: Any, vectors: Tensor, seen: Tensor | None) -> Tensor:
        """Return (B, L, D) for tokens that follow; ``cache`` goes on to hold them.

        ``seen`` (B, tokens read and to read) is True where a token is real; None where all are.
        """

    def reorder(self, cache: Any, rows: Tensor) -> Any:
        """Return a cache of its own of these rows."""


def backbone_of(network: PreTrainedModel, blocks: Sequence[nn.Module], first: int) -> Backbone:
    """Choose by the network's type, once."""
    form = functional_network(network.base_model)
    return HFBackbone(network, blocks, first) if form is None else FastBackbone(form, first)


@dataclass(frozen=True)
class FastCache:
    """What each layer has read, and the functions of the layers with the weights of when it began."""

    layers: tuple[RoomyLayer, ...]
    functional: Sequence[FunctionalLayer]


class FastBackbone:
    """Known layers, one after the other."""

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
            if at is not None and layer is layers[-1]:  # nobody asks for the other places any more
                hidden, hidden_in, attended_heads = (
                    part.index_select(0, at) for part in (hidden, hidden_in, attended_heads)
                )
            hidden = layer.finish(hidden, hidden_in, attended_heads)
        return hidden

    def prefill(self, vectors: Tensor, rows: SequenceLayout) -> FastCache:
        """Run all layers, of the last one only as far as its keys and values."""
        if not len(vectors):
            layers = self._form.layers()
            return FastCache(tuple(RoomyLayer() for _ in layers), layers)
        return self._prefill_layers(vectors, rows, None)[1]

    def prefill_last(self, vectors: Tensor, rows: SequenceLayout) -> tuple[Tensor, FastCache]:
        """Run all layers, the end of the last one only for the last token of each row."""
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
        """Run all layers on B * L tokens side by side; only attention tells the rows apart."""
        if torch.is_grad_enabled():
            return self._extend(cache, vectors, seen)
        # No tensor made in here is kept but the cache's own, which go when decoding ends: none can reach training.
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
    """Return (T, H E): each token has seen itself and what stands before it in its row."""
    if len(rows.runs) == 1:
        return _attended_run(inputs, rows.runs[0], rows.sees[0])
    sizes = [count * length for count, length in rows.runs]
    hidden_in, queries, keys, values = (torch.split(part, sizes) for part in inputs[:4])
    pieces = zip(hidden_in, queries, keys, values, [inputs.scale] * len(sizes), strict=True)
    runs = zip(pieces, rows.runs, rows.sees, strict=True)
    return torch.cat([_attended_run(AttentionInputs(*piece), run, sees) for piece, run, sees in runs])


def _attended_run(inputs: AttentionInputs, run: tuple[int, int], sees: Tensor | None) -> Tensor:
    """Let a rectangle of rows, (rows, length), attend: to what stands before, or where ``sees`` says so."""
    queries, keys, values = (part.view(*run, *part.shape[1:]).transpose(1, 2) for part in inputs[1:4])
    shared = queries.shape[1] != keys.shape[1]
    attended_heads = functional.scaled_dot_product_attention(
        queries, keys, values, attn_mask=sees, is_causal=sees is None, scale=inputs.scale, enable_gqa=shared
    )
    return attended_heads.transpose(1, 2).flatten(2).flatten(0, 1)


def _positions_and_mask(cache: FastCache, vectors: Tensor, seen: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return the positions of tokens that follow, (B * L,), or (1,) where all B are at one, and the attention's mask.

    The mask is 0 where a query sees a key, −inf where not; None where each sees all.
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
        # A filled-up query sees itself: of nothing at all attention would make not-a-number.
        itself = torch.arange(read + length, device=vectors.device) == here[:, None]
        sees = sees & seen[:, None, None] | itself  # (B, 1, L, tokens)
    return positions, torch.zeros_like(sees, dtype=vectors.dtype).masked_fill(~sees, float("-inf"))


def _attended_after(held: RoomyLayer, inputs: AttentionInputs, length: int, mask: Tensor | None) -> Tensor:
    """Return (B * L, H E): each token has seen what was read and what follows up to itself."""
    batch, key_heads, width = len(inputs.queries) // length, *inputs.keys.shape[1:]
    shape = (batch, length, key_heads, width)
    keys, values = held.append(inputs.keys.view(shape), inputs.values.view(shape))
    if length == 1 and inputs.queries.shape[1] == key_heads and _cheaper_by_hand(keys):
        return _attended_by_hand(inputs, keys, values, mask)
    if length == 1:  # the heads that share keys ask side by side, so that no key is repeated for them
        queries, shared = inputs.queries.view(batch, key_heads, -1, width), False
    else:
        queries = inputs.queries.view(batch, length, *inputs.queries.shape[1:]).transpose(1, 2)
        shared = queries.shape[1] != key_heads
    attended_heads = functional.scaled_dot_product_attention(
        queries, keys.transpose(1, 2), values.transpose(1, 2), attn_mask=mask, scale=inputs.scale, enable_gqa=shared
    )
    return (attended_heads if length == 1 else attended_heads.transpose(1, 2)).reshape(batch * length, -1)


def _cheaper_by_hand(keys: Tensor) -> bool:
    """Tell, of keys (B, tokens, H, E), whether there are many short products.

    A processor then spends more time on going from each to the next, all over the memory, than on their numbers.
    """
    _, tokens, _, width = keys.shape
    many, short = keys.numel() >= MANY_NUMBERS, width >= LEAST_WIDTH and tokens * width <= SHORT_PRODUCT
    return many and short and keys.device.type == "cpu" and keys.dtype in (torch.float32, torch.float64)


def _attended_by_hand(inputs: AttentionInputs, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Let one token a row attend, (B, H E), number by number in the order in which they lie in memory."""
    scores = (keys * (inputs.queries * inputs.scale)[:, None]).sum(-1, keepdim=True)  # (B, tokens, H, 1)
    if mask is not None:
        scores = scores + mask.transpose(1, 3)
    return (scores.softmax(1) * values).sum(1).flatten(1)


class HFBackbone:
    """Any network of transformers, by its own forward pass, rows filled up to rectangles."""

    branches = False  # it makes its masks itself

    def __init__(self, network: PreTrainedModel, blocks: Sequence[nn.Module], first: int) -> None:
        self._network = network
        self._blocks = blocks
        self._first = first

    def rows(self, vectors: Tensor, rows: SequenceLayout, at: Tensor) -> Tensor:
        """Run it on a rectangle. Rows are filled up on the right, so causal attention never sees the filling."""
        return self._run(_rectangle(vectors, rows))[rows.row[at], rows.positions[at]]

    def forward_lower(self, vectors: Tensor, rows: SequenceLayout) -> Tensor:
        """Run it, the upper layers stood in for."""
        entered: list[Tensor] = []

        def noting(hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            entered.append(hidden)
            return hidden

        forward_upper = self._blocks[self._first :]
        with standing_in(forward_upper, [noting] + [passing] * (len(forward_upper) - 1)):
            self._run(_rectangle(vectors, rows))
        return entered[0][rows.row, rows.positions]

    def forward_upper(self, lower: Tensor, rows: SequenceLayout, at: Tensor) -> Tensor:
        """Run it, the lower layers stood in for by what they gave before."""
        functional_network = _rectangle(lower, rows)
        remembered = [passing] * (self._first - 1) + [lambda hidden, *args, **kwargs: functional_network]
        with standing_in(self._blocks[: self._first], remembered):
            return self._run(functional_network)[rows.row[at], rows.positions[at]]

    def prefill(self, vectors: Tensor, rows: SequenceLayout) -> Cache:
        """Run it on a rectangle filled up on the left."""
        return self.prefill_last(vectors, rows)[1] if len(vectors) else empty_cache(len(self._blocks))

    def prefill_last(self, vectors: Tensor, rows: SequenceLayout) -> tuple[Tensor, Cache]:
        """Run it on the same rectangle, at whose right edge all rows end."""
        cache, filled = empty_cache(len(self._blocks)), _rectangle(vectors, rows, left=True)
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
            attention_mask=None if seen is None else seen.long(),  # without one attention takes its quick path
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


def _rectangle(line: Tensor, rows: SequenceLayout, *, left: bool = False) -> Tensor:
    """Return (W, L, D) from (T, D), filled up with zeros."""
    return nn.utils.rnn.pad_sequence(
        list(torch.split(line, list(rows.lengths))), batch_first=True, padding_side="left" if left else "right"
    )
