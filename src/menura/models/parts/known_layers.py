"""The layers of known networks, computed from the modules' own weights by plain functions.

Transformers' own forward pass spends much of a small network's time on masks, caches and checks. Here a layer is two
halves with the attention left out between them, so that the same code serves rows of unequal length side by side and
a single further token. Weights are read when they are used, never kept: training swaps them in the modules.

Every linear map is called as the module it is, so that hooks on it run; hooks behind an attention or a feed-forward
part are run here. Dropout never is: a network that trains speaks in evaluation mode.

Shape letters: T tokens side by side, D width, H heads, K key heads, E width of a head.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

Turns = tuple[Tensor, Tensor] | None  # cosines and sines (T, 1, E) by which queries and keys are turned


class Asked(NamedTuple):
    """What a layer's attention is asked with."""

    given: Tensor  # (T, D), the attention's input
    queries: Tensor  # (T, H, E)
    keys: Tensor  # (T, K, E)
    values: Tensor  # (T, K, E)
    scale: float  # of the product of query and key


class Layers(Protocol):
    """A network of known form."""

    def __len__(self) -> int:
        """Return how many layers there are."""

    def enter(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """Return the first layer's input, from token embeddings (T, D) at positions (T,)."""

    def turns(self, like: Tensor, positions: Tensor) -> Turns:
        """Return the rotation of each position, None in networks that rotate nothing."""

    def ask(self, index: int, hidden: Tensor, turns: Turns) -> Asked:
        """Return what a layer's attention is asked with, from the layer's input (T, D)."""

    def answer(self, index: int, hidden: Tensor, given: Tensor, heads: Tensor) -> Tensor:
        """Return the layer's output (T, D), from its input, its attention's input and what the heads (T, H E) found."""

    def leave(self, hidden: Tensor) -> Tensor:
        """Return what the vocabulary is scored with."""


class Gpt2Layers:
    """The GPT-2 of transformers."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def __len__(self) -> int:
        return len(self._network.h)

    def enter(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """Add the positions' own embeddings."""
        entered: Tensor = vectors + self._network.wpe(positions)
        return entered

    def turns(self, like: Tensor, positions: Tensor) -> Turns:
        """Rotate nothing."""
        del like, positions

    def ask(self, index: int, hidden: Tensor, turns: Turns) -> Asked:
        """Map to queries, keys and values at once."""
        del turns
        block = self._network.h[index]
        given = block.ln_1(hidden)
        mapped = block.attn.c_attn(given).unflatten(-1, (3, -1, block.attn.head_dim))  # (T, 3, H, E)
        return Asked(given, *mapped.unbind(1), block.attn.scaling)

    def answer(self, index: int, hidden: Tensor, given: Tensor, heads: Tensor) -> Tensor:
        """Map back, then the feed-forward part."""
        block = self._network.h[index]
        hidden = _hooked(block.attn, given, block.attn.c_proj(heads)) + hidden
        given = block.ln_2(hidden)
        inner = _activated(block.mlp.act, block.mlp.c_fc(given))
        return hidden + _hooked(block.mlp, given, block.mlp.c_proj(inner))

    def leave(self, hidden: Tensor) -> Tensor:
        """Normalise."""
        left: Tensor = self._network.ln_f(hidden)
        return left


class LlamaLayers:
    """The Llama of transformers, with its default rotation."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def __len__(self) -> int:
        return len(self._network.layers)

    def enter(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """Return the embeddings as they are."""
        del positions
        return vectors

    def turns(self, like: Tensor, positions: Tensor) -> Turns:
        """Return cosines and sines of the format of ``like``."""
        cosines, sines = self._network.rotary_emb(like, positions[None])
        return cosines[0][:, None], sines[0][:, None]

    def ask(self, index: int, hidden: Tensor, turns: Turns) -> Asked:
        """Map to queries, keys and values; turn queries and keys."""
        assert turns is not None
        block = self._network.layers[index]
        attention = block.self_attn
        given = _normed(block.input_layernorm, hidden)
        maps = (attention.q_proj, attention.k_proj, attention.v_proj)
        queries, keys, values = (part(given).unflatten(-1, (-1, attention.head_dim)) for part in maps)
        return Asked(given, _turned(queries, *turns), _turned(keys, *turns), values, attention.scaling)

    def answer(self, index: int, hidden: Tensor, given: Tensor, heads: Tensor) -> Tensor:
        """Map back, then the gated feed-forward part."""
        block = self._network.layers[index]
        hidden = hidden + _hooked(block.self_attn, given, block.self_attn.o_proj(heads))
        given = _normed(block.post_attention_layernorm, hidden)
        gate = block.mlp.act_fn(block.mlp.gate_proj(given))
        return hidden + _hooked(block.mlp, given, block.mlp.down_proj(gate * block.mlp.up_proj(given)))

    def leave(self, hidden: Tensor) -> Tensor:
        """Normalise."""
        return _normed(self._network.norm, hidden)


def layers_of(network: nn.Module) -> Layers | None:
    """Return the layers of a network without its head, where they are of a form known here; None otherwise."""
    form = FORMS.get(f"{type(network).__module__}.{type(network).__name__}")
    if form is None:
        return None
    make, fits = form
    return make(network) if fits(network.config) else None


def _gpt2_fits(config: Any) -> bool:
    return not (config.reorder_and_upcast_attn or config.add_cross_attention)


def _llama_fits(config: Any) -> bool:
    rotation = config.rope_parameters or {}
    return rotation.get("rope_type", "default") == "default" and getattr(config, "sliding_window", None) is None


FORMS: dict[str, tuple[Callable[[Any], Layers], Callable[[Any], bool]]] = {
    "transformers.models.gpt2.modeling_gpt2.GPT2Model": (Gpt2Layers, _gpt2_fits),
    "transformers.models.llama.modeling_llama.LlamaModel": (LlamaLayers, _llama_fits),
}


def _hooked(part: nn.Module, given: Tensor, output: Tensor) -> Tensor:
    """Run the forward hooks of a part that was not called as a module."""
    for hook in part._forward_hooks.values():
        changed = hook(part, (given,), output)
        output = output if changed is None else changed
    return output


def _normed(norm: nn.Module, hidden: Tensor) -> Tensor:
    if type(norm).__name__ != "LlamaRMSNorm":
        normed: Tensor = norm(hidden)
        return normed
    weight: Any = norm.weight
    return functional.rms_norm(hidden, weight.shape, weight, norm.variance_epsilon)  # type: ignore[arg-type]  # a float


def _activated(activation: nn.Module, inner: Tensor) -> Tensor:
    if type(activation).__name__ == "NewGELUActivation":  # the same, written out in eight steps
        return functional.gelu(inner, approximate="tanh")
    activated: Tensor = activation(inner)
    return activated


def _turned(heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn each head's two halves (T, H, E) by its position's angles (Su et al., 2021)."""
    first, second = heads.chunk(2, -1)
    return heads * cosines + torch.cat([-second, first], -1) * sines
