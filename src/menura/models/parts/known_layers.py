"""The layers of known networks, computed from the modules' own weights by plain functions.

Transformers' own forward pass spends much of a small network's time on masks, caches and checks. Here a layer is two
halves with the attention left out between them, so that the same code serves rows of unequal length side by side and
a single further token. The weights are those that the modules hold when a pass begins: training swaps them.

Every linear map that carries hooks is called as the module it is, so that they run; hooks behind an attention or a
feed-forward part are run here. Dropout never is: a network that trains speaks in evaluation mode.

Shape letters: T tokens side by side, D width, H heads, K key heads, E width of a head.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

Turns = tuple[Tensor, Tensor] | None  # cosines and sines (T, 1, E) by which queries and keys are turned
Map = Callable[[Tensor], Tensor]


class Asked(NamedTuple):
    """What a layer's attention is asked with."""

    given: Tensor  # (T, D), the attention's input
    queries: Tensor  # (T, H, E)
    keys: Tensor  # (T, K, E)
    values: Tensor  # (T, K, E)
    scale: float  # of the product of query and key


class Layer(Protocol):
    """The two halves of a layer."""

    def ask(self, hidden: Tensor, turns: Turns) -> Asked:
        """Return what the attention is asked with, from the layer's input (T, D)."""

    def answer(self, hidden: Tensor, given: Tensor, heads: Tensor) -> Tensor:
        """Return the layer's output (T, D), from its input, its attention's input and what the heads (T, H E) found."""


