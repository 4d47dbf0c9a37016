"""The layers of known networks as plain functions of the modules' own weights: what all families share.

The forward pass of transformers spends much of a small network's time on masks, caches and checks. Here a layer is two
halves with the attention left out between them, so that the same code serves packed rows of unequal length and a
single further token. The weights are those that the modules hold when a pass begins: ``functional_call`` swaps them.

Hooks behind a linear map, an attention or a feed-forward module are run here; a map with hooks in front of it is
called as a module, so that they run. Dropout is never applied: the network trains in evaluation mode.

Shape letters: T tokens of all rows concatenated, D width, H heads, K key heads, E width of a head.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from menura.models.layers.packed_linear import linear, linear_of

Rope = Any  # the family's own: cosines and sines (T, 1, E) of the rotary position embedding, one pair or several
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

    window: int | None  # tokens that a token attends to, itself included; None: all before it

    def qkv(self, hidden: Tensor, rope: Rope) -> AttentionInputs:
        """Return queries, keys and values, from the layer's input (T, D)."""

    def finish(self, hidden: Tensor, inputs: Tensor, heads: Tensor) -> Tensor:
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


def qualified_name(part: nn.Module) -> str:
    """Return module and name of a module's class: a subclass may compute something else, so it is not its parent."""
    return f"{type(part).__module__}.{type(part).__name__}"


def linear_map(part: Any) -> LinearMap:
    """Return the linear map of a module on (T, D), with its forward hooks, as a function.

    A module with hooks in front of it, or of a kind without a function, is called itself.
    """
    fast = FAST_MAPS.get(qualified_name(part))
    if fast is None or part._forward_pre_hooks or part._forward_hooks_with_kwargs:
        return part if part._forward_hooks or part._forward_pre_hooks else part.forward  # type: ignore[no-any-return]
    mapped = fast(part)
    if not part._forward_hooks:
        return mapped
    run = hooks_of(part)
    return lambda states: run(states, mapped(states))


def _transposed(part: Any) -> LinearMap:
    weight, bias = part.weight, part.bias
    return lambda states: linear(states, weight.t(), bias)


def _root_mean_square(part: Any) -> LinearMap:
    weight = part.weight
    return partial(functional.rms_norm, normalized_shape=weight.shape, weight=weight, eps=part.variance_epsilon)


def _layer_norm(part: Any) -> LinearMap:
    shape, weight, bias, epsilon = part.normalized_shape, part.weight, part.bias, part.eps
    return lambda states: torch.layer_norm(states, shape, weight, bias, epsilon)


def _one_and_root_mean_square(part: Any) -> LinearMap:
    if part.weight.dtype in (torch.bfloat16, torch.float16):
        return part.forward  # type: ignore[no-any-return]  # one plus a weight loses the weight in half precision
    weight = 1.0 + part.weight
    return partial(functional.rms_norm, normalized_shape=weight.shape, weight=weight, eps=part.eps)


ROOT_MEAN_SQUARE = (
    "llama.modeling_llama.Llama",
    "qwen2.modeling_qwen2.Qwen2",
    "qwen3.modeling_qwen3.Qwen3",
    "mistral.modeling_mistral.Mistral",
    "granite.modeling_granite.Granite",
    "ernie4_5.modeling_ernie4_5.Ernie4_5",
    "smollm3.modeling_smollm3.SmolLM3",
)

FAST_MAPS: dict[str, Callable[[Any], LinearMap]] = {
    "transformers.pytorch_utils.Conv1D": _transposed,
    "torch.nn.modules.linear.Linear": linear_of,
    "torch.nn.modules.normalization.LayerNorm": _layer_norm,
    **{f"transformers.models.{name}RMSNorm": _root_mean_square for name in ROOT_MEAN_SQUARE},
    "transformers.models.gemma3.modeling_gemma3.Gemma3RMSNorm": _one_and_root_mean_square,
    # The same; the module takes eight steps.
    "transformers.activations.NewGELUActivation": lambda part: partial(functional.gelu, approximate="tanh"),
}


def hooks_of(part: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a function that applies a module's forward hooks to an output computed without calling the module."""
    hooks = list(part._forward_hooks.values())
    if not hooks:
        return lambda inputs, output: output

    def run(inputs: Tensor, output: Tensor) -> Tensor:
        for hook in hooks:
            changed = hook(part, (inputs,), output)
            output = output if changed is None else changed
        return output

    return run


def rotated(heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotate each head's two halves (T, H, E) by its position's angles (RoPE: Su et al., 2021)."""
    first, second = heads.chunk(2, -1)
    return heads * cosines + torch.cat([-second, first], -1) * sines


def rotated_in_pairs(heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotate each head's neighbouring numbers (T, H, E), each pair by an angle of its own."""
    turned = torch.stack([-heads[..., 1::2], heads[..., ::2]], -1).flatten(-2)
    return (heads * cosines + turned * sines).to(heads.dtype)  # ERNIE's angles are float32 whatever the heads are
