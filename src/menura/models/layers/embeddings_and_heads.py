"""Embeddings and heads of a unified transformer. Shape letters: V vocabulary, D width, K latents."""

from typing import Literal

import torch
from torch import Tensor, nn

from menura.batches.chat_format import SPECIAL_TOKENS
from menura.batches.plato_inputs import PlatoInputs
from menura.models.layers.packed_linear import PackedLinear, PackedWeight, linear
from menura.models.layers.transformer import Sizes

DEVIATION = 0.02  # of weights that no base has: BERT's initialisation


class Embeddings(nn.Module):
    """The sum of token, role, turn and position embeddings, then one norm (PLATO, A3); a turn below 0 adds nothing.

    A pre-norm network, such as GPT-2, has no norm here.
    """

    def __init__(self, sizes: Sizes, roles: int, turns: int, *, normed: bool = True) -> None:
        super().__init__()
        self.token = nn.Embedding(sizes.vocab_size, sizes.hidden_size)
        self.role = nn.Embedding(roles, sizes.hidden_size)
        self.turn = nn.Embedding(turns, sizes.hidden_size)
        self.position = nn.Embedding(sizes.max_positions, sizes.hidden_size)
        self.norm = nn.LayerNorm(sizes.hidden_size, eps=sizes.epsilon) if normed else nn.Identity()
        for table in (self.token, self.role, self.turn, self.position):
            nn.init.normal_(table.weight, std=DEVIATION)

    def forward(self, read: PlatoInputs) -> Tensor:
        """Return (B, L, D)."""
        turn = self.turn(read.turn.clamp(min=0)) * (read.turn >= 0).unsqueeze(-1)
        place = self.position(read.position.clamp(max=self.position.num_embeddings - 1))
        role = self.role(read.role.clamp(max=self.role.num_embeddings - 1))
        embedded: Tensor = self.norm(self.token(read.ids) + role + turn + place)
        return embedded

    def slot(self, vector: Tensor) -> Tensor:
        """Return the head slot (…, D): its vector alone, under the same norm."""
        embedded: Tensor = self.norm(vector)
        return embedded


class Transform(nn.Module):
    """BERT's transform before the vocabulary: a linear map, GELU, a norm."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.dense = PackedLinear(sizes.hidden_size, sizes.hidden_size)
        self.norm = nn.LayerNorm(sizes.hidden_size, eps=sizes.epsilon)
        nn.init.normal_(self.dense.weight, std=DEVIATION)
        nn.init.zeros_(self.dense.bias)

    def forward(self, states: Tensor) -> Tensor:
        """Map (…, D) to (…, D)."""
        transformed: Tensor = self.norm(nn.functional.gelu(self.dense(states)))
        return transformed


class MaskedWordHead(nn.Module):
    """BERT's masked-language-model head, tied to the token embeddings."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.transform = Transform(sizes)
        self.bias = nn.Parameter(torch.zeros(sizes.vocab_size))
        self.packed = PackedWeight()

    def forward(self, states: Tensor, table: Tensor) -> Tensor:
        """Return logits (…, V) of states (…, D)."""
        return self.packed.linear(self.transform(states), table, self.bias)


class BagOfWords(nn.Module):
    """Predicts the bag of words of a reply from the head slot's state (PLATO, Eq. 6)."""

    def __init__(self, sizes: Sizes, kind: Literal["separate", "tied", "transform"], *, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(sizes.vocab_size, sizes.hidden_size)) if kind == "separate" else None
        if self.weight is not None:
            nn.init.normal_(self.weight, std=DEVIATION)
        self.transform = Transform(sizes) if kind == "transform" else None
        self.bias = nn.Parameter(torch.zeros(sizes.vocab_size)) if bias else None

    def forward(self, states: Tensor, table: Tensor) -> Tensor:
        """Return logits (…, V) of states (…, D)."""
        if self.transform is not None:
            states = self.transform(states)
        return linear(states, table if self.weight is None else self.weight, self.bias)


class Prior(nn.Module):
    """p(z | c) from the context's states: attention of one learned query, then a map; initially uniform."""

    def __init__(self, width: int, latents: int) -> None:
        super().__init__()
        self.asks = nn.Parameter(torch.zeros(width))
        self.out = nn.Linear(width, latents)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return log p(z | c) (B, K) of states (B, C, D), where ``mask`` (B, C) is True; a context may be empty."""
        scores = (states @ self.asks).masked_fill(~mask, float("-inf"))
        # An extra place with score 0 and state 0, so that an empty context is no division by 0.
        weights = torch.cat([scores, scores.new_zeros((len(scores), 1))], 1).softmax(-1)[:, :-1]
        logits: Tensor = self.out(weights.unsqueeze(1).matmul(states).squeeze(1))
        return logits.log_softmax(-1)


def wide(values: Tensor) -> Tensor:
    """Return values in at least float32, which sums over the vocabulary need."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def special_rows(table: nn.Embedding, dtype: torch.dtype) -> nn.Parameter:
    """Return trainable embeddings (S, D) of the chat format's own tokens: the mean embedding plus a little noise."""
    mean = table.weight.detach().to(dtype).mean(0)
    return nn.Parameter(mean + 0.01 * mean.std() * torch.randn(len(SPECIAL_TOKENS), len(mean), device=mean.device))