class Known(Protocol):
    """A network of known form."""

    def layers(self) -> Sequence[Layer]:
        """Return its layers with the weights of now."""

    def enter(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """Return the first layer's input, from token embeddings (T, D) at positions (T,)."""

    def turns(self, like: Tensor, positions: Tensor) -> Turns:
        """Return the rotation of each position, None in networks that rotate nothing."""

    def leave(self, hidden: Tensor) -> Tensor:
        """Return what the vocabulary is scored with."""


class Gpt2:
    """The GPT-2 of transformers."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def layers(self) -> Sequence[Layer]:
        """Read the blocks."""
        return [Gpt2Layer(block) for block in self._network.h]

    def enter(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """Add the positions' own embeddings."""
        entered: Tensor = vectors + self._network.wpe(positions)
        return entered

    def turns(self, like: Tensor, positions: Tensor) -> Turns:
        """Rotate nothing."""
        del like, positions
        return None

    def leave(self, hidden: Tensor) -> Tensor:
        """Normalise."""
        left: Tensor = self._network.ln_f(hidden)
        return left


class Gpt2Layer:
    """One block of it."""

    def __init__(self, block: Any) -> None:
        attention, inner = block.attn, block.mlp
        self._shape, self._scale = (3, -1, attention.head_dim), attention.scaling
        self._norms = _map(block.ln_1), _map(block.ln_2)
        self._asking, self._joining = _map(attention.c_attn), _map(attention.c_proj)
        self._widening, self._acting, self._narrowing = _map(inner.c_fc), _map(inner.act), _map(inner.c_proj)
        self._behind = _hooks(attention), _hooks(inner)

    def ask(self, hidden: Tensor, turns: Turns) -> Asked:
        """Map to queries, keys and values at once."""
        del turns
        given = self._norms[0](hidden)
        queries, keys, values = self._asking(given).view(given.shape[0], *self._shape).unbind(1)
        return Asked(given, queries, keys, values, self._scale)

    def answer(self, hidden: Tensor, given: Tensor, heads: Tensor) -> Tensor:
        """Map back, then the feed-forward part."""
        hidden = self._behind[0](given, self._joining(heads)) + hidden
        given = self._norms[1](hidden)
        return hidden + self._behind[1](given, self._narrowing(self._acting(self._widening(given))))


class Llama:
    """The Llama of transformers, with its default rotation."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def layers(self) -> Sequence[Layer]:
        """Read the layers."""
        return [LlamaLayer(layer) for layer in self._network.layers]

    def enter(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """Return the embeddings as they are."""
        del positions
        return vectors

    def turns(self, like: Tensor, positions: Tensor) -> Turns:
        """Return cosines and sines of the format of ``like``."""
        cosines, sines = self._network.rotary_emb(like, positions[None])
        return cosines[0][:, None], sines[0][:, None]

    def leave(self, hidden: Tensor) -> Tensor:
        """Normalise."""
        return _map(self._network.norm)(hidden)


class LlamaLayer:
    """One layer of it."""

    def __init__(self, layer: Any) -> None:
        attention, inner = layer.self_attn, layer.mlp
        self._shape, self._scale = (-1, attention.head_dim), attention.scaling
        self._norms = _map(layer.input_layernorm), _map(layer.post_attention_layernorm)
        self._asking = _map(attention.q_proj), _map(attention.k_proj), _map(attention.v_proj)
        self._joining, self._narrowing = _map(attention.o_proj), _map(inner.down_proj)
        self._gating, self._acting, self._widening = _map(inner.gate_proj), _map(inner.act_fn), _map(inner.up_proj)
        self._behind = _hooks(attention), _hooks(inner)

    def ask(self, hidden: Tensor, turns: Turns) -> Asked:
        """Map to queries, keys and values; turn queries and keys."""
        assert turns is not None
        given = self._norms[0](hidden)
        queries, keys, values = (asking(given).view(given.shape[0], *self._shape) for asking in self._asking)
        return Asked(given, _turned(queries, *turns), _turned(keys, *turns), values, self._scale)

    def answer(self, hidden: Tensor, given: Tensor, heads: Tensor) -> Tensor:
        """Map back, then the gated feed-forward part."""
        hidden = hidden + self._behind[0](given, self._joining(heads))
        given = self._norms[1](hidden)
        inner = self._acting(self._gating(given)) * self._widening(given)
        return hidden + self._behind[1](given, self._narrowing(inner))


def known(network: nn.Module) -> Known | None:
    """Return a network without its head as one of a form known here; None where it is of another."""
    form = FORMS.get(_kind(network))
    if form is None:
        return None
    make, fits = form
    return make(network) if fits(network.config) else None


def _gpt2_fits(config: Any) -> bool:
    return not (config.reorder_and_upcast_attn or config.add_cross_attention)


def _llama_fits(config: Any) -> bool:
    rotation = config.rope_parameters or {}
    return rotation.get("rope_type", "default") == "default" and getattr(config, "sliding_window", None) is None


FORMS: dict[str, tuple[Callable[[Any], Known], Callable[[Any], bool]]] = {
    "transformers.models.gpt2.modeling_gpt2.GPT2Model": (Gpt2, _gpt2_fits),
    "transformers.models.llama.modeling_llama.LlamaModel": (Llama, _llama_fits),
}


def _kind(part: nn.Module) -> str:
    return f"{type(part).__module__}.{type(part).__name__}"


def _map(part: Any) -> Map:
    """Return what a module computes on (T, D), without its way there; the module itself where hooks want to be run."""
    if part._forward_hooks or part._forward_pre_hooks:
        return part  # type: ignore[no-any-return]  # a module, called as one
    quick = QUICK.get(_kind(part))
    return quick(part) if quick else part.forward


def _transposed(part: Any) -> Map:
    weight, bias = part.weight, part.bias
    return lambda given: torch.addmm(bias, given, weight)


def _root_mean_square(part: Any) -> Map:
    weight = part.weight
    return partial(functional.rms_norm, normalized_shape=weight.shape, weight=weight, eps=part.variance_epsilon)


def _layer_norm(part: Any) -> Map:
    shape, weight, bias, epsilon = part.normalized_shape, part.weight, part.bias, part.eps
    return lambda given: torch.layer_norm(given, shape, weight, bias, epsilon)


QUICK: dict[str, Callable[[Any], Map]] = {
    "transformers.pytorch_utils.Conv1D": _transposed,
    "torch.nn.modules.linear.Linear": lambda part: partial(functional.linear, weight=part.weight, bias=part.bias),
    "torch.nn.modules.normalization.LayerNorm": _layer_norm,
    "transformers.models.llama.modeling_llama.LlamaRMSNorm": _root_mean_square,
    # The same, there in eight steps.
    "transformers.activations.NewGELUActivation": lambda part: partial(functional.gelu, approximate="tanh"),
}


def _hooks(part: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """Return what the forward hooks of a part make of its output, which did not come from calling it."""
    hooks = list(part._forward_hooks.values())
    if not hooks:
        return lambda given, output: output

    def run(given: Tensor, output: Tensor) -> Tensor:
        for hook in hooks:
            changed = hook(part, (given,), output)
            output = output if changed is None else changed
        return output

    return run


def _turned(heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn each head's two halves (T, H, E) by its position's angles (Su et al., 2021)."""
    first, second = heads.chunk(2, -1)
    return heads * cosines + torch.cat([-second, first], -1) * sines
