"""GPT-2 as plain functions. Shape letters: those of ``functional_layers``."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from menura.models.causal_lm.functional_layers import (
    AttentionInputs,
    FunctionalLayer,
    Rope,
    hooks_of,
    linear_map,
)


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

    window: int | None = None

    def __init__(self, block: Any) -> None:
        attention, inner = block.attn, block.mlp
        self._shape, self._scale = (3, -1, attention.head_dim), attention.scaling
        self._norms = linear_map(block.ln_1), linear_map(block.ln_2)
        self._qkv, self._out = linear_map(attention.c_attn), linear_map(attention.c_proj)
        self._up, self._act, self._down = linear_map(inner.c_fc), linear_map(inner.act), linear_map(inner.c_proj)
        self._behind = hooks_of(attention), hooks_of(inner)

    def qkv(self, hidden: Tensor, rope: Rope) -> AttentionInputs:
        """Map to queries, keys and values at once."""
        del rope
        inputs = self._norms[0](hidden)
        queries, keys, values = self._qkv(inputs).view(inputs.shape[0], *self._shape).unbind(1)
        return AttentionInputs(inputs, queries, keys, values, self._scale)

    def finish(self, hidden: Tensor, inputs: Tensor, heads: Tensor) -> Tensor:
        """Apply the output map, then the feed-forward network."""
        hidden = self._behind[0](inputs, self._out(heads)) + hidden
        inputs = self._norms[1](hidden)
        return hidden + self._behind[1](inputs, self._down(self._act(self._up(inputs))))


def gpt2_fits(config: Any) -> bool:
    """Tell whether this GPT-2 is the plain one."""
    return not (config.reorder_and_upcast_attn or config.add_cross_attention)
