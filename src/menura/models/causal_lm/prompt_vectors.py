"""Prompt vectors that a layer's attention also attends to (LLaMA-Adapter: Zhang et al., 2023).

Shape letters: ``…`` any leading dimensions, D width, P vectors, H heads, K key heads, E width of a head.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from menura.errors import ConfigError


class AttentionMaps(Protocol):
    """An attention's own linear maps, looked up at each call, as training swaps their weights."""

    @property
    def heads(self) -> int:
        """How many query heads there are."""

    @property
    def scaling(self) -> float:
        """The factor of the product of query and key."""

    def queries(self, hidden: Tensor) -> Tensor:
        """Map (…, D) to (…, H, E), not rotated to any position."""

    def keys_and_values(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Map (P, D) to keys and values (P, H, E), not rotated to any position."""

    def outward(self, heads: Tensor) -> Tensor:
        """Map (…, H, E) back to (…, D), without a bias: a closed gate must add zero."""


@dataclass(frozen=True)
class SeparateMaps:
    """The maps of a Llama-like attention; several heads may share a key head."""

    attention: Any  # a module; in training ``functional_call`` may replace its parameters by other tensors
    width: int  # of a head
    heads: int
    scaling: float

    def queries(self, hidden: Tensor) -> Tensor:
        """Map (…, D) to (…, H, E)."""
        return _by_head(self.attention.q_proj(hidden), self.width)

    def keys_and_values(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Map (P, D) to twice (P, H, E), each key head repeated for the heads that share it."""
        keys = _by_head(self.attention.k_proj(vectors), self.width)  # (P, K, E)
        values = _by_head(self.attention.v_proj(vectors), self.width)
        shared_by = self.heads // keys.shape[-2]
        return keys.repeat_interleave(shared_by, -2), values.repeat_interleave(shared_by, -2)

    def outward(self, heads: Tensor) -> Tensor:
        """Map (…, H, E) to (…, D)."""
        return functional.linear(heads.flatten(-2), self.attention.o_proj.weight)


@dataclass(frozen=True)
class FusedMaps:
    """The maps of GPT-2's attention: queries, keys and values side by side in one transposed matrix."""

    attention: Any  # a module; in training ``functional_call`` may replace its parameters by other tensors
    width: int  # of a head
    heads: int
    scaling: float

    def queries(self, hidden: Tensor) -> Tensor:
        """Map (…, D) to (…, H, E) through the first third."""
        width = hidden.shape[-1]
        weight, bias = self._weights()
        return _by_head(hidden @ weight[:, :width] + bias[:width], self.width)

    def keys_and_values(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Map (P, D) to twice (P, H, E) through the other two thirds."""
        width = vectors.shape[-1]
        weight, bias = self._weights()
        keys, values = (vectors @ weight[:, width:] + bias[width:]).chunk(2, -1)
        return _by_head(keys, self.width), _by_head(values, self.width)

    def outward(self, heads: Tensor) -> Tensor:
        """Map (…, H, E) to (…, D)."""
        mapped: Tensor = heads.flatten(-2) @ self.attention.c_proj.weight
        return mapped

    def _weights(self) -> tuple[Tensor, Tensor]:
        return self.attention.c_attn.weight, self.attention.c_attn.bias


def _by_head(mapped: Tensor, width: int) -> Tensor:
    """Split (…, H E) into (…, H, E)."""
    return mapped.view(*mapped.shape[:-1], -1, width)


def attention_maps(attention: nn.Module) -> AttentionMaps:
    """Return the maps of an attention of known layout; ConfigError if the layout would be a guess."""
    children = dict(attention.named_children())
    width, scaling = getattr(attention, "head_dim", 0), getattr(attention, "scaling", 0.0)
    normed = {"q_norm", "k_norm", "query_layernorm", "key_layernorm"} & children.keys()
    if width and scaling and not normed:
        if {"q_proj", "k_proj", "v_proj", "o_proj"} <= children.keys():
            outputs = children["q_proj"].get_parameter("weight").shape[0]
            return SeparateMaps(attention, int(width), outputs // int(width), float(scaling))
        # Only GPT-2's family keeps its maps transposed, and it alone is known to put queries, keys, values in thirds.
        if {"c_attn", "c_proj"} <= children.keys() and not isinstance(children["c_attn"], nn.Linear):
            outputs = children["c_proj"].get_parameter("weight").shape[0]
            return FusedMaps(attention, int(width), outputs // int(width), float(scaling))
    raise ConfigError(
        f"{type(attention).__name__}: prompt vectors do not know how it maps queries, keys and values",
        hint="use --set model.adapters.kind=houlsby or lora",
    )


class PromptVectors(nn.Module):
    """P vectors that an attention attends to with its own maps; one gate per head, initially zero, scales the result.

    The softmax runs over the vectors alone ("zero-initialised attention"), and neither queries nor keys are rotated, so
    that what is added at a position depends on that position's hidden state only. The first step moves only the gate,
    the vectors follow.
    """

    neutral: ClassVar[Mapping[str, float]] = {"gate": 0}

    def __init__(self, width: int, size: int, heads: int) -> None:
        super().__init__()
        # They take the place of the attention's input, which is the output of a norm: hence a scale of one.
        self.vectors = nn.Parameter(torch.randn(size, width))
        self.gate = nn.Parameter(torch.zeros(heads))

    def forward(self, maps: AttentionMaps, hidden: Tensor, output: Tensor) -> Tensor:
        """Add to an attention's output (…, D) the gated attention of its input ``hidden`` (…, D) to the vectors."""
        keys, values = maps.keys_and_values(self.vectors.to(hidden.dtype))  # the base's maps want its own dtype
        scores = torch.einsum("...he,phe->...hp", maps.queries(hidden), keys) * maps.scaling
        read = torch.einsum("...hp,phe->...he", scores.softmax(-1).to(values.dtype), values)
        return output + maps.outward((read * self.gate[:, None]).to(hidden.dtype)).to(output.dtype)

    def can_learn(self) -> bool:
        """The gate's gradient is zero if the vectors are, the vectors' is if the gate is: not both may be zero."""
        return bool(torch.any(self.vectors)) or bool(torch.any(self.gate))
