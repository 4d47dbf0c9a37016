"""The layer that encoder and decoder share, with one attention for all streams (AR, Eq. 1, 2; AR+, Eq. 5).

Shape letters: B rows, T queries, S keys, D width, H heads, d = D/H, F width of the feed-forward network, R its rank; of
keys and values R rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from menura.models.layers.adapters import Houlsby
from menura.models.layers.dropout import dropped

KeyValues = tuple[Tensor, Tensor]  # keys and values, (B, H, S, d) each
Gates = tuple[Tensor, Tensor]  # of attention and of the network, () each
Weights = tuple[Tensor, Tensor | None]  # of a map, and its bias


@dataclass(frozen=True)
class Routed:
    """The output of a layer's attention: all streams weighted (Eq. 1), and persona plus context unweighted."""

    merged: Tensor  # (B, T, D)
    fixed: Tensor | None = None  # (B, T, D) O_T + O_C


Attends = Callable[["SharedAttention", Tensor], Routed]


class SharedAttention(nn.Module):
    """Multi-head attention: one set of maps for self-attention, the context and the persona."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def all_of(self, x: Tensor) -> Tensor:
        """Return queries, keys and values (3, B, H, T, d) of (B, T, D)."""
        every: Tensor = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return every

    def kept_of(self, streams: Sequence[Tensor]) -> list[KeyValues]:
        """Return keys and values of streams (·, S, D) by one projection of all of them."""
        width = streams[0].shape[-1]
        line = torch.cat([stream.reshape(-1, width) for stream in streams])
        both = nn.functional.linear(line, self.qkv.weight[width:], self.qkv.bias[width:])
        kept = []
        for stream, part in zip(streams, torch.split(both, [s[..., 0].numel() for s in streams]), strict=True):
            keys, values = part.view(*stream.shape[:2], 2, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
            kept.append((keys.contiguous(), values.contiguous()))  # they are used again for each token
        return kept

    def attend(self, q: Tensor, kept: KeyValues, shut: Tensor | None) -> Tensor:
        """Return attention outputs (B, T, D), before the output projection, of queries (B, H, T, d).

        Keys and values are (R, H, S, d) of R = B rows, or of one that serves all; ``shut``, (R, 1, 1, S) or (T, S), is
        −inf where a key is masked, else 0.
        """
        keys, values = kept
        if self.training and self.dropout > 0:  # the fused kernel's dropout is slow,
            scores = (q @ keys.transpose(-1, -2)) * q.shape[-1] ** -0.5
            scores = scores if shut is None else scores + shut
            heard = dropped(scores.softmax(-1), self.dropout) @ values
        elif q.shape[2] == 1:  # and its overhead for one query is large
            heard = _heard_by_one(q, keys, values, shut)
        else:
            heard = nn.functional.scaled_dot_product_attention(q, keys, values, shut)
        return heard.transpose(1, 2).flatten(2)

    def heard_of_said(self, q: Tensor, said: Tensor) -> Tensor:
        """Return (B, 1, D), as ``attend`` does, of one query (B, H, 1, d) over all of ``said`` (T, 2, B, H, d)."""
        keys, values = said.unbind(1)
        scores = (keys * (q * q.shape[-1] ** -0.5).squeeze(2)).sum(-1, keepdim=True)
        heard: Tensor = (scores.softmax(0) * values).sum(0)
        return heard.flatten(1).unsqueeze(1)

    def outputs(self, heard: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the outputs of each stream (B, T, D), after one common output projection."""
        projected: tuple[Tensor, ...] = self.out(torch.cat(list(heard))).chunk(len(heard))
        return projected


def _heard_by_one(q: Tensor, keys: Tensor, values: Tensor, shut: Tensor | None) -> Tensor:
    """Return (B, H, 1, d) of queries (B, H, 1, d), in few operations: for so little data overhead is the cost.

    Shapes are those of ``SharedAttention.attend``.
    """
    shared = len(keys) < len(q)  # one row of keys: the batch becomes its queries
    asked = q * q.shape[-1] ** -0.5
    asked = asked.transpose(0, 2) if shared else asked
    rows, heads, queries, width = asked.shape
    scores = torch.bmm(asked.flatten(0, 1), keys.flatten(0, 1).transpose(1, 2)).view(rows, heads, queries, -1)
    shares = (scores if shut is None else scores + shut).softmax(-1)
    heard = torch.bmm(shares.flatten(0, 1), values.flatten(0, 1)).view(rows, heads, queries, width)
    return heard.transpose(0, 2) if shared else heard


def attention_mask_of(real: Tensor) -> Tensor:
    """Return the attention mask of real places (R, S): all True in a row without any, as an empty row is NaN."""
    return real | ~real.any(1, keepdim=True)


def additive_mask(real: Tensor, dtype: torch.dtype) -> Tensor:
    """Return (R, 1, 1, S), 0 where ``seen_of`` is True, else −inf."""
    shut = torch.zeros(real.shape, dtype=dtype, device=real.device)
    return shut.masked_fill_(~attention_mask_of(real), float("-inf"))[:, None, None]


