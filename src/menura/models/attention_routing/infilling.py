"""A reply loses a span, and one mark stands in its place: what AR+'s second task has to undo (spec B9)."""

import math
import random

Ids = tuple[int, ...]
PAIR = 0.99  # the chance of a span of two, where there is room for one
SHARE, MEAN = 0.3, 3.0  # of BART's own scheme: tokens that are masked, and a span's mean length


def infilled(ids: Ids, mask: int, rng: random.Random, *, bart: bool = False) -> Ids:
    """Return a reply, its first and last token included and never touched, with one span replaced by ``mask``.

    Of three tokens nothing is lost, of four or five a span of one, of more a span of two, or, in one case of a hundred,
    a mark is put in where nothing is lost. ``bart`` masks spans of Poisson length until 30 % of the tokens are gone.
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
    """Return a number of mean ``MEAN``, by Knuth's product of uniform numbers."""
    number, product = 0, rng.random()
    while product > math.exp(-MEAN):
        number, product = number + 1, product * rng.random()
    return number
