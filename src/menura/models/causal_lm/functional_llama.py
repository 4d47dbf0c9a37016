"""Llama and the families that differ from it in a few places, as plain functions.

Shape letters: those of ``functional_layers``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from menura.models.causal_lm.functional_layers import (
    AttentionInputs,
    FunctionalLayer,
    LinearMap,
    Rope,
    hooks_of,
    linear_map,
    rotated,
    rotated_in_pairs,
)

# Their angles depend on the longest sequence of a pass, so that a row would depend on the rows beside it.
ROPE_BY_LENGTH = ("dynamic", "longrope")
WINDOWS = ("full_attention", "sliding_attention")


class LlamaLayer:
    """One layer of Llama, with what Qwen2, Qwen3, Mistral and SmolLM3 put into the same places.

    Llama adds what attention and the feed-forward network return as it is; ``added`` says what else is done to each.
    """

    def __init__(self, layer: Any, *, window: int | None = None, rotate: Callable[..., Tensor] = rotated) -> None:
        attention, inner = layer.self_attn, layer.mlp
        self.window = window
        self._shape, self._scale = (-1, attention.head_dim), attention.scaling
        self._rotate = rotate if getattr(attention, "use_rope", True) else _as_it_is  # SmolLM3 has layers without
        self._norms = self._norms_of(layer)
        self._qkv = linear_map(attention.q_proj), linear_map(attention.k_proj), linear_map(attention.v_proj)
        self._head_norms = [
            linear_map(getattr(attention, name)) for name in ("q_norm", "k_norm") if hasattr(attention, name)
        ]
        self._out, self._down = linear_map(attention.o_proj), linear_map(inner.down_proj)
        self._gate, self._act, self._up = (
            linear_map(inner.gate_proj),
            linear_map(inner.act_fn),
            linear_map(inner.up_proj),
        )
        self._behind = hooks_of(attention), hooks_of(inner)

    def _norms_of(self, layer: Any) -> tuple[LinearMap, LinearMap]:
        """Return the norms in front of attention and feed-forward network."""
        return linear_map(layer.input_layernorm), linear_map(layer.post_attention_layernorm)

    def _added(self, output: Tensor, index: int) -> Tensor:
        """Return what is added for the output of attention (``index`` 0) or feed-forward network (1)."""
        del index
        return output

    def qkv(self, hidden: Tensor, rope: Rope) -> AttentionInputs:
        """Map to queries, keys and values; rotate queries and keys."""
        inputs = self._norms[0](hidden)
        queries, keys, values = (project(inputs).view(inputs.shape[0], *self._shape) for project in self._qkv)
        if self._head_norms:
            queries, keys = (norm(heads) for norm, heads in zip(self._head_norms, (queries, keys), strict=True))
        return AttentionInputs(inputs, self._rotate(queries, *rope), self._rotate(keys, *rope), values, self._scale)

    def finish(self, hidden: Tensor, inputs: Tensor, heads: Tensor) -> Tensor:
        """Apply the output map, then the gated feed-forward network."""
        hidden = hidden + self._added(self._behind[0](inputs, self._out(heads)), 0)
        inputs = self._norms[1](hidden)
        inner = self._act(self._gate(inputs)) * self._up(inputs)
        return hidden + self._added(self._behind[1](inputs, self._down(inner)), 1)


class Llama:
    """The Llama of transformers, with any rotation that is the same for every length; Qwen2, Qwen3 and SmolLM3 too."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def layers(self) -> Sequence[FunctionalLayer]:
        """Read the layers."""
        return [self._layer(layer) for layer in self._network.layers]

    def _layer(self, layer: Any) -> FunctionalLayer:
        return LlamaLayer(layer, window=getattr(layer.self_attn, "sliding_window", None))

    def embed(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """Return the embeddings as they are."""
        del positions
        return vectors

    def rope(self, like: Tensor, positions: Tensor) -> Rope:
        """Return cosines and sines of the format of ``like``."""
        cosines, sines = self._network.rotary_emb(like, positions[None])
        return cosines[0][:, None], sines[0][:, None]

    def final_norm(self, hidden: Tensor) -> Tensor:
        """Normalise."""
        normed: Tensor = linear_map(self._network.norm)(hidden)
        return normed


class Mistral(Llama):
    """Mistral, all of whose layers have the same window."""

    def _layer(self, layer: Any) -> FunctionalLayer:
        return LlamaLayer(layer, window=self._network.config.sliding_window)


class GraniteLayer(LlamaLayer):
    """A layer whose additions are scaled."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self._multiplier = layer.residual_multiplier

    def _added(self, output: Tensor, index: int) -> Tensor:
        del index
        scaled: Tensor = output * self._multiplier
        return scaled


class Granite(Llama):
    """Granite: Llama with multipliers."""

    def _layer(self, layer: Any) -> FunctionalLayer:
        return GraniteLayer(layer)

    def embed(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """Scale the embeddings."""
        del positions
        scaled: Tensor = vectors * self._network.embedding_multiplier
        return scaled


class Ernie(Llama):
    """ERNIE 4.5: Llama with neighbours, not halves, rotated."""

    def _layer(self, layer: Any) -> FunctionalLayer:
        return LlamaLayer(layer, rotate=rotated_in_pairs)

    def rope(self, like: Tensor, positions: Tensor) -> Rope:
        """Return each angle's cosine and sine for both numbers of its pair."""
        return tuple(
            part[..., : part.shape[-1] // 2].repeat_interleave(2, -1) for part in super().rope(like, positions)
        )


class GemmaLayer(LlamaLayer):
    """A layer with norms behind attention and feed-forward network too, and a rotation by its type."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer, window=layer.self_attn.sliding_window)
        self._type = layer.self_attn.layer_type
        self._norms_behind = (
            linear_map(layer.post_attention_layernorm),
            linear_map(layer.post_feedforward_layernorm),
        )

    def _norms_of(self, layer: Any) -> tuple[LinearMap, LinearMap]:
        return linear_map(layer.input_layernorm), linear_map(layer.pre_feedforward_layernorm)

    def _added(self, output: Tensor, index: int) -> Tensor:
        return self._norms_behind[index](output)

    def qkv(self, hidden: Tensor, rope: Rope) -> AttentionInputs:
        """Rotate as layers of this type do."""
        return super().qkv(hidden, rope[self._type])


class Gemma3(Llama):
    """The text part of Gemma 3; the network's embedding scales its vectors itself."""

    def _layer(self, layer: Any) -> FunctionalLayer:
        return GemmaLayer(layer)

    def rope(self, like: Tensor, positions: Tensor) -> Rope:
        """Return the rotation of each type of layers."""
        types = set(self._network.config.layer_types)
        angles = {name: self._network.rotary_emb(like, positions[None], name) for name in types}
        return {name: (cosines[0][:, None], sines[0][:, None]) for name, (cosines, sines) in angles.items()}


def llama_fits(config: Any) -> bool:
    """Tell whether the layers are of known types, and the rotation the same whatever else is read in a pass."""
    types = getattr(config, "layer_types", None) or WINDOWS
    return set(types) <= set(WINDOWS) and not any(kind in ROPE_BY_LENGTH for kind in rope_types(config))


def gemma3_fits(config: Any) -> bool:
    """Tell the same, and whether tokens see only those before them."""
    return llama_fits(config) and not config.use_bidirectional_attention


def rope_types(config: Any) -> Iterator[str]:
    """Yield the names of a network's rotations: of one, or of each type of layers."""
    rotation = getattr(config, "rope_parameters", None) or {}
    for each in (rotation, *rotation.values()):
        if isinstance(each, Mapping):
            yield str(each.get("rope_type", "default"))


def _as_it_is(heads: Tensor, *rope: Tensor) -> Tensor:
    """Return queries or keys of a layer without rotation."""
    del rope
    return heads
