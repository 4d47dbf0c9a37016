"""The layers of known networks (GPT-2, Llama) as plain functions of the modules' own weights.

The forward pass of transformers spends much of a small network's time on masks, caches and checks. Here a layer is two
halves with the attention left out between them, so that the same code serves packed rows of unequal length and a
single further token. The weights are those that the modules hold when a pass begins: ``functional_call`` swaps them.

A linear map with hooks is called as a module, so that the hooks run; hooks on an attention or a feed-forward module
are run here. Dropout is never applied: the network trains in evaluation mode.

Shape letters: T tokens of all rows concatenated, D width, H heads, K key heads, E width of a head.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

Rope = tuple[Tensor, Tensor] | None  # cosines and sines (T, 1, E) of the rotary position embedding
LinearMap = Callable[[Tensor], Tensor]


class AttentionInputs(NamedTuple):
    """The inputs of a layer's attention."""

    inputs: Tensor  # (T, D), the attention's input
    queries: Tensor  # (T, H, E)
    keys: Tensor  # (T, K, E)
    values: Tensor  # (T, K, E)
    scale: float  # of the product of query and key


class FunctionalLayer(Protocol):
    """The two halves of a layer."""

    def qkv(self, hidden: Tensor, rope: Rope) -> AttentionInputs:
        """Return queries, keys and values, from the layer's input (T, D)."""

    def finish(self, hidden: Tensor, given: Tensor, heads: Tensor) -> Tensor:
        """Return the layer's output (T, D), from its input, its attention's input and the heads' outputs (T, H E)."""