class FullFeedForward(nn.Module):
    """The usual feed-forward network, D to F to D."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, inner), nn.Linear(inner, width)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, D) to (…, D)."""
        wide = dropped(self.inner(x).relu(), self.dropout * self.training)
        output: Tensor = self.outer(wide)
        return output


class FactorFeedForward(nn.Module):
    """D to R to F to R to D (AR+, factorised feed-forward; spec B7).

    ``release`` computes what the public program does: the nonlinearity is at R and not at F, so that the two maps
    around F are one linear map of R to R. Otherwise W = UV replaces each map, with the nonlinearity at F alone.
    """

    def __init__(self, width: int, inner: int, rank: int, dropout: float, *, release: bool) -> None:
        super().__init__()
        self.release, self.dropout = release, dropout
        self.narrow, self.widen = nn.Linear(width, rank, bias=release), nn.Linear(rank, inner)
        self.narrow_again, self.widen_again = nn.Linear(inner, rank, bias=release), nn.Linear(rank, width)
        self.recomputed = False

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, D) to (…, D)."""
        narrow = self.narrow(x)
        if self.release:
            narrow = narrow.relu()
        recomputed = self.recomputed and self.training and torch.is_grad_enabled()
        # When it is recomputed the model may be in evaluation mode: the dropout share is fixed now.
        # The same holds for its weights, which ``functional_call`` may swap for one call.
        up, down = ((linear.weight, linear.bias) for linear in (self.widen, self.narrow_again))
        given = (narrow, self.dropout * self.training, up, down)
        low = checkpoint(self._wide, *given, use_reentrant=False) if recomputed else self._wide(*given)
        output: Tensor = self.widen_again(low)
        return output

    def _wide(self, narrow: Tensor, dropout: float, up: Weights, down: Weights) -> Tensor:
        """Map (…, R) to (…, R) through F, the only part that is wide."""
        wide = _mapped(narrow, up)
        wide = wide if self.release else wide.relu()
        low = _mapped(dropped(wide, dropout), down)
        return low.relu() if self.release else low


def _mapped(x: Tensor, weights: Weights) -> Tensor:
    """Apply a linear map in autocast's dtype: autocast caches its casts, which would differ when recomputed."""
    kind = x.device.type
    weight, bias = weights
    if not torch.is_autocast_enabled(kind):
        return nn.functional.linear(x, weight, bias)
    dtype = torch.get_autocast_dtype(kind)
    with torch.autocast(kind, enabled=False):
        return nn.functional.linear(x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype))


def feed_forward(
    kind: Literal["full", "factor_release", "factor_fixed"], sizes: tuple[int, int, int], dropout: float
) -> nn.Module:
    """Return a feed-forward network of (D, F, R)."""
    width, inner, rank = sizes
    if kind == "full":
        return FullFeedForward(width, inner, dropout)
    return FactorFeedForward(width, inner, rank, dropout, release=kind == "factor_release")


class RoutedLayer(nn.Module):
    """One layer of encoder and decoder; the caller passes what it attends to.

    Without ReZero the skip path is normalised, with a second norm after attention (AR). With it, gates scale what
    attention and feed-forward network add; ``normed_skip`` normalises the skip path, too.
    """

    def __init__(
        self, attention: SharedAttention, network: nn.Module, *, rezero: bool, normed_skip: bool, bias: float
    ) -> None:
        super().__init__()
        self.attention, self.network = attention, network
        width = attention.out.out_features
        self.norm = nn.LayerNorm(width)
        self.middle_norm = None if rezero else nn.LayerNorm(width)
        self.normed_skip, self.bias = normed_skip, bias
        self.adapters: nn.ModuleList | None = None

    def adapt_with(self, size: int) -> None:
        """Add Houlsby adapters after attention and network; they change nothing yet (F-A16: in the decoder, too)."""
        self.adapters = nn.ModuleList(Houlsby(self.attention.out.out_features, size) for _ in range(2))

    def forward(self, x: Tensor, attends: Attends, gates: Gates | None) -> Tensor:
        """Map (B, T, D) to (B, T, D); ``gates`` are those of attention and network, None without ReZero."""
        normed = self.norm(x)
        found = attends(self.attention, normed)
        if gates is None:
            assert self.middle_norm is not None
            y = self.middle_norm(normed + self._given(0, found.merged))
            output: Tensor = y + self._given(1, self.network(y))
            return output
        x = (normed if self.normed_skip else x) + gates[0] * self._given(0, found.merged)
        if found.fixed is not None:
            x = x + self.bias * found.fixed
        return x + gates[1] * self._given(1, self.network(x))

    def _given(self, which: int, output: Tensor) -> Tensor:
        adapted = self.adapters[which](None, output) if self.adapters is not None else output
        return dropped(adapted, self.attention.dropout * self.training)
