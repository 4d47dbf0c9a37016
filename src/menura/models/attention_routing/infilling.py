"""Text infilling: one mask token replaces a span of a reply, which AR+'s auxiliary task restores (spec B9)."""

import math
import random

Ids = tuple[int, ...]
PAIR = 0.99  # the probability of a span of two, if the reply is long enough
SHARE, MEAN = 0.3, 3.0  # BART's scheme: the share of masked tokens, and a span's mean length


def infilled(ids: Ids, mask: int, rng: random.Random, *, bart: bool = False) -> Ids:
    """Return a reply with one span replaced by ``mask``; the first and last token are never masked.

    Of three tokens none is masked, of four or five a span of one, of more a span of two, or, in one case of a hundred,
    a mask is inserted and nothing removed. ``bart`` masks spans of Poisson length until 30 % of the tokens are masked.
    """
    if bart:
        return _as_bart(ids, mask, rng)
    if len(ids) <= 3:
        return ids
    span = 1 if len(ids) < 6 else 2 if rng.random() < PAIR else 0
    return _without(ids, rng.randint(1, len(ids) - span - 1), span, mask)


def _as_bart(ids: Ids, mask: int, rng: random.Random) -> Ids:
    left = round(SHARE * (len(ids) - 2))
    while left > 0:
        span = min(_poisson(rng), left)
        start = rng.randint(1, len(ids) - span - 1)
        if mask not in ids[start : start + span]:
            ids, left = _without(ids, start, span, mask), left - span
    return ids


def _without(ids: Ids, start: int, span: int, mask: int) -> Ids:
    return (*ids[:start], mask, *ids[start + span :])


def _poisson(rng: random.Random) -> int:
    """Draw a Poisson number of mean ``MEAN``, by Knuth's product of uniform numbers."""
    number, product = 0, rng.random()
    while product > math.exp(-MEAN):
        number, product = number + 1, product * rng.random()
    return number