class FunctionalNetwork(Protocol):
    """A network whose layers are known here."""

    def layers(self) -> Sequence[FunctionalLayer]:
        """Return its layers with the weights that the modules hold now."""

    def embed(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """Return the first layer's input, from token embeddings (T, D) at positions (T,)."""

    def rope(self, like: Tensor, positions: Tensor) -> Rope:
        """Return the rotation of each position, None for networks without rotary embeddings."""

    def final_norm(self, hidden: Tensor) -> Tensor:
        """Return the last hidden state, from which the logits are computed."""


class Gpt2:
    """The GPT-2 of transformers."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def layers(self) -> Sequence[FunctionalLayer]:
        """Read the blocks."""
        return [Gpt2Layer(block) for block in self._network.h]

    def embed(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """Add the positions' own embeddings."""
        entered: Tensor = vectors + self._network.wpe(positions)
        return entered

    def rope(self, like: Tensor, positions: Tensor) -> Rope:
        """Return None: positions are embeddings."""
        del like, positions
        return None

    def final_norm(self, hidden: Tensor) -> Tensor:
        """Normalise."""
        left: Tensor = self._network.ln_f(hidden)
        return left


class Gpt2Layer:
    """One block of it."""

    def __init__(self, block: Any) -> None:
        attention, inner = block.attn, block.mlp
        self._shape, self._scale = (3, -1, attention.head_dim), attention.scaling
        self._norms = _map(block.ln_1), _map(block.ln_2)
        self._qkv, self._out = _map(attention.c_attn), _map(attention.c_proj)
        self._up, self._act, self._down = _map(inner.c_fc), _map(inner.act), _map(inner.c_proj)
        self._behind = _hooks(attention), _hooks(inner)

    def qkv(self, hidden: Tensor, rope: Rope) -> AttentionInputs:
        """Map to queries, keys and values at once."""
        del rope
        given = self._norms[0](hidden)
        queries, keys, values = self._qkv(given).view(given.shape[0], *self._shape).unbind(1)
        return AttentionInputs(given, queries, keys, values, self._scale)

    def finish(self, hidden: Tensor, given: Tensor, heads: Tensor) -> Tensor:
        """Apply the output map, then the feed-forward network."""
        hidden = self._behind[0](given, self._out(heads)) + hidden
        given = self._norms[1](hidden)
        return hidden + self._behind[1](given, self._down(self._act(self._up(given))))


class Llama:
    """The Llama of transformers, with its default rotation."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def layers(self) -> Sequence[FunctionalLayer]:
        """Read the layers."""
        return [LlamaLayer(layer) for layer in self._network.layers]

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
        return _map(self._network.norm)(hidden)


class LlamaLayer:
    """One layer of it."""

    def __init__(self, layer: Any) -> None:
        attention, inner = layer.self_attn, layer.mlp
        self._shape, self._scale = (-1, attention.head_dim), attention.scaling
        self._norms = _map(layer.input_layernorm), _map(layer.post_attention_layernorm)
        self._qkv = _map(attention.q_proj), _map(attention.k_proj), _map(attention.v_proj)
        self._out, self._down = _map(attention.o_proj), _map(inner.down_proj)
        self._gate, self._act, self._up = _map(inner.gate_proj), _map(inner.act_fn), _map(inner.up_proj)
        self._behind = _hooks(attention), _hooks(inner)

    def qkv(self, hidden: Tensor, rope: Rope) -> AttentionInputs:
        """Map to queries, keys and values; rotate queries and keys."""
        assert rope is not None
        given = self._norms[0](hidden)
        queries, keys, values = (project(given).view(given.shape[0], *self._shape) for project in self._qkv)
        return AttentionInputs(given, _rotated(queries, *rope), _rotated(keys, *rope), values, self._scale)

    def finish(self, hidden: Tensor, given: Tensor, heads: Tensor) -> Tensor:
        """Apply the output map, then the gated feed-forward network."""
        hidden = hidden + self._behind[0](given, self._out(heads))
        given = self._norms[1](hidden)
        inner = self._act(self._gate(given)) * self._up(given)
        return hidden + self._behind[1](given, self._down(inner))


def functional_network(network: nn.Module) -> FunctionalNetwork | None:
    """Return a network without its head as functions; None if its layers are not known here."""
    form = NETWORKS.get(_qualified_name(network))
    if form is None:
        return None
    make, fits = form
    return make(network) if fits(network.config) else None


def _gpt2_fits(config: Any) -> bool:
    return not (config.reorder_and_upcast_attn or config.add_cross_attention)


def _llama_fits(config: Any) -> bool:
    rotation = config.rope_parameters or {}
    return rotation.get("rope_type", "default") == "default" and getattr(config, "sliding_window", None) is None


NETWORKS: dict[str, tuple[Callable[[Any], FunctionalNetwork], Callable[[Any], bool]]] = {
    "transformers.models.gpt2.modeling_gpt2.GPT2Model": (Gpt2, _gpt2_fits),
    "transformers.models.llama.modeling_llama.LlamaModel": (Llama, _llama_fits),
}


def _qualified_name(part: nn.Module) -> str:
    return f"{type(part).__module__}.{type(part).__name__}"


def _map(part: Any) -> LinearMap:
    """Return the linear map of a module on (T, D) as a function; the module itself if it has hooks."""
    if part._forward_hooks or part._forward_pre_hooks:
        return part  # type: ignore[no-any-return]  # a module, called as one
    fast = FAST_MAPS.get(_qualified_name(part))
    return fast(part) if fast else part.forward


def _transposed(part: Any) -> LinearMap:
    weight, bias = part.weight, part.bias
    return lambda given: torch.addmm(bias, given, weight)


def _root_mean_square(part: Any) -> LinearMap:
    weight = part.weight
    return partial(functional.rms_norm, normalized_shape=weight.shape, weight=weight, eps=part.variance_epsilon)


def _layer_norm(part: Any) -> LinearMap:
    shape, weight, bias, epsilon = part.normalized_shape, part.weight, part.bias, part.eps
    return lambda given: torch.layer_norm(given, shape, weight, bias, epsilon)


FAST_MAPS: dict[str, Callable[[Any], LinearMap]] = {
    "transformers.pytorch_utils.Conv1D": _transposed,
    "torch.nn.modules.linear.Linear": lambda part: partial(functional.linear, weight=part.weight, bias=part.bias),
    "torch.nn.modules.normalization.LayerNorm": _layer_norm,
    "transformers.models.llama.modeling_llama.LlamaRMSNorm": _root_mean_square,
    # The same; the module takes eight steps.
    "transformers.activations.NewGELUActivation": lambda part: partial(functional.gelu, approximate="tanh"),
}


def _hooks(part: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a function that applies a module's forward hooks to an output computed without calling the module."""
    hooks = list(part._forward_hooks.values())
    if not hooks:
        return lambda given, output: output

    def run(given: Tensor, output: Tensor) -> Tensor:
        for hook in hooks:
            changed = hook(part, (given,), output)
            output = output if changed is None else changed
        return output

    return run


def _rotated(heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotate each head's two halves (T, H, E) by its position's angles (RoPE: Su et al., 2021)."""
    first, second = heads.chunk(2, -1)
    return heads * cosines + torch.cat([-second, first], -1) * sines
