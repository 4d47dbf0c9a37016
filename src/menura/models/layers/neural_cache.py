"""A person's own words beside the weights: what followed where the network was in a like state (Grave et al., 2017).

Shape letters: N cached tokens, D width, V vocabulary, … any leading dimensions.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from menura.errors import ConfigError

WEIGHT, TEMPERATURE = 0.05, 0.02  # what they give: docs/results/adaptation.md


@dataclass(frozen=True)
class NeuralCache:
    """States and the tokens that followed them, mixed into a model's distribution.

    ``p(w) = (1 − weight) p_model(w) + weight Σᵢ [tokenᵢ = w] softmaxᵢ(cos(state, keyᵢ) / temperature)``: the continuous
    cache of Grave et al. (2017, Eq. 2 to 4) with cosine for the inner product.
    """

    keys: Tensor  # (N, D) hidden states before each token, of length 1
    tokens: Tensor  # (N,) int64
    weight: float = WEIGHT
    temperature: float = TEMPERATURE

    def __post_init__(self) -> None:
        """Refuse a weight that is no share."""
        if not 0 < self.weight < 1:
            raise ConfigError(f"cache weight: {self.weight}, must be between 0 and 1")

    @classmethod
    def of(cls, states: Tensor, tokens: Tensor) -> "NeuralCache":
        """Return the cache of states (N, D) and the tokens (N,) that followed them; keys have half precision."""
        return cls(nn.functional.normalize(states.detach().float(), dim=-1).half().float(), tokens)

    def weighing(self, weight: float) -> "NeuralCache":
        """Return the cache with another weight."""
        return replace(self, weight=weight)

    def mixed(self, logits: Tensor, states: Tensor) -> Tensor:
        """Return the mixture's log-probabilities (…, V), from a model's logits (…, V) and its states (…, D)."""
        flat = states.detach().float().reshape(-1, states.shape[-1])
        similarity = nn.functional.normalize(flat, dim=-1) @ self.keys.to(flat.device).T
        shares = (similarity / self.temperature).softmax(-1)  # (M, N)
        cached = shares.new_zeros((len(flat), logits.shape[-1]))
        cached = cached.index_add_(1, self.tokens.to(flat.device), shares).view(logits.shape)
        own = logits.log_softmax(-1) + math.log1p(-self.weight)
        return torch.logaddexp(own, cached.log() + math.log(self.weight))
