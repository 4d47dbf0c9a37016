"""Token embeddings become hidden states: of whole sequences, or of a few more tokens after a key-value cache.

``FastBackbone`` computes known networks with plain functions on packed sequences, without padding outside of decoding;
``HFBackbone`` calls any other network's own forward pass, ``RecomputedBackbone`` that of a recurrent one. All give the
same numbers.

Shape letters: W rows, T tokens of all rows concatenated, N wanted positions, B rows of a batch, L tokens of each,
D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from menura.batches.varlen import SequenceLayout
from menura.models.causal_lm.attention import attended, attended_after, cached_positions_and_masks, masks_by_window
from menura.models.causal_lm.functional_layers import FunctionalLayer, FunctionalNetwork
from menura.models.causal_lm.functional_networks import functional_network
from menura.models.causal_lm.hf_backbone import HFBackbone, RecomputedBackbone
from menura.models.causal_lm.hf_networks import is_recurrent
from menura.models.causal_lm.kv_cache import RoomyLayer, prefilled_layer
from menura.models.causal_lm.slot_cache import CachedPrefix, SlotCache

BackboneName = Literal["fast", "own forward pass", "own forward pass, recomputed at each step"]


class Backbone(Protocol):
    """The layers of a network. The first ``first`` layers are those below the lowest adapter.

    ``packed`` tells whether rows are concatenated, and may then be prefix trees; if not, they are padded to one length.
    A cache has ``used``, the tokens that it has read.
    """

    packed: bool

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
    if form is not None:
        return FastBackbone(form, first)
    return (RecomputedBackbone if is_recurrent(network) else HFBackbone)(network, blocks, first)


def backbone_name(network: PreTrainedModel) -> BackboneName:
    """Return which backbone a network gets, in words."""
    if functional_network(network.base_model) is not None:
        return "fast"
    return "own forward pass, recomputed at each step" if is_recurrent(network) else "own forward pass"


@dataclass(frozen=True)
class FastCache:
    """Each layer's keys and values, and the layers' functions with the weights at the time of the prefill."""

    layers: tuple[RoomyLayer, ...]
    functional: Sequence[FunctionalLayer]

    @property
    def used(self) -> int:
        """The tokens read so far."""
        return self.layers[0].used

    def prefixes(self, rows: Sequence[tuple[int, ...]]) -> list[CachedPrefix]:
        """Return copies of what each row has read, which are these ids; shorter rows were padded on the left."""
        read = [layer.read() for layer in self.layers]
        made = []
        for row, ids in enumerate(rows):
            start = self.used - len(ids)
            layers = ((keys[row, start:].clone(), values[row, start:].clone()) for keys, values in read)
            made.append(CachedPrefix(ids, tuple(layers)))
        return made


class FastBackbone:
    """The layers of a known network as plain functions."""

    packed = True

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
        rope, masks = self._form.rope(hidden, rows.positions), masks_by_window(rows, layers)
        for layer in layers:
            inputs = layer.qkv(hidden, rope)
            hidden_in, attended_heads = inputs.inputs, attended(rows, inputs, masks[layer.window])
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
        rope, masks = self._form.rope(hidden, rows.positions), masks_by_window(rows, layers)
        for layer in layers:
            inputs = layer.qkv(hidden, rope)
            made.append(prefilled_layer(inputs.keys, inputs.values, rows))
            if layer is not layers[-1]:
                hidden = layer.finish(hidden, inputs.inputs, attended(rows, inputs, masks[layer.window]))
            elif at is not None:
                parts = hidden, inputs.inputs, attended(rows, inputs, masks[layer.window])
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
        windows = {layer.window for layer in cache.functional}
        positions, masks = cached_positions_and_masks(cache.used, vectors, seen, windows)
        hidden = self._form.embed(vectors.reshape(-1, width), positions)
        rope = self._form.rope(hidden, positions)
        for layer, held in zip(cache.functional, cache.layers, strict=True):
            inputs = layer.qkv(hidden, rope)
            hidden = layer.finish(hidden, inputs.inputs, attended_after(held, inputs, length, masks[layer.window]))
        return self._form.final_norm(hidden).view(batch, length, width)

    def slot_cache(self) -> SlotCache:
        """Return the cache of a running batch without rows."""
        layers = self._form.layers()
        return SlotCache(len(layers), layers)

    def extend_slots(self, cache: SlotCache, vectors: Tensor) -> Tensor:
        """Run all layers on one more token of each row of a running batch, (B, D); return hidden states (B, D)."""
        positions, masks = cache.step(vectors, {layer.window for layer in cache.functional})
        hidden = self._form.embed(vectors, positions)
        rope = self._form.rope(hidden, positions)
        for layer, held in zip(cache.functional, cache.layers, strict=True):
            inputs = layer.qkv(hidden, rope)
            hidden = layer.finish(hidden, inputs.inputs, attended_after(held, inputs, 1, masks[layer.window]))
        return self._form.final_norm(hidden)

    def after(self, prefix: CachedPrefix) -> FastCache:
        """Return the cache of one row that has read a prefix."""
        return FastCache(prefix.as_layers(), self._form.layers())

    def reorder(self, cache: FastCache, rows: Tensor) -> FastCache:
        """Copy the rows."""
        return FastCache(tuple(held.selected(rows) for held in cache.layers), cache.functional)
