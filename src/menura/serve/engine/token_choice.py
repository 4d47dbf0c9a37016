"""The logits of a running batch become one token for each row, by the settings and the random stream of that row.

Shape letters: B rows, V vocabulary.
"""

import math
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from menura.batches.tokenizer import Tokenizer
from menura.decoding.sampling import Choice, Greedy, MinP, Nucleus, Penalised, TopK, uniforms
from menura.errors import ConfigError
from menura.serve.generation import Sampling, TokenLogprob
from menura.serve.settings import SAMPLING_RANGES

SEEDS = 1 << 31
SMALLEST_TOP_P = 1e-6  # for 0, which other servers read as: the likeliest token alone


@dataclass
class TokenChoice:
    """How one row's tokens are chosen, and those that were: its settings, its random numbers, its reply so far."""

    sampling: Sampling
    uniforms: Tensor  # (max_new_tokens,) in [0, 1)
    ends: tuple[int, ...]
    min_new_tokens: int = 0
    written: list[int] = field(default_factory=list)

    @property
    def choice(self) -> Choice:
        """The way that a token is drawn, after ``adjusted``."""
        asked = self.sampling
        if asked.temperature == 0:
            return Greedy()
        if asked.min_p:
            return MinP(asked.min_p, asked.temperature)
        if asked.top_k and asked.top_p == 1:
            return TopK(asked.top_k, asked.temperature)
        return Nucleus(max(asked.top_p, SMALLEST_TOP_P), asked.temperature)

    @property
    def uniform(self) -> Tensor:
        """The random number () of the next token."""
        return self.uniforms[len(self.written)]

    @property
    def adjusts(self) -> bool:
        """Whether the logits of the next token are changed before it is drawn."""
        asked = self.sampling
        penalised = asked.presence_penalty or asked.frequency_penalty or asked.repetition_penalty != 1
        narrowed = asked.top_k and (asked.top_p < 1 or asked.min_p)
        early = len(self.written) < self.min_new_tokens
        return bool(asked.logit_bias or narrowed or early or (penalised and self.written))

    def adjusted(self, logits: Tensor) -> Tensor:
        """Return (V,) logits with biases, penalties and the top-k of the request; the end not before its time."""
        asked = self.sampling
        if self.written and asked.repetition_penalty != 1:
            by = Penalised(Greedy(), asked.repetition_penalty)
            logits = by.penalised(logits[None], torch.tensor([self.written], device=logits.device))[0]
        logits = logits.clone()
        if self.written and (asked.presence_penalty or asked.frequency_penalty):
            for token, count in Counter(self.written).items():
                logits[token] -= asked.presence_penalty + asked.frequency_penalty * count
        for token, bias in asked.logit_bias.items():
            if token < len(logits):
                logits[token] += bias
        if len(self.written) < self.min_new_tokens:
            logits[list(self.ends)] = -math.inf
        if asked.top_k and asked.top_k < len(logits):
            logits[logits < logits.topk(asked.top_k).values[-1]] = -math.inf
        return logits


def check_sampling(sampling: Sampling) -> None:
    """Raise ConfigError ``invalid_value`` for settings out of range, before any other request runs beside."""
    for name, (least, most) in SAMPLING_RANGES.items():
        value = getattr(sampling, name)
        for one in value.values() if name == "logit_bias" else [] if value is None else [value]:
            if not least <= one <= most:  # NaN neither
                message = f"{name} {one}: a number from {least:g} to {most:g} wanted"
                raise ConfigError(message, code="invalid_value")
    wrong = next((token for token in sampling.logit_bias if token < 0), None)
    if wrong is not None:
        raise ConfigError(f"logit_bias of {wrong}: a token id wanted", code="invalid_value")


def seed_of(sampling: Sampling) -> int:
    """Return the seed that was asked for, or a new one."""
    return secrets.randbelow(SEEDS) if sampling.seed is None else sampling.seed


def token_choices(
    sampling: Sampling, count: int, ends: Sequence[int], *, max_new_tokens: int, min_new_tokens: int
) -> list[TokenChoice]:
    """Return the choices of ``count`` replies to one prompt; reply i is sampled with the seed plus i."""
    first = seed_of(sampling)
    return [
        TokenChoice(sampling, uniforms(first + number, max_new_tokens), tuple(ends), min_new_tokens)
        for number in range(count)
    ]


def chosen(logits: Tensor, rows: Sequence[TokenChoice]) -> list[int]:
    """Return each row's next token, from logits (B, V); a row's token depends on no other row."""
    if any(row.adjusts for row in rows):
        logits = torch.stack([row.adjusted(own) if row.adjusts else own for row, own in zip(rows, logits, strict=True)])
    alike: dict[Choice, list[int]] = {}
    for place, row in enumerate(rows):
        alike.setdefault(row.choice, []).append(place)
    tokens = [0] * len(rows)
    for choice, places in alike.items():
        uniform = torch.stack([rows[place].uniform for place in places]).to(logits.device)
        scores = logits if len(places) == len(rows) else logits[places]
        for place, token in zip(places, choice.choose(scores, uniform).tolist(), strict=True):
            tokens[place] = token
    return tokens


def with_logprob(logits: Tensor, token: int, top: int, tokenizer: Tokenizer) -> TokenLogprob:
    """Return a token with its log-probability under logits (V,), unadjusted, and those of the ``top`` likeliest."""
    log_probs = logits.log_softmax(-1)
    values, ids = log_probs.topk(top)
    pairs = zip(ids.tolist(), values.tolist(), strict=True)
    likeliest = tuple((tokenizer.decode([id]), value) for id, value in pairs)
    return TokenLogprob(tokenizer.decode([token]), float(log_probs[token]), likeliest)
