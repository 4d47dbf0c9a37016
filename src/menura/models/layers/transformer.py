"""Transformer layers that take their attention function from the caller.

Shape letters: B rows, N tokens, D width, H heads, d = D/H.
"""

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from menura.errors import ConfigError
from menura.models.layers.adapters import Houlsby
from menura.models.layers.attention_mask import Attend
from menura.models.layers.packed_linear import PackedLinear

Activation = Literal["gelu", "gelu_tanh"]


@dataclass(frozen=True)
class Sizes:
    """The sizes of a stack of layers; ``intermediate_size`` is the width of its feed-forward networks."""

    vocab_size: int
    hidden_size: int = 768
    num_layers: int = 12
    num_heads: int = 12
    intermediate_size: int = 3072
    max_positions: int = 512
    epsilon: float = 1e-12
    activation: Activation = "gelu"

    def __post_init__(self) -> None:
        """Refuse a width that the heads do not divide."""
        if self.hidden_size % self.num_heads:
            raise ConfigError(f"a width of {self.hidden_size} cannot be shared by {self.num_heads} heads")


class TransformerBlock(nn.Module):
    """Self-attention and a feed-forward network, each with its residual; norms after (BERT) or before (GPT-2) them."""

    def __init__(self, sizes: Sizes, *, pre_norm: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.pre_norm, self.dropout = sizes.num_heads, pre_norm, dropout
        self.activation = sizes.activation
        self.qkv = PackedLinear(sizes.hidden_size, 3 * sizes.hidden_size)
        self.out = PackedLinear(sizes.hidden_size, sizes.hidden_size)
        self.attention_norm = nn.LayerNorm(sizes.hidden_size, eps=sizes.epsilon)
        self.inner = PackedLinear(sizes.hidden_size, sizes.intermediate_size)
        self.outer = PackedLinear(sizes.intermediate_size, sizes.hidden_size)
        self.output_norm = nn.LayerNorm(sizes.hidden_size, eps=sizes.epsilon)
        self.adapters: nn.ModuleList | None = None

    def forward(self, x: Tensor, attend: Attend) -> Tensor:
        """Map (B, N, D) to (B, N, D)."""
        if self.pre_norm:
            x = x + self._attended(self.attention_norm(x), attend)
            return x + self._fed(self.output_norm(x))
        x = self.attention_norm(x + self._attended(x, attend))
        normed: Tensor = self.output_norm(x + self._fed(x))
        return normed

    def _attended(self, x: Tensor, attend: Attend) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self._given(0, self.out(attend(q, k, v).transpose(1, 2).flatten(2)))

    def _fed(self, x: Tensor) -> Tensor:
        inner = nn.functional.gelu(self.inner(x), approximate="tanh" if self.activation == "gelu_tanh" else "none")
        return self._given(1, self.outer(self.dropped(inner)))

    def _given(self, which: int, output: Tensor) -> Tensor:
        return self.dropped(self.adapters[which](None, output) if self.adapters else output)

    def dropped(self, x: Tensor) -> Tensor:
        """Apply dropout in training."""
        return nn.functional.dropout(x, self.dropout, self.training)


class Transformer(nn.Module):
    """A stack of layers, with a final norm if the layers are pre-norm."""

    def __init__(self, sizes: Sizes, *, pre_norm: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = sizes.num_heads
        self.blocks = nn.ModuleList(
            TransformerBlock(sizes, pre_norm=pre_norm, dropout=dropout) for _ in range(sizes.num_layers)
        )
        self.final_norm = nn.LayerNorm(sizes.hidden_size, eps=sizes.epsilon) if pre_norm else None

    def forward(self, x: Tensor, attends: "list[Attend]") -> Tensor:
        """Map (B, N, D) to (B, N, D); layer i attends through ``attends[i]``."""
        for block, attend in zip(self.blocks, attends, strict=True):
            x = block(x, attend)
        return x if self.final_norm is None else self.final_norm(x)

    def adapt_with(self, size: int, width: int) -> None:
        """Add two Houlsby adapters to every layer; they change nothing yet."""
        for block in self.blocks:
            assert isinstance(block, TransformerBlock)
            block.adapters = nn.ModuleList(Houlsby(width, size) for _ in range(2))


@dataclass(frozen=True)
class Masked:
    """Attention under a dense mask (B, 1, N, N), True where a query attends to a key."""

    mask: Tensor
    dropout: float = 0.0
    plain: bool = False  # the reference implementation, without the fused kernel

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend."""
        if self.plain:
            scores = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
            weights = scores.masked_fill(~self.mask, float("-inf")).softmax(-1)
            return nn.functional.dropout(weights, self.dropout, self.dropout > 0) @ v
        return nn.functional.scaled_dot_product_attention(q, k, v, self.mask, self.dropout)


@dataclass(frozen=True)
class Flexible:
    """Attention under FlexAttention's block mask."""

    mask: Any

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend."""
        from torch.nn.attention.flex_attention import flex_attention  # noqa: PLC0415  # slow to import

        found: Any = flex_attention(q, k, v, block_mask=self.mask)
        attended: Tensor = found
        return attended


@dataclass(frozen=True)
class Keeping:
    """Attention that appends its keys and values to ``kept``."""

    attend: Attend
    kept: list[tuple[Tensor, Tensor]]

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend, and keep."""
        # Copies: views would keep the queries in memory, and be copied at every step that reads them.
        self.kept.append((k.contiguous(), v.contiguous()))
        return self.attend(q, k, v)
