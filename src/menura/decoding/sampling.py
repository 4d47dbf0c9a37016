"""How the next token is chosen. Shape letters: B rows, V vocabulary, K kept tokens.

Every choice turns logits, log-probabilities up to a constant per row, and one uniform random number per row into one
token per row. Each row has its own seed, so its reply does not depend on the rest of the batch.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from menura.errors import ConfigError
from menura.models.layers.argmax import blocked_argmax

FIRST_LOOK = 256  # tokens sorted first, before the whole vocabulary; enough if their mass exceeds p


class Choice(Protocol):
    """A way to choose the next token: greedy, top-k, nucleus (top-p), full sampling."""

    def choose(self, scores: Tensor, uniform: Tensor) -> Tensor:
        """Return (B,) token ids, from (B, V) scores and (B,) numbers in [0, 1)."""

    @property
    def signature(self) -> str:
        """The line that identifies this decoding."""


@dataclass(frozen=True)
class Greedy:
    """The likeliest token; of equals the lowest id."""

    def choose(self, scores: Tensor, uniform: Tensor) -> Tensor:
        """Return (B,) the likeliest tokens."""
        del uniform
        return blocked_argmax(scores)

    @property
    def signature(self) -> str:
        """The line that identifies this decoding."""
        return "greedy"


@dataclass(frozen=True)
class Nucleus:
    """Top-p sampling: from the smallest set of likeliest tokens whose mass reaches ``p`` (Holtzman et al., 2020).

    The token that crosses ``p`` is kept. p = 1 samples from all, p near 0 is greedy.
    """

    p: float = 0.92
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a ``p`` that is no share."""
        if not 0 < self.p <= 1:
            raise ConfigError(f"nucleus p: {self.p}, must be above 0 and at most 1")
        _check_temperature(self.temperature)

    def choose(self, scores: Tensor, uniform: Tensor) -> Tensor:
        """Return (B,) sampled ids."""
        scaled = (scores / self.temperature).log_softmax(-1)
        probabilities, ids = scaled.exp().topk(min(FIRST_LOOK, scaled.shape[-1]), -1)
        chosen = self._sampled(probabilities, ids, uniform)
        short = probabilities.sum(-1) < self.p
        if bool(short.any()):  # these rows alone, as rows must not depend on each other
            probabilities, ids = scaled[short].exp().sort(-1, descending=True)
            chosen[short] = self._sampled(probabilities, ids, uniform[short])
        return chosen

    def _sampled(self, probabilities: Tensor, ids: Tensor, uniform: Tensor) -> Tensor:
        # A token is kept if the mass before it has not yet reached p.
        kept = probabilities.cumsum(-1) - probabilities < self.p
        return _drawn(probabilities * kept, ids, uniform)

    @property
    def signature(self) -> str:
        """The line that identifies this decoding."""
        return f"nucleus(p={self.p}, temperature={self.temperature})"


@dataclass(frozen=True)
class TopK:
    """Sample from the ``k`` likeliest tokens (Fan et al., 2018)."""

    k: int = 40
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a ``k`` that keeps no token."""
        if self.k < 1:
            raise ConfigError(f"top-k: {self.k}, must be at least 1")
        _check_temperature(self.temperature)

    def choose(self, scores: Tensor, uniform: Tensor) -> Tensor:
        """Return (B,) sampled ids."""
        scaled, ids = (scores / self.temperature).topk(min(self.k, scores.shape[-1]), -1)
        return _drawn(scaled.softmax(-1), ids, uniform)

    @property
    def signature(self) -> str:
        """The line that identifies this decoding."""
        return f"top-k(k={self.k}, temperature={self.temperature})"


@dataclass(frozen=True)
class MinP:
    """Sample from the tokens at least ``p`` times as likely as the likeliest (Nguyen et al., 2024).

    Where the model is sure few tokens are kept, where it is not many. The temperature comes after the choice of tokens,
    so that a high one brings in no unlikely token.
    """

    p: float = 0.05
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a ``p`` that is no share."""
        if not 0 < self.p <= 1:
            raise ConfigError(f"min-p: {self.p}, must be above 0 and at most 1")
        _check_temperature(self.temperature)

    def choose(self, scores: Tensor, uniform: Tensor) -> Tensor:
        """Return (B,) sampled ids."""
        least = scores.max(-1, keepdim=True).values + math.log(self.p)
        kept = scores >= least
        probabilities = (scores / self.temperature).masked_fill(~kept, -math.inf).softmax(-1)
        most = int(kept.sum(-1).max())
        probabilities, ids = probabilities.topk(most, -1)
        return _drawn(probabilities, ids, uniform)

    @property
    def signature(self) -> str:
        """The line that identifies this decoding."""
        return f"min-p(p={self.p}, temperature={self.temperature})"


@dataclass(frozen=True)
class Penalised:
    """Another choice, after the tokens that a reply has already became less likely (Keskar et al., 2019).

    Their log-probability is multiplied by ``penalty``. Tokens of the context are not penalised: a person's own words
    are there.
    """

    choice: Choice
    penalty: float = 1.1

    def __post_init__(self) -> None:
        """Refuse a penalty that would reward."""
        if self.penalty < 1:
            raise ConfigError(f"repetition penalty: {self.penalty}, must be at least 1", hint="1 is none")

    def choose(self, scores: Tensor, uniform: Tensor) -> Tensor:
        """Return (B,) token ids where nothing was written yet."""
        return self.choice.choose(scores, uniform)

    def penalised(self, scores: Tensor, written: Tensor) -> Tensor:
        """Return (B, V) log-probabilities up to a constant, from scores and the tokens (B, T) of the replies so far."""
        log_probs = scores.log_softmax(-1)
        return log_probs.scatter(-1, written, self.penalty * log_probs.gather(-1, written))

    @property
    def signature(self) -> str:
        """The line that identifies this decoding."""
        return f"{self.choice.signature}, repetition_penalty={self.penalty}"


def _drawn(probabilities: Tensor, ids: Tensor, uniform: Tensor) -> Tensor:
    """Pick by where ``uniform`` falls in the cumulative sum of weights (B, K); they need not sum to 1."""
    running = probabilities.double().cumsum(-1)
    point = (uniform.double() * running[:, -1])[:, None]
    place = (running <= point).sum(-1, keepdim=True).clamp(max=ids.shape[-1] - 1)
    return ids.gather(-1, place)[:, 0]


def _check_temperature(temperature: float) -> None:
    if temperature <= 0:
        raise ConfigError(f"temperature: {temperature}, must be above 0", hint="use --greedy for the likeliest reply")


def uniforms(seed: int, count: int) -> Tensor:
    """Return one row's random numbers: ``count`` in [0, 1)."""
    return torch.rand(count, generator=torch.Generator().manual_seed(seed))
